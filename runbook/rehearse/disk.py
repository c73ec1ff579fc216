"""A disk in memory, under the journal of a rehearsal; its process can be killed before any write.

Owns :class:`MemoryDisk`. Promises: what was written before the kill is there for the next process, as a page cache keeps it; a
killed process writes nothing more.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path


class Killed(BaseException):
    """The engine was killed: none of its code goes on after this."""


class MemoryDisk:
    """Files by name. ``appends`` counts the writes at the end of a file; before number ``kill_at`` (0 = none) it is killed."""

    def __init__(self) -> None:
        self.files: dict[Path, bytearray] = {}
        self.appends = 0
        self.kill_at = 0
        self.dead = False
        self._open: dict[int, bytearray] = {}
        self._numbers = count(3)

    def after_kill(self) -> None:
        """Another process begins on the same disk."""
        self.dead, self.kill_at = False, 0
        self._open.clear()

    def make_dir(self, path: Path) -> None:
        """Directories are not kept account of."""

    def create(self, path: Path) -> int:
        """A new, empty file."""
        return self.create_fixed(path, b"")

    def create_fixed(self, path: Path, content: bytes) -> int:
        """A new file with this content."""
        self._lives()
        if path in self.files:
            raise FileExistsError(str(path))
        self.files[path] = bytearray(content)
        return self.open(path)

    def open(self, path: Path) -> int:
        """A descriptor of an existing file."""
        self._lives()
        number = next(self._numbers)
        self._open[number] = self._content(path)
        return number

    def open_fixed(self, path: Path) -> int:
        """The same: a file in memory can be written anywhere."""
        return self.open(path)

    def read(self, path: Path) -> bytes:
        """The whole content."""
        return bytes(self._content(path))

    def append(self, file: int, data: bytes) -> int:
        """Take all of it, or be killed before."""
        self._lives()
        self.appends += 1
        if self.appends == self.kill_at:
            self.dead = True
            raise Killed
        self._open[file] += data
        return len(data)

    def pwrite(self, file: int, data: bytes, offset: int) -> int:
        """Write in place."""
        self._lives()
        content = self._open[file]
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data
        return len(data)

    def fdatasync(self, file: int) -> None:
        """Memory is as stable as the process that rehearses."""
        self._lives()

    def truncate(self, file: int, size: int) -> None:
        """Cut it off."""
        self._lives()
        del self._open[file][size:]

    def close(self, file: int) -> None:
        """Give the descriptor back."""
        self._open.pop(file, None)

    def rename(self, source: Path, target: Path) -> None:
        """Another name for the same content."""
        self._lives()
        self.files[target] = self._taken(source)

    def remove(self, path: Path) -> None:
        """Away with it."""
        self._lives()
        self._taken(path)

    def fsync_dir(self, path: Path) -> None:
        """As :meth:`fdatasync`."""
        self._lives()

    def _lives(self) -> None:
        if self.dead:
            raise Killed

    def _content(self, path: Path) -> bytearray:
        try:
            return self.files[path]
        except KeyError:
            raise FileNotFoundError(str(path)) from None

    def _taken(self, path: Path) -> bytearray:
        content = self._content(path)
        del self.files[path]
        return content
