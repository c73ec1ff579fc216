"""A disk in memory that forgets what was not synced, and fails where it is told to.

Owns the model of a file system with which the journal is tested: content and names are durable only after their sync;
what was not synced survives a power cut whole, in part or not at all, as a seed decides. A sync that failed has given up
what it should have written: it can be read until the power is cut, and a later sync that succeeds doesn't write it.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from threading import Lock
from time import sleep

from runbook.journal.disk import PosixDisk

OPERATIONS = frozenset(name for name in vars(PosixDisk) if not name.startswith("_"))


class PowerCut(BaseException):
    """The machine lost its power; no code of the program runs after it."""


@dataclass
class Inode:
    """A file: what is there now, what is durable, and which parts (from, to) a failed sync gave up."""

    content: bytes = b""
    durable: bytes = b""
    given_up: list[tuple[int, int]] = field(default_factory=list)

    def give_up(self) -> None:
        """A sync failed: what it had to write counts as written, and isn't."""
        old, new = self.durable, self.content
        if new.startswith(old):
            self.given_up.append((len(old), len(new)))
        else:
            self.given_up.append(
                (next(at for at, byte in enumerate(old) if new[at : at + 1] != bytes([byte])), len(new))
            )

    def write_again(self, start: int, end: int) -> None:
        """These bytes were written anew: the next sync has them to write."""
        left = [piece for a, b in self.given_up for piece in ((a, min(b, start)), (max(a, end), b))]
        self.given_up = [(a, b) for a, b in left if a < b]

    def kept(self) -> bytes:
        """What a sync that succeeds now makes durable."""
        found = self.content
        for start, end in self.given_up:
            before = self.durable[start:end].ljust(min(end, len(found)) - start, b"\0")
            found = found[:start] + before + found[end:]
        return found


@dataclass
class Fault:
    """The ``at``-th call of ``operation`` (any, if empty) fails with ``errno``; all later ones too if ``lasting``."""

    operation: str
    at: int
    errno: int
    lasting: bool = False
    seen: int = 0

    def strikes(self, operation: str) -> bool:
        if operation != (self.operation or operation):
            return False
        self.seen += 1
        return self.seen == self.at or (self.lasting and self.seen > self.at)


@dataclass
class MemoryDisk:
    """See the module. ``calls`` is every operation so far; ``cut_at`` cuts the power before that call (from 1).

    ``stubborn`` is how many syncs came after one that had failed.
    """

    calls: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    cut_at: int = 0
    most_taken: int = 1 << 30
    capacity: int = 1 << 40
    sync_takes_s: float = 0.0
    sync_lies: bool = False
    sync_failed: bool = False
    stubborn: int = 0
    names: dict[Path, Inode] = field(default_factory=dict)
    durable_names: dict[Path, Inode] = field(default_factory=dict)
    directories: set[Path] = field(default_factory=set)
    _files: dict[int, Inode] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=lambda: count(3))
    _lock: Lock = field(default_factory=Lock)

    def _call(self, operation: str) -> None:
        with self._lock:
            self.calls.append(operation)
            if self.cut_at and len(self.calls) >= self.cut_at:
                raise PowerCut
            for fault in self.faults:
                if fault.strikes(operation):
                    raise OSError(fault.errno, os.strerror(fault.errno))

    def make_dir(self, path: Path) -> None:
        self._call("make_dir")
        if path in self.directories:
            raise FileExistsError(errno.EEXIST, "exists", str(path))
        self.directories.add(path)

    def create(self, path: Path) -> int:
        self._call("create")
        return self._create(path)

    def create_fixed(self, path: Path, content: bytes) -> int:
        self._call("create_fixed")
        file = self._create(path)
        self._grow(len(content))
        self._files[file].content = content
        return file

    def _create(self, path: Path) -> int:
        if path in self.names:
            raise FileExistsError(errno.EEXIST, "exists", str(path))
        self.names[path] = Inode()
        return self._file(path)

    def _file(self, path: Path) -> int:
        if path not in self.names:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        file = next(self._numbers)
        self._files[file] = self.names[path]
        return file

    def open(self, path: Path) -> int:
        self._call("open")
        return self._file(path)

    def open_fixed(self, path: Path) -> int:
        self._call("open_fixed")
        return self._file(path)

    def read(self, path: Path) -> bytes:
        self._call("read")
        if path not in self.names:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return self.names[path].content

    def _grow(self, wanted: int) -> int:
        room = self.capacity - sum(len(inode.content) for inode in self.names.values())
        if wanted and room <= 0:
            raise OSError(errno.ENOSPC, "no space left on device")
        return min(wanted, room, self.most_taken)

    def append(self, file: int, data: bytes) -> int:
        self._call("append")
        taken = self._grow(len(data))
        self._files[file].content += data[:taken]
        return taken

    def pwrite(self, file: int, data: bytes, offset: int) -> int:
        self._call("pwrite")
        inode = self._files[file]
        taken, content = min(len(data), self.most_taken), inode.content
        inode.content = content[:offset] + data[:taken] + content[offset + taken :]
        if inode.given_up:
            inode.write_again(offset, offset + taken)
        return taken

    def fdatasync(self, file: int) -> None:
        inode = self._files[file]
        self.stubborn += self.sync_failed
        try:
            self._call("fdatasync")
        except OSError:
            self.sync_failed = True
            inode.give_up()
            raise
        if self.sync_takes_s:
            sleep(self.sync_takes_s)
        if not self.sync_lies:
            inode.durable = inode.kept() if inode.given_up else inode.content

    def truncate(self, file: int, size: int) -> None:
        self._call("truncate")
        inode = self._files[file]
        inode.content = inode.content[:size]
        inode.given_up = [(start, min(end, size)) for start, end in inode.given_up if start < size]

    def close(self, file: int) -> None:
        self._call("close")
        del self._files[file]

    def rename(self, source: Path, target: Path) -> None:
        self._call("rename")
        self.names[target] = self.names.pop(source)

    def remove(self, path: Path) -> None:
        self._call("remove")
        del self.names[path]

    def fsync_dir(self, path: Path) -> None:
        self._call("fsync_dir")
        if self.sync_lies:
            return
        below = {name: inode for name, inode in self.names.items() if name.parent == path}
        self.durable_names = {n: i for n, i in self.durable_names.items() if n.parent != path} | below

    def after_power_cut(self, chance: Random) -> MemoryDisk:
        """The disk as the next boot finds it."""
        names = dict(self.durable_names)
        if chance.random() < 0.5:  # the directory may have been written back without being asked
            names = dict(self.names)
        survivors = {id(inode): _survivor(inode, chance) for inode in names.values()}
        found = {name: survivors[id(inode)] for name, inode in names.items()}
        return MemoryDisk(names=dict(found), durable_names=dict(found), directories=set(self.directories))


def _survivor(inode: Inode, chance: Random) -> Inode:
    old, new = inode.durable, inode.kept()
    match chance.randrange(3):
        case 0:
            content = old
        case 1:
            content = new
        case _ if new.startswith(old):  # an append of which a part arrived
            content = new[: chance.randint(len(old), len(new))]
        case _:  # written in place, torn: the first part is new
            cut = chance.randint(0, max(len(old), len(new)))
            content = new[:cut] + old[cut:]
    return Inode(content, content)
