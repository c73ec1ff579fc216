"""The real file operations under the journal.

Owns :class:`PosixDisk`. Promises that nothing is retried and nothing buffered: each method is one system call, or the
few that one cannot do without. Modes are 0600 and 0700 whatever the umask.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_SAFE: Final = os.O_CLOEXEC | os.O_NOFOLLOW


class PosixDisk:
    """The file system of this machine."""

    def make_dir(self, path: Path) -> None:
        """A directory of mode 0700."""
        path.mkdir(mode=0o700)
        path.chmod(0o700)

    def create(self, path: Path) -> int:
        """A new file for appending."""
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | _SAFE, 0o600)
        os.fchmod(file, 0o600)
        return file

    def create_fixed(self, path: Path, content: bytes) -> int:
        """A new file for writing in place, its blocks taken by real bytes (a hole would need space later)."""
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600)
        try:
            os.fchmod(file, 0o600)
            written = 0
            while written < len(content):  # ends: each turn writes at least one byte, or raises
                written += os.write(file, content[written:])
        except OSError:
            os.close(file)
            raise
        return file

    def open(self, path: Path) -> int:
        """An existing file, for appending."""
        return os.open(path, os.O_WRONLY | os.O_APPEND | _SAFE)

    def open_fixed(self, path: Path) -> int:
        """An existing file, for writing in place."""
        return os.open(path, os.O_WRONLY | _SAFE)

    def read(self, path: Path) -> bytes:
        """The whole content."""
        return path.read_bytes()

    def append(self, file: int, data: bytes) -> int:
        """One write(2)."""
        return os.write(file, data)

    def pwrite(self, file: int, data: bytes, offset: int) -> int:
        """One pwrite(2)."""
        return os.pwrite(file, data, offset)

    def fdatasync(self, file: int) -> None:
        """One fdatasync(2)."""
        os.fdatasync(file)

    def truncate(self, file: int, size: int) -> None:
        """One ftruncate(2)."""
        os.ftruncate(file, size)

    def close(self, file: int) -> None:
        """One close(2)."""
        os.close(file)

    def rename(self, source: Path, target: Path) -> None:
        """One rename(2)."""
        source.rename(target)

    def remove(self, path: Path) -> None:
        """One unlink(2)."""
        path.unlink()

    def fsync_dir(self, path: Path) -> None:
        """Open the directory, fsync(2), close."""
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


POSIX: Final = PosixDisk()
