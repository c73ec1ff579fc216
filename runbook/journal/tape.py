"""The two open files of a journal, and the order in which they are written and synced.

Owns that order: records, sync, head, sync. Promises to say what it was doing when something failed, to try nothing twice,
and that a short write is either completed or a failure.
"""

from __future__ import annotations

import errno
import os
from enum import StrEnum
from pathlib import Path
from typing import Final

from runbook.journal.crash import crash_point
from runbook.journal.head import SLOT_BYTES, Head, blank, encode_slot
from runbook.journal.ports import Disk

JOURNAL: Final = "journal.jsonl"
HEAD: Final = "head"
RESERVE: Final = "reserve"
RESERVE_BYTES: Final = 16 * 1024
"""Enough for the record of a stop, on any block size in use."""
MOST_TORN: Final = 1000
"""How often one run's tail may be set aside before a person should look."""


class Doing(StrEnum):
    """What the tape is at; completes "while …" in a fault."""

    NOTHING = "waiting for work"
    WRITING = "writing records"
    SYNCING = "syncing records"
    WRITING_HEAD = "writing the head"
    SYNCING_HEAD = "syncing the head"
    CUTTING = "cutting what was not acknowledged"
    CLOSING = "closing the files"


class Tape:
    """Open files of one journal. Not safe for two threads; each method raises :class:`OSError`."""

    def __init__(self, disk: Disk, directory: Path, *, journal: int, head: int, size: int, slot: int) -> None:
        self._disk = disk
        self._directory = directory
        self._journal = journal
        self._head = head
        self._size = size
        self._slot = slot
        self.doing = Doing.NOTHING

    @classmethod
    def create(cls, disk: Disk, directory: Path) -> Tape:
        """Make the files of an empty journal, durably. ``head`` gets its name last: it shows that all is there."""
        journal = disk.create(directory / JOURNAL)
        head = -1
        try:
            make_reserve(disk, directory)
            head = disk.create_fixed(directory / f"{HEAD}.new", blank())
            disk.fdatasync(journal)
            disk.fdatasync(head)
            disk.rename(directory / f"{HEAD}.new", directory / HEAD)
            disk.fsync_dir(directory)
            disk.fsync_dir(directory.parent)
        except OSError:
            disk.close(journal)
            if head >= 0:
                disk.close(head)
            raise
        return cls(disk, directory, journal=journal, head=head, size=0, slot=1)

    @classmethod
    def open(cls, disk: Disk, directory: Path, *, size: int, slot: int) -> Tape:
        """Open the files of a journal whose unbroken chain is ``size`` bytes long; ``slot`` of the head is next."""
        journal = disk.open(directory / JOURNAL)
        try:
            head = disk.open_fixed(directory / HEAD)
        except OSError:
            disk.close(journal)
            raise
        return cls(disk, directory, journal=journal, head=head, size=size, slot=slot)

    def commit(self, lines: bytes, last: Head) -> None:
        """Make these lines durable, and then acknowledged: two syncs."""
        crash_point("journal.before_write")
        self.doing = Doing.WRITING
        written = 0
        while written < len(lines):  # ends: each turn takes at least a byte, or raises
            written += _taken(self._disk.append(self._journal, lines[written:] if written else lines))
        crash_point("journal.after_write")
        self.doing = Doing.SYNCING
        self._disk.fdatasync(self._journal)
        crash_point("journal.after_sync")
        self.acknowledge(last)
        crash_point("journal.after_head")
        self._size += len(lines)
        self.doing = Doing.NOTHING

    def acknowledge(self, last: Head) -> None:
        """Write and sync the next slot of the head."""
        line, start, written = encode_slot(last), self._slot * SLOT_BYTES, 0
        self.doing = Doing.WRITING_HEAD
        while written < len(line):  # ends: each turn takes at least a byte, or raises
            written += _taken(self._disk.pwrite(self._head, line[written:], start + written))
        self.doing = Doing.SYNCING_HEAD
        self._disk.fdatasync(self._head)
        self._slot = 1 - self._slot

    def cut(self) -> None:
        """Cut the journal to its known end."""
        self.doing = Doing.CUTTING
        self._disk.truncate(self._journal, self._size)

    def write_again(self, lines: bytes) -> None:
        """Write the last lines of the journal over themselves.

        A sync that failed counts what it could not write as written: it can still be read, and the next sync succeeds without
        it. Bytes that were written anew it has to write.
        """
        self.doing = Doing.WRITING
        start, written = self._size - len(lines), 0
        file = self._disk.open_fixed(self._directory / JOURNAL)
        try:
            while written < len(lines):  # ends: each turn takes at least a byte, or raises
                written += _taken(self._disk.pwrite(file, lines[written:], start + written))
        finally:
            self._disk.close(file)

    def sync(self) -> None:
        """Sync what an earlier process wrote and may not have synced."""
        self.doing = Doing.SYNCING
        self._disk.fdatasync(self._journal)

    def free_reserve(self) -> None:
        """Give the reserved space back to the file system."""
        self.doing = Doing.CUTTING
        self._disk.remove(self._directory / RESERVE)

    def close(self) -> None:
        """Close both files; the second also if the first fails."""
        self.doing = Doing.CLOSING
        try:
            self._disk.close(self._journal)
        finally:
            self._disk.close(self._head)


def _taken(count: int) -> int:
    """How many bytes a write took; none at all would go on for ever."""
    if count <= 0:
        raise OSError(errno.EIO, "a write took no bytes")
    return count


def make_reserve(disk: Disk, directory: Path) -> None:
    """Take the reserved space, unless it is taken already; a part that a crash left is made whole."""
    path = directory / RESERVE
    try:
        if len(disk.read(path)) == RESERVE_BYTES:
            return
        disk.remove(path)
    except FileNotFoundError:
        pass
    # Random, so that no file system saves the space by compression or as a hole.
    file = disk.create_fixed(path, os.urandom(RESERVE_BYTES))
    try:
        disk.fdatasync(file)  # delayed allocation: only now the blocks are really taken
    finally:
        disk.close(file)


def set_aside(disk: Disk, directory: Path, tail: bytes) -> Path:
    """Keep the torn tail as ``journal.jsonl.torn-<n>``, durably, before it is cut; gives the path."""
    for number in range(1, MOST_TORN + 1):
        path = directory / f"{JOURNAL}.torn-{number}"
        try:
            file = disk.create_fixed(path, tail)
        except FileExistsError:
            continue
        try:
            disk.fdatasync(file)
        finally:
            disk.close(file)
        disk.fsync_dir(directory)
        return path
    raise OSError(errno.EEXIST, f"there are {MOST_TORN} torn tails already; a person should look why")
