"""A PostgreSQL cluster in small: databases by name, with their comments, limits and what is in them.

Owns :class:`Databases` and :func:`obey`, which does what a psql or pg_restore line says to them. One transaction is one change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.prototype.life import Broke
from tests.prototype.words import Command, statements

HALF = "half a copy"
COPY = "the copy"

_NAME = r'"((?:[^"]|"")+)"'
_CREATE = re.compile(rf"CREATE DATABASE {_NAME}.*")
_DROP = re.compile(rf"DROP DATABASE IF EXISTS {_NAME}.*")
_RENAME = re.compile(rf"ALTER DATABASE {_NAME} RENAME TO {_NAME}")
_LIMITS = re.compile(rf"ALTER DATABASE {_NAME} WITH .*?ALLOW_CONNECTIONS (true|false).*")
_COMMENT = re.compile(rf"COMMENT ON DATABASE {_NAME} IS (?:NULL|'(.*)')")
_ENDED = re.compile(r"SELECT count\(pg_terminate_backend.*WHERE datname IN \((.*?)\).*", re.DOTALL)
_TARGET = re.compile(r"--dbname=.*?dbname=(\S+)")


@dataclass(frozen=True, slots=True, order=True)
class Database:
    """A database. ``sessions``: somebody is connected; ``open``: somebody may be."""

    name: str
    oid: int
    comment: str = ""
    open: bool = True
    invalid: bool = False
    content: str = ""
    sessions: bool = False


@dataclass(frozen=True, slots=True)
class Databases:
    """All of a cluster. ``swaps`` counts the transactions that renamed something."""

    all: frozenset[Database]
    swaps: int = 0

    def named(self, name: str) -> Database | None:
        """The database of that name, if there is one."""
        return next((one for one in self.all if one.name == name), None)

    def put(self, was: Database, now: Database | None) -> Databases:
        """The same with one of them changed or gone."""
        return replace(self, all=(self.all - {was}) | ({now} if now else set()))


def obey(world: Databases, command: Command) -> Iterator[Databases]:
    """The visible changes that a program makes, one after the other; at least one, the last."""
    match command.argv:
        case (program, *words) if program.endswith("pg_restore"):
            yield from _filled(world, " ".join(words))
        case (program, *_) if program.endswith("psql"):
            yield from _sql(world, statements(command))
        case _:
            raise Broke(f"no such program: {command.argv}")


def _filled(world: Databases, words: str) -> Iterator[Databases]:
    target = _TARGET.search(words)
    database = world.named(target[1]) if target else None
    if database is None or database.content:
        raise Broke(f"pg_restore into {database}")
    for content in (HALF, COPY):
        yield world.put(database, replace(database, content=content))


def _sql(world: Databases, texts: tuple[str, ...]) -> Iterator[Databases]:
    whole = texts[:1] == ("BEGIN",)
    now = world
    for text in texts:
        if (drop := _DROP.fullmatch(text)) and (database := now.named(drop[1])):
            yield now.put(database, replace(database, invalid=True))
            now = now.put(database, None)
            yield now
            continue
        before, now = now, _stated(now, text)
        if now != before and not whole:
            yield now
    if whole and now.all != world.all:
        renamed = any("RENAME" in text for text in texts)
        now = replace(now, swaps=now.swaps + renamed)
    yield now


def _stated(world: Databases, text: str) -> Databases:
    if made := _CREATE.fullmatch(text):
        if world.named(made[1]):
            raise Broke(f"{made[1]} exists")
        return replace(world, all=world.all | {Database(made[1], 2)})
    if moved := _RENAME.fullmatch(text):
        source, taken = world.named(moved[1]), world.named(moved[2])
        if source is None or taken or source.sessions:
            raise Broke(f"{text}: {source} {taken}")
        return world.put(source, replace(source, name=moved[2]))
    if limited := _LIMITS.fullmatch(text):
        found = _found(world, limited[1])
        # whoever waits outside comes in at once
        is_open = limited[2] == "true"
        return world.put(found, replace(found, open=is_open, sessions=is_open))
    if said := _COMMENT.fullmatch(text):
        found = _found(world, said[1])
        return world.put(found, replace(found, comment=said[2] or ""))
    if ended := _ENDED.fullmatch(text):
        for name in re.findall(r"'([^']+)'", ended[1]):
            if (database := world.named(name)) and not database.open:
                world = world.put(database, replace(database, sessions=False))
        return world
    if re.match(r"(BEGIN|COMMIT|SELECT|ANALYZE|WITH)\b", text):
        return world
    raise Broke(f"not understood: {text}")


def _found(world: Databases, name: str) -> Database:
    database = world.named(name)
    if database is None:
        raise Broke(f"there is no {name}")
    return database
