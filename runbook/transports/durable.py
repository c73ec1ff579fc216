"""Files that are there after a power cut.

Owns the way in which a transport writes a file: under a ``.partial`` name, synced, renamed, the folder synced. Promises: under
the final name there is the old content or the whole new one.
"""

from __future__ import annotations

import os
from pathlib import Path

PARTIAL = ".partial"


class NotSynced(OSError):
    """The names in a folder were changed, and it can't be shown that they are on stable storage."""


def sync_folder(folder: Path) -> None:
    """Return when the names in this folder are on stable storage. Raises :class:`NotSynced`."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise NotSynced(error.errno, error.strerror, str(folder)) from None


def create_partial(path: Path, mode: int) -> int:
    """A new file ``path`` + ``.partial``, whatever was left under that name before; its descriptor."""
    partial = partial_of(path)
    partial.unlink(missing_ok=True)
    return os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode & 0o600 | 0o200)


def partial_of(path: Path) -> Path:
    """The name under which ``path`` is written."""
    return path.with_name(path.name + PARTIAL)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_durably(path: Path, data: bytes, *, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Write ``path`` whole, with this mode and owner (uid, gid), so that it is there after a power cut."""
    fd = create_partial(path, mode)
    try:
        write_all(fd, data)
        if owner is not None:
            os.fchown(fd, *owner)
        os.fchmod(fd, mode)
        os.fsync(fd)
    finally:
        os.close(fd)
    partial_of(path).rename(path)
    sync_folder(path.parent)
