"""Data directories in small, with the servers that run in them, a WAL archive, and what lies beside.

Owns :class:`Machine` and :func:`obey`, which does what a line of the recovery says to them. ``TORN`` is a directory whose promotion
was cut off after ``recovery.signal`` was removed and before the end of recovery was written: started again, it replays whatever
WAL it has, past any target.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from runbook.actions.postgres.cluster import Server
from tests.prototype.life import Broke
from tests.prototype.words import Command

ORIGINAL, HALF, UNPACKED, PAUSED = "original", "half unpacked", "unpacked", "paused at the target"
TORN, PROMOTED, BEYOND = "promotion cut off", "promoted", "beyond the target"
HISTORY = "00000002.history"


@dataclass(frozen=True, slots=True, order=True)
class Directory:
    """A directory. ``inode`` stays the same when it is renamed."""

    path: str
    inode: int = 0
    content: str = ""
    signal: bool = False
    history: bool = False
    server: Server = Server.STOPPED


@dataclass(frozen=True, slots=True)
class Machine:
    """All directories, and the timeline histories of the archive."""

    all: frozenset[Directory]
    archive: frozenset[str] = frozenset()

    def at(self, path: str) -> Directory | None:
        """The directory of that path."""
        return next((one for one in self.all if one.path == path), None)

    def put(self, was: Directory, now: Directory | None) -> Machine:
        """The same with one of them changed or gone."""
        return replace(self, all=(self.all - {was}) | ({now} if now else set()))

    def need(self, path: str) -> Directory:
        """The directory, which has to be there."""
        found = self.at(path)
        if found is None:
            raise Broke(f"{path} is not there")
        return found


def obey(world: Machine, command: Command) -> Iterator[Machine]:
    """The visible changes that a program makes, one after the other."""
    words = command.argv
    match words:
        case ("mkdir", *_, path):
            yield world if world.at(path) else replace(world, all=world.all | {Directory(path, 2)})
        case ("mv", "-nT", "--", source, target):
            yield _moved(world, source, target)
        case ("rm", *_, path):
            yield _removed(world, path)
        case ("psql", *_) | ("chown", *_):
            yield world
        case ("sh", "-c", script, "sh", into, *_) if "tar --extract" in script:
            side = world.need(into)
            yield world.put(side, replace(side, content=HALF))
            yield world.put(side, replace(side, content=UNPACKED))
        case ("pg_verifybackup", *_, path):
            if world.need(path).content != UNPACKED:
                raise Broke(f"{path} is not whole")
            yield world
        case ("sh", "-c", script, "sh", *rest) if "pg_wal/*.history" in script:
            side = world.need(rest[0])
            if not side.history:
                raise Broke("no timeline history")
            yield replace(world, archive=world.archive | {HISTORY})
        case (*_,) if "pg_ctl" in words:
            yield from _controlled(world, words[words.index("pg_ctl") + 1], _option(words, "--pgdata"))
        case _:
            raise Broke(f"no such program: {words}")


def _option(words: tuple[str, ...], name: str) -> str:
    return next(word.partition("=")[2] for word in words if word.startswith(f"{name}="))


def _moved(world: Machine, source: str, target: str) -> Machine:
    found = world.need(source)
    if world.at(target) or found.server is Server.RUNNING:
        raise Broke(f"{source} can't become {target}: taken, or a server runs in it")
    return world.put(found, replace(found, path=target))


def _removed(world: Machine, path: str) -> Machine:
    folder, _, name = path.rpartition("/")
    found = world.at(path)
    if found is not None:
        if found.server is Server.RUNNING:
            raise Broke(f"a server runs in {path}")
        return world.put(found, None)
    holder = world.at(folder)
    if name == "postmaster.pid" and holder is not None and holder.server is Server.STALE:
        return world.put(holder, replace(holder, server=Server.STOPPED))
    return world


def _controlled(world: Machine, verb: str, path: str) -> Iterator[Machine]:
    found = world.need(path)
    running = found.server is Server.RUNNING
    if verb == "start":
        if running:
            raise Broke(f"a server runs in {path} already")
        into = PAUSED if found.signal else BEYOND if found.content in (TORN, UNPACKED) else found.content
        yield world.put(found, replace(found, server=Server.RUNNING, content=into))
    elif verb == "stop" and running:
        yield world.put(found, replace(found, server=Server.STOPPED))
    elif verb == "promote" and running and found.content == PAUSED:
        torn = replace(found, content=TORN, signal=False)
        yield world.put(found, torn)
        yield world.put(found, replace(torn, history=True))
        yield world.put(found, replace(torn, history=True, content=PROMOTED))
    else:
        raise Broke(f"pg_ctl {verb} {found}")
