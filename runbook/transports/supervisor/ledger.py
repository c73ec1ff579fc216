"""``supervisor.jsonl``: which children were started, as which processes, and how they ended.

One JSON object a line, each with a checksum. Promises: :meth:`Ledger.sync` returns only when the record is on the disk, and the
file's name in its folder (a file that a power cut takes back reads as: nothing was started); after one failed write or sync
nothing is written any more (a failed sync is never retried), and the ledger says why.
"""

from __future__ import annotations

import binascii
import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .wire import RecordWire

NAME = "supervisor.jsonl"
_ENCODER = json.JSONEncoder(separators=(",", ":"))
_SEAL = len(',"crc":"00000000"}')


def frame(record: Mapping[str, object]) -> bytes:
    """The record as one line, with its checksum as the last key."""
    return seal(_ENCODER.encode(record))


def seal(body: str) -> bytes:
    """A JSON object's text as one line, with its checksum as the last key."""
    return f'{body[:-1]},"crc":"{binascii.crc32(body.encode()):08x}"}}\n'.encode()


def parse(line: bytes) -> RecordWire | None:
    """The record of one line without its newline, or None if the line is torn or altered."""
    body = line[:-_SEAL] + b"}"
    if line[-_SEAL:] != b',"crc":"%08x"}' % binascii.crc32(body):
        return None
    record: RecordWire = json.loads(body)
    return record


def boot_id() -> str:
    """The kernel's name for this boot; empty where there is none."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


class Ledger:
    """The one writer of a run's ``supervisor.jsonl``. ``fault`` is empty, or why nothing can be recorded any more."""

    def __init__(self, path: str = NAME) -> None:
        self.fault = ""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        size = os.fstat(self._fd).st_size
        self._named = False
        self._folder = os.path.dirname(os.path.abspath(path))
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            self.write(b"\n")  # closes the line that a crash tore; the `opened` record that follows excuses it

    def write(self, line: bytes) -> bool:
        """Append a framed line. False: it failed, and :attr:`fault` says why."""
        if not self.fault:
            try:
                written = os.write(self._fd, line)
                if written != len(line):
                    self.fault = f"a short write: {written} of {len(line)} bytes"
            except OSError as error:
                self.fault = f"write: {error.strerror}"
        return not self.fault

    def sync(self, line: bytes) -> bool:
        """Append a framed line and wait until it is on the disk. False: as for :meth:`write`."""
        if self.write(line):
            try:
                os.fdatasync(self._fd)
                if not self._named:
                    _sync_names(self._folder)
                    self._named = True
            except OSError as error:
                self.fault = f"sync: {error.strerror}"
        return not self.fault


def _sync_names(folder: str) -> None:
    """Wait until the names in a folder are on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
