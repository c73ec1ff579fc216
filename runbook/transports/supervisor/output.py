"""What children print: redacted across chunks, then kept bounded, then logged bounded.

Owns the way of a byte from a child's pipe to the disk. Promises: no watched form of a secret reaches the log or the
capture, wherever the chunks were split; a log that can't be written never stops a child, it is marked as truncated.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .wire import CapturedWire

MASK = "•••".encode()
CHUNK = 65_536
MOST_LEFT = 32
"""Chunks that are still taken when a stream is closed; a pipe holds fewer, so only a chattering daemon meets the bound."""


class Redaction:
    """A stream of bytes with each watched form replaced by a mask. Overlapping occurrences share one mask."""

    def __init__(self, forms: list[str]) -> None:
        self._forms = tuple(form.encode() for form in forms if form)
        self._held = b""
        self._masked = 0  # so many of the held bytes are part of a mask that is written already

    def feed(self, data: bytes) -> bytes:
        """What is safe to write now. Held back: an end that may be the beginning of a watched form."""
        if not self._forms:
            return data
        data = self._held + data
        return self._mask(data, len(data) - self._beginning(data))

    def flush(self) -> bytes:
        """The rest, at the end of the stream."""
        return self._mask(self._held, len(self._held))

    def _beginning(self, data: bytes) -> int:
        """Length of the longest end of ``data`` that a watched form begins with."""
        longest = 0
        for form in self._forms:
            for length in range(min(len(form) - 1, len(data)), longest, -1):
                if data.endswith(form[:length]):
                    longest = length
                    break
        return longest

    def _mask(self, data: bytes, cut: int) -> bytes:
        """``data[:cut]`` with masks; the rest is held. A mask that reaches past the cut is remembered."""
        out: list[bytes] = []
        at = self._masked
        for begin, end in self._found(data):
            if begin >= cut:
                break
            if end <= at:
                continue
            if begin >= at:
                out += (data[at:begin], MASK)
            at = end
        if at < cut:
            out.append(data[at:cut])
            at = cut
        self._held, self._masked = data[cut:], at - cut
        return b"".join(out)

    def _found(self, data: bytes) -> list[tuple[int, int]]:
        found = []
        for form in self._forms:
            at = data.find(form)
            while at >= 0:
                found.append((at, at + len(form)))
                at = data.find(form, at + 1)
        return sorted(found)


class Capture:
    """The first and the last bytes of a stream, ``limit`` bytes together; all of it, if it fits."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._half = max(1, limit // 2)
        self._head = b""
        self._data = bytearray()
        self._left_out = False
        self.bytes = 0

    def add(self, data: bytes) -> None:
        """Keep what the bound allows."""
        self._data += data
        if not self._left_out and len(self._data) > self._limit:
            self._left_out = True
            self._head = bytes(self._data[: self._half])
        if self._left_out and len(self._data) > 4 * self._half + CHUNK:
            del self._data[: -self._half]

    def taken(self) -> CapturedWire:
        """The text, with a line that says so where bytes were left out."""
        if not self._left_out:
            return {"text": self._data.decode("utf-8", "replace"), "bytes": self.bytes, "truncated": False}
        tail = bytes(self._data[-self._half :])
        note = f"\n[runbook: the middle of {self.bytes} bytes was left out]\n"
        text = self._head.decode("utf-8", "replace") + note + tail.decode("utf-8", "replace")
        return {"text": text, "bytes": self.bytes, "truncated": True}


class Log:
    """An operation's log file, opened at its first byte. ``fault`` is empty, or why the log is not complete."""

    def __init__(self, path: str | None, limit: int) -> None:
        self.fault = ""
        self._path = path
        self._room = limit
        self._fd = -1

    def write(self, data: bytes) -> None:
        """Append; on a full disk or at the bound, mark the log as truncated and go on without it."""
        if self._path is None or self.fault or not data:
            return
        try:
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            if len(data) > self._room:
                self.fault = "the bound of the log was reached"
                data = data[: self._room] + f"\n[runbook: log truncated, {self.fault}]\n".encode()
            self._room -= len(data)
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            self.fault = error.strerror or "write failed"

    def close(self) -> None:
        """Close the file, if it was opened."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Output:
    """One stream of one child: a pipe's reading end, its redaction, its capture, and the operation's log."""

    def __init__(self, fd: int, forms: list[str], limit: int, log: Log) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self._redaction = Redaction(forms)
        self._capture = Capture(limit)
        self._log = log

    def read(self) -> bool:
        """Take what is there, one chunk. False: nothing more will come."""
        try:
            data = os.read(self.fd, CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if data:
            self._take(len(data), self._redaction.feed(data))
        return bool(data)

    def close(self) -> None:
        """Take all that is in the pipe now, without waiting, and close it."""
        if self.fd < 0:
            return
        try:
            for _ in range(MOST_LEFT):
                if not (data := os.read(self.fd, CHUNK)):
                    break
                self._take(len(data), self._redaction.feed(data))
        except OSError:
            pass  # nothing there, though a writer lives (a daemon): what it prints from now on has no reader
        self._take(0, self._redaction.flush())
        os.close(self.fd)
        self.fd = -1

    def taken(self) -> CapturedWire:
        """What was printed, bounded and redacted."""
        return self._capture.taken()

    def _take(self, count: int, data: bytes) -> None:
        self._capture.bytes += count
        self._capture.add(data)
        self._log.write(data)
