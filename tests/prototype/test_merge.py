"""Merging deleted rows in one transaction whose COMMIT's answer is lost: the ledger row tells, and nothing else can.

A side cluster stands at a moment before the accident; the rows that were deleted since are copied into the live table. The first
statement of the transaction writes a row into a ledger in the live database: it is there if and only if the merge is.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import pytest

from runbook.action import current, guard
from runbook.host import LOCAL
from runbook.operation import Condition, Connection, CopyRows, Name, Session, Sql, Test, sql
from tests.prototype.explore import Fault, explore
from tests.prototype.life import Broke, Case, Op, Results, Worlds

LIVE = Connection(LOCAL, "/pg", 5432, "app", "shop", None)
SIDE = replace(LIVE, address="/pg/side")
THERE, LOST, UNWANTED = frozenset({1, 2}), frozenset({3, 4}), 4
"""``UNWANTED`` is deleted by a person as soon as it is back, and rightly."""


@dataclass(frozen=True, slots=True)
class Table:
    """The live table. ``open``: what the transaction has so far, None = no transaction; ``committing``: COMMIT was sent."""

    rows: frozenset[int] = THERE
    ledger: bool = False
    open: frozenset[int] | None = None
    committing: bool = False
    cleaned: bool = False


@dataclass(frozen=True, slots=True)
class MergeFacts:
    """``merged``: the ledger has this step's row. ``missing``: how many of the side's rows the live table lacks."""

    database: str = guard()
    merged: bool = current()
    missing: int = current()


class Merging(Case[Table]):
    """One session: BEGIN, the ledger's row, the rows, what they may do, COMMIT."""

    start = Table()

    def observe(self, world: Table) -> MergeFacts:
        return MergeFacts("shop", world.ledger, len((THERE | LOST) - world.rows))

    def plan(self, facts: object) -> tuple[Op, ...]:
        assert isinstance(facts, MergeFacts)
        return () if facts.merged else (merge(),)

    def perform(self, world: Table, operation: Op, results: Results) -> Worlds[Table]:
        if world.ledger:
            raise Broke("duplicate key in runbook_ledger")
        yield replace(world, open=world.rows), ()
        yield replace(world, open=world.rows | LOST), ()
        yield replace(world, open=world.rows | LOST, committing=True), ()
        done = _committed(replace(world, open=world.rows | LOST))
        yield done, ()
        yield _cleaned(done), (("rows", len(LOST)),)

    def crashed(self, world: Table) -> tuple[Table, ...]:
        rolled_back = replace(world, open=None, committing=False)
        return (rolled_back, _cleaned(_committed(world))) if world.committing else (_cleaned(rolled_back),)

    def outlives(self, operation: Op, world: Table) -> bool:
        return world.committing

    def wrong(self, world: Table) -> str:
        if world.rows not in (THERE, THERE | LOST, (THERE | LOST) - {UNWANTED}):
            return "a part of the rows is there"
        return "a row that a person deleted came back" if world.cleaned and UNWANTED in world.rows else ""

    def verify(self, world: Table) -> str:
        return "" if world.ledger else "not merged"

    def end(self, world: Table) -> Hashable:
        return world.rows


def merge() -> Session:
    """The whole transaction, as one session with a body."""
    deleted = sql("SELECT id, name FROM users WHERE id NOT IN (SELECT id FROM users_now)")
    copied = CopyRows(
        name="copy",
        source=SIDE,
        query=deleted,
        connection=LIVE,
        session="merge",
        table=Name("lost"),
        columns=(Name("id"), Name("name")),
    )
    put = Sql(
        name="put",
        connection=LIVE,
        session="merge",
        statements=(sql("INSERT INTO users SELECT * FROM lost ON CONFLICT (id) DO NOTHING"),),
        expect=(Condition("row_count", Test.AT_MOST, len(LOST)),),
    )
    begin = (
        sql("BEGIN"),
        sql("INSERT INTO runbook_ledger (run, step) VALUES ({run}, {step})", run="r", step="s"),
        sql("CREATE TEMP TABLE lost (LIKE users) ON COMMIT DROP"),
    )
    return Session(name="merge", connection=LIVE, begin=begin, body=(copied, put), end=(sql("COMMIT"),))


def _committed(world: Table) -> Table:
    return replace(world, rows=world.open or world.rows, ledger=True, open=None, committing=False)


def _cleaned(world: Table) -> Table:
    """A person takes away again what should have stayed deleted."""
    return replace(world, rows=world.rows - {UNWANTED}, cleaned=True) if world.ledger else world


def test_it_is_merged_once_whatever_becomes_of_the_answer() -> None:
    assert explore(Merging()).depth >= 2


def test_rows_do_not_tell_whether_they_were_merged() -> None:
    class Counting(Merging):
        """Looks whether rows are missing, as one does without a ledger."""

        def plan(self, facts: object) -> tuple[Op, ...]:
            assert isinstance(facts, MergeFacts)
            return (merge(),) if facts.missing else ()

    with pytest.raises(Fault, match=r"left to be done|came back"):
        explore(Counting())


def test_a_commit_that_lands_later_is_why_the_fence_comes_first() -> None:
    class Slow(Merging):
        """Its COMMIT waits for a standby, and goes through after the engine's death."""

        def crashed(self, world: Table) -> tuple[Table, ...]:
            return (world,) if world.committing else (_cleaned(replace(world, open=None)),)

    explore(Slow())
    with pytest.raises(Fault, match="duplicate key"):  # and the ledger's key keeps the rows from being merged twice
        explore(Slow(), fenced=False)
