"""The pump: a forked child that carries bytes from one descriptor to another, counting and hashing them.

Promises: what it reports as hashed is what it read; a file that it writes is on the disk before it says so. At the end of
its input it waits for a word before it lets the reader see the end: a consumer must not take the end of a failed
producer's output for the end of the data. No more passes than it was told; then it says so, and its reader sees no end.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable
    from typing import TypedDict

    class Report(TypedDict, total=False):
        """One line of a pump's report: progress, then ``eof`` with the sum, then ``done``; or ``error``, or ``over``."""

        bytes: int
        over: bool
        eof: bool
        done: bool
        sha256: str
        error: str


CHUNK = 1 << 20
PROGRESS_EVERY_S = 0.25
GO = b"g"


def widen(fd: int) -> None:
    """Give a pipe room for a whole chunk, where the system allows it."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, CHUNK)
    except OSError:
        pass  # an ordinary user's pipes share a bound; 64 KiB work as well


class Pump:
    """What a pump was told: where from, where to (None: nowhere), whether to hash, what to write first, how many bytes may pass.

    ``place``: the path of the file that it writes, if it is one: who reads that a disk is full wants to know which.
    ``most`` 0: any number.
    """

    def __init__(
        self, source: int, sink: int | None, *, hashing: bool, preamble: bytes = b"", place: str = "", most: int = 0
    ) -> None:
        self.most = most
        self._splices = not hashing and _is_pipe(source) and _is_pipe(sink)
        self.source = source
        self.sink = sink
        self.place = place
        self.hashing = hashing
        self.preamble = preamble

    def fork(self) -> tuple[int, int, int]:
        """Start it: its pid, the descriptor of its reports, and the one for our words (first: begin; then: the end is good)."""
        report_in, report_out = os.pipe()
        opened = [report_in, report_out]
        try:
            word_in, word_out = os.pipe()
            opened += word_in, word_out
            pid = os.fork()
        except OSError:
            for fd in opened:
                os.close(fd)
            raise
        if pid == 0:
            code = 1
            try:
                signal.set_wakeup_fd(-1)
                os.setsid()
                keep = sorted(fd for fd in (self.source, self.sink, report_out, word_in) if fd is not None)
                for low, high in zip([2, *keep], [*keep, 65_536], strict=True):
                    os.closerange(low + 1, high)
                code = self._work(report_out, word_in)
            finally:
                os._exit(code)
        os.close(report_out)
        os.close(word_in)
        return pid, report_in, word_out

    def _work(self, report: int, word: int) -> int:
        def tell(line: Report) -> None:
            os.write(report, json.dumps(line).encode() + b"\n")

        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        if os.read(word, 1) != GO:
            return 1
        try:
            count, digest = self._carry(tell)
            if self.most and count > self.most:
                tell({"over": True, "bytes": self.most})
                os.read(word, 1)  # until it is ended: its reader goes first
                return 1
            tell({"eof": True, "bytes": count, "sha256": digest})
            if os.read(word, 1) != GO:
                return 1
            if self.sink is not None and not _is_pipe(self.sink):
                self._make_durable(self.sink)
            tell({"done": True, "bytes": count, "sha256": digest})
        except OSError as error:
            tell({"error": _explain(error)})
            return 1
        return 0

    def _carry(self, tell: Callable[[Report], None]) -> tuple[int, str]:
        digest = None
        if self.hashing:
            import hashlib  # late: half of the pumps only carry

            digest = hashlib.sha256()
        if self.sink is not None:
            self._write(self.sink, memoryview(self.preamble))
        buffer = memoryview(bytearray(CHUNK))
        count, due = 0, time.monotonic() + PROGRESS_EVERY_S
        while size := self._some(buffer, self.most - count if self.most else CHUNK, digest):
            count += size
            if self.most and count > self.most:
                break
            if (now := time.monotonic()) >= due:
                due = now + PROGRESS_EVERY_S
                tell({"bytes": count})
        return count, digest.hexdigest() if digest is not None else ""

    def _some(self, buffer: memoryview, room: int, digest: hashlib._Hash | None) -> int:
        """Carry some bytes, ``room`` at most; how many, 0 at the end. Without room a byte that comes is counted, and kept back."""
        if not room:
            return len(os.read(self.source, 1))
        if self._splices and self.sink is not None:
            try:
                return os.splice(self.source, self.sink, min(room, CHUNK))  # from pipe to pipe, past us
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EPIPE):
                    raise
                self._splices = False  # without a reader it fails also where nothing is left to carry
        chunk = buffer[: os.readv(self.source, [buffer[: min(room, CHUNK)]])]
        if digest is not None:
            digest.update(chunk)
        if self.sink is not None:
            self._write(self.sink, chunk)
        return len(chunk)

    def _write(self, fd: int, view: memoryview) -> None:
        try:
            while view:
                view = view[os.write(fd, view) :]
        except OSError as error:
            error.filename = self.place
            raise

    def _make_durable(self, fd: int) -> None:
        try:
            os.fsync(fd)
        except OSError as error:
            # of what can't be synced; EROFS is also a file system's that gave up writing
            if error.errno != errno.EINVAL:
                error.filename = self.place
                raise


def _is_pipe(fd: int | None) -> bool:
    return fd is not None and stat.S_ISFIFO(os.fstat(fd).st_mode)


def _explain(error: OSError) -> str:
    if error.errno == errno.EPIPE:
        return "the reader closed its input before the end of the data"
    said = error.strerror or "input or output failed"
    return f"{error.filename}: {said}" if error.filename else said
