"""What a WAL archive can do, whatever it is kept in.

Owns :class:`Segments`. Promises of every archive: a name gets its content once, and never another one; what is fetched is
whole and is what was put there, or it is :class:`Damaged`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

LARGEST = 1 << 30
"""Bytes of the largest file of any archive: a segment's (manual, initdb, ``--wal-segsize``)."""


class Put(StrEnum):
    """How a push ended: the file was added, or the same was there already."""

    ADDED = "added"
    SAME = "same"


class Different(Exception):
    """Another file of that name is in the archive: two servers archive to one place, or a timeline was lost."""


class Damaged(Exception):
    """What the archive holds under that name is not what was put there."""


class Unavailable(Exception):
    """The archive didn't answer; trying again may help."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the archive: its name, its size in bytes, when it arrived."""

    name: str
    bytes: int
    modified: datetime


class Segments(Protocol):
    """An archive. Every method may raise :class:`Unavailable`."""

    def put(self, name: str, source: Path) -> Put:
        """Add a file, durably; :class:`Different` where another one has its name."""

    def fetch(self, name: str, into: Path, *, most_bytes: int = LARGEST) -> bool:
        """Write the file's content to ``into``; False where the archive has no such file. :class:`Damaged`: see there.

        No more than ``most_bytes`` are written: a larger file is none that was put there.
        """

    def entries(self) -> Iterator[Entry]:
        """All files, in the order of their names."""
