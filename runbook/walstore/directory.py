"""A WAL archive in a directory.

Promises: a name appears by one link of a synced file, so a crash leaves the whole file or none, and no file is replaced.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import get_ident

from runbook.walstore.store import LARGEST, Damaged, Different, Entry, Put, Unavailable


class DirectorySegments:
    """The files of one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, name: str, source: Path) -> Put:
        """Copy beside, sync, link, sync the directory."""
        target, partial = self._directory / name, self._directory / f".{name}.{os.getpid()}-{get_ident()}.partial"
        try:
            if not target.exists():
                try:
                    with source.open("rb") as read, partial.open("xb") as write:
                        shutil.copyfileobj(read, write, 1 << 20)
                        write.flush()
                        os.fsync(write.fileno())
                    os.link(partial, target)
                    _sync(self._directory)
                    return Put.ADDED
                except FileExistsError:
                    pass  # another one was quicker: compared below
                finally:
                    partial.unlink(missing_ok=True)
            if not filecmp.cmp(source, target, shallow=False):
                raise Different(f"{target} holds something else than {source}")
            _sync(self._directory)
            return Put.SAME
        except OSError as error:
            raise Unavailable(f"{error.filename or target}: {error.strerror}") from None

    def fetch(self, name: str, into: Path, *, most_bytes: int = LARGEST) -> bool:
        """Copy the file."""
        source = self._directory / name
        try:
            if source.stat().st_size > most_bytes:
                raise Damaged(f"{source}: it has more than {most_bytes} bytes")
            shutil.copyfile(source, into)
        except FileNotFoundError as error:
            if error.filename == str(into):
                raise
            return False
        except OSError as error:
            raise Unavailable(f"{error.filename or name}: {error.strerror}") from None
        return True

    def entries(self) -> Iterator[Entry]:
        """The files whose names don't begin with a dot."""
        try:
            found = sorted((one for one in os.scandir(self._directory) if one.is_file()), key=lambda one: one.name)
        except OSError as error:
            raise Unavailable(f"{self._directory}: {error.strerror}") from None
        for one in found:
            if not one.name.startswith("."):
                facts = one.stat()
                yield Entry(one.name, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC))


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
