"""A dump with counts from the same exported snapshot, killed anywhere: the real action's plan on a store in memory."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace

import pytest

from runbook.actions.backup.layout import COUNTS, DATA, GLOBALS, MANIFEST, SUMS, Present
from runbook.actions.postgres.dump import Dump, DumpFacts, DumpInputs
from runbook.operation import Operations, Pipeline, Process, Remove, Rename, Session, Sql, Write
from tests.actions.backups import database, scope, store
from tests.prototype.explore import Fault, explore
from tests.prototype.life import Broke, Case, Op, Results, Worlds, followed
from tests.prototype.words import line_of

SCOPE = scope(store())
INPUTS = DumpInputs(to=store())
ASSUMED = Dump().assume(database(), INPUTS, SCOPE)
WHERE = ASSUMED.where
PARTS = (DATA, SUMS, COUNTS, GLOBALS)
HALF = -1
CYCLE = 3
"""The rows' versions go round, so that the model stays finite."""

Entries = frozenset[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Shop:
    """A store's files with the version of the rows in them (-1 = half written), and a database in which people work.

    ``rows`` is the version now; ``snapshot`` that of the session's exported snapshot, None where no session is open.
    """

    files: Entries = frozenset()
    rows: int = 0
    snapshot: int | None = None

    def wrote(self, path: str, version: int) -> Shop:
        """The same with this file; somebody writes to the database meanwhile."""
        kept = frozenset(entry for entry in self.files if entry[0] != path)
        return replace(self, files=kept | {(path, version)}, rows=(self.rows + 1) % CYCLE)

    def without(self, path: str) -> Shop:
        """The same without this file."""
        return replace(self, files=frozenset(entry for entry in self.files if entry[0] != path))

    def of(self, path: str) -> int | None:
        """The version in a file."""
        return dict(self.files).get(path)


class Dumping(Case[Shop]):
    """A busy database and an empty store."""

    start = Shop()

    def observe(self, world: Shop) -> DumpFacts:
        partials = tuple(part for part in (*PARTS, MANIFEST) if world.of(WHERE.partial(part)) is not None)
        finished = tuple(part for part in PARTS if world.of(WHERE.path(part)) is not None)
        done = world.of(WHERE.path(MANIFEST)) is not None
        return replace(ASSUMED, state=Present(partials, finished, done))

    def plan(self, facts: object) -> Operations:
        assert isinstance(facts, DumpFacts)
        return Dump().plan(database(), INPUTS, facts, SCOPE)

    def perform(self, world: Shop, operation: Op, results: Results) -> Worlds[Shop]:
        if isinstance(operation, Session):
            yield from self._session(world, operation)
            return
        for later in self._changes(world, operation, results):
            yield later, ()

    def _session(self, world: Shop, session: Session) -> Worlds[Shop]:
        world = replace(world, snapshot=world.rows, rows=(world.rows + 1) % CYCLE)
        yield world, ()
        named = {session.name: {"snapshot": f"snap-{world.snapshot}"}}
        for operation in session.body:
            for later in self._changes(world, operation, named):
                yield later, ()
            world = later
        yield replace(world, snapshot=None), (("snapshot", "ended"),)

    def _changes(self, world: Shop, operation: Op, results: Results) -> Iterator[Shop]:
        match operation:
            case Sql(into=path, session=inside) if path:
                counted = world.snapshot if inside and world.snapshot is not None else world.rows
                yield from (world.wrote(path, HALF), world.wrote(path, counted))
            case Process(argv=argv):
                found = re.search(r"--snapshot snap-(\d)", line_of(operation, results))
                if found is None or world.snapshot != int(found[1]):
                    raise Broke("there is no such snapshot")
                path = next(str(word).partition("=")[2] for word in argv if str(word).startswith("--file="))
                if world.of(path) is not None:
                    raise Broke(f"{path} exists")
                yield from (world.wrote(path, HALF), world.wrote(path, int(found[1])))
            case Pipeline(sink=path):
                yield from (world.wrote(path, HALF), world.wrote(path, world.of(WHERE.partial(DATA)) or 0))
            case Write(path=path):
                draft = f"{path}.partial"
                yield from (world.wrote(draft, HALF), world.without(draft).wrote(path, 0))
            case Rename(source=source, target=target):
                version = world.of(source)
                if version is None or world.of(target) is not None:
                    raise Broke(f"{source} can't become {target}")
                yield world.without(source).wrote(target, version)
            case Remove(path=path, marker=marker):
                assert marker in path
                yield from (world.wrote(path, HALF), world.without(path))
            case _:
                yield world

    def crashed(self, world: Shop) -> tuple[Shop, ...]:
        return (replace(world, snapshot=None),)  # the session ends with its connection

    def wrong(self, world: Shop) -> str:
        if world.of(WHERE.path(MANIFEST)) is None:
            return ""
        data, counts = world.of(WHERE.path(DATA)), world.of(WHERE.path(COUNTS))
        if data is None or counts is None or HALF in (data, counts):
            return "a manifest vouches for what is not complete"
        return "" if data == counts else f"rows of version {counts} were counted, {data} was dumped"

    def verify(self, world: Shop) -> str:
        left = sorted(path for path, _ in world.files)
        return "" if left == sorted(WHERE.path(part) for part in (*PARTS, MANIFEST)) else f"stray or missing: {left}"

    def end(self, world: Shop) -> Hashable:
        return frozenset(path for path, _ in world.files)


def test_killed_anywhere_there_is_one_whole_backup_or_none() -> None:
    found = explore(Dumping())
    assert found.depth >= 3, found


def test_the_list_followed_by_hand_gives_the_same_files() -> None:
    case = Dumping()
    world = followed(case)
    assert (case.wrong(world), case.verify(world)) == ("", "")


def test_counting_outside_the_snapshot_counts_other_rows() -> None:
    class Apart(Dumping):
        """Counts on a connection of its own."""

        def _changes(self, world: Shop, operation: Op, results: Results) -> Iterator[Shop]:
            apart = replace(operation, session="") if isinstance(operation, Sql) else operation
            return super()._changes(world, apart, results)

    with pytest.raises(Fault, match="were counted"):
        explore(Apart())


def test_half_of_a_sessions_body_is_never_kept() -> None:
    class Thrifty(Dumping):
        """Keeps the counts that an interrupted session has left, and dumps in a new one."""

        def plan(self, facts: object) -> Operations:
            assert isinstance(facts, DumpFacts)
            planned = super().plan(facts)
            if COUNTS not in facts.state.partials or facts.state.drafted:
                return planned
            kept = tuple(one for one in planned if one.name != "sweep_counts")
            return tuple(
                replace(one, body=tuple(inner for inner in one.body if inner.name != "counts"))
                if isinstance(one, Session)
                else one
                for one in kept
            )

        def same(self, operation: Op) -> str:
            return operation.name

    with pytest.raises(Fault, match=r"were counted|not complete"):
        explore(Thrifty())


def test_a_manifest_that_comes_first_vouches_for_nothing() -> None:
    class Hasty(Dumping):
        """Gives the manifest its name before the others have theirs."""

        def plan(self, facts: object) -> Operations:
            planned = super().plan(facts)
            first = next((n for n, one in enumerate(planned) if one.name.startswith("publish_")), len(planned))
            return (*planned[:first], *reversed(planned[first:]))

    with pytest.raises(Fault, match="not complete"):
        explore(Hasty())
