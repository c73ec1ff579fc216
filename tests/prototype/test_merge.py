"""Merging deleted rows in one transaction whose COMMIT's answer is lost: the real action's plan on a table in memory.

A copy stands at a moment before the accident; the rows that were deleted since come back into the live table. The first statement
of the transaction writes a row into a ledger in the live database: it is there if and only if the merge is. The model acts on the
statements of the session.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import pytest

from runbook.action import current, guard
from runbook.actions.postgres.ledger import Ledger
from runbook.actions.postgres.merge_rows import MergeRows, MergeRowsFacts, MergeRowsInputs
from runbook.actions.postgres.row_source import Source
from runbook.actions.postgres.tables import Column, Table
from runbook.operation import CopyRows, Operations, Session, Sql
from tests.actions.backups import database, scope, store
from tests.prototype.explore import Fault, explore
from tests.prototype.life import Broke, Case, Op, Results, Worlds

SCOPE = scope(store())
INPUTS = MergeRowsInputs(source=Source(database="copy"), tables=("users",), at_most=2, expected={"public.users": 2})
USERS = Table("public", "users", partitioned=False, columns=(Column("id", "integer"),), key=("id",))
THERE, LOST, UNWANTED = frozenset({1, 2}), frozenset({3, 4}), 4
"""``UNWANTED`` is deleted by a person as soon as it is back, and rightly."""


@dataclass(frozen=True, slots=True)
class Shop:
    """The live table. ``open``: what the transaction has so far, None = no transaction; ``committing``: COMMIT was sent.

    ``noted``: in the open transaction the ledger's row is written; ``copied``: the copy's rows are in its temporary table.
    """

    rows: frozenset[int] = THERE
    made: bool = False
    ledger: bool = False
    open: frozenset[int] | None = None
    noted: bool = False
    copied: bool = False
    committing: bool = False
    cleaned: bool = False


class Merging(Case[Shop]):
    """A live database and a copy."""

    start = Shop()

    def observe(self, world: Shop) -> MergeRowsFacts:
        at = "2026-02-14" if world.ledger else ""
        return MergeRowsFacts("c", 1, Ledger(SCOPE.run, SCOPE.step, made=world.made, at=at), (USERS,))

    def plan(self, facts: object) -> Operations:
        assert isinstance(facts, MergeRowsFacts)
        return MergeRows().plan(database(), INPUTS, facts, SCOPE)

    def perform(self, world: Shop, operation: Op, results: Results) -> Worlds[Shop]:
        if isinstance(operation, Sql):
            assert operation.name == "ledger"
            yield replace(world, made=True), ()
            return
        assert isinstance(operation, Session)
        assert world.made, "the ledger is there before anything is written into it"
        for statement in operation.begin:
            world = self._state(world, statement.text)
            yield world, ()
        for inner in operation.body:
            world = self._inside(world, inner)
            yield world, ()
        assert [statement.text for statement in operation.end] == ["COMMIT"]
        yield replace(world, committing=True), ()
        done = _committed(world)
        yield done, ()
        yield _cleaned(done), (("rows", len(LOST)),)

    def _state(self, world: Shop, text: str) -> Shop:
        match text.split()[:3]:
            case ["BEGIN"]:
                return replace(world, open=world.rows, noted=False, copied=False)
            case ["INSERT", "INTO", "runbook.ledger"]:
                if world.ledger:
                    raise Broke("duplicate key in runbook.ledger")
                return replace(world, noted=True)
        return world

    def _inside(self, world: Shop, inner: object) -> Shop:
        assert world.open is not None
        match inner:
            case CopyRows():
                return replace(world, copied=True)
            case Sql(name="put_1"):
                assert world.copied
                return replace(world, open=world.open | LOST)
        return world

    def crashed(self, world: Shop) -> tuple[Shop, ...]:
        rolled_back = replace(world, open=None, noted=False, copied=False, committing=False)
        return (rolled_back, _cleaned(_committed(world))) if world.committing else (_cleaned(rolled_back),)

    def outlives(self, operation: Op, world: Shop) -> bool:
        return world.committing

    def wrong(self, world: Shop) -> str:
        if world.rows not in (THERE, THERE | LOST, (THERE | LOST) - {UNWANTED}):
            return "a part of the rows is there"
        return "a row that a person deleted came back" if world.cleaned and UNWANTED in world.rows else ""

    def verify(self, world: Shop) -> str:
        return "" if world.ledger else "not merged"

    def end(self, world: Shop) -> Hashable:
        return world.rows


def _committed(world: Shop) -> Shop:
    assert world.open is not None
    return replace(world, rows=world.open, ledger=world.noted, open=None, noted=False, copied=False, committing=False)


def _cleaned(world: Shop) -> Shop:
    """A person takes away again what should have stayed deleted."""
    return replace(world, rows=world.rows - {UNWANTED}, cleaned=True) if world.ledger else world


def test_it_is_merged_once_whatever_becomes_of_the_answer() -> None:
    assert explore(Merging()).depth >= 2


@dataclass(frozen=True, slots=True)
class Counted:
    """Facts of somebody who looks at the rows."""

    database: str = guard()
    missing: int = current()


def test_rows_do_not_tell_whether_they_were_merged() -> None:
    class Counting(Merging):
        """Looks whether rows are missing, as one does without a ledger."""

        def observe(self, world: Shop) -> Counted:  # type: ignore[override]
            return Counted("shop", len((THERE | LOST) - world.rows))

        def plan(self, facts: object) -> Operations:
            assert isinstance(facts, Counted)
            assumed = MergeRows().assume(database(), INPUTS, SCOPE)
            whole = MergeRows().plan(database(), INPUTS, replace(assumed, tables=(USERS,)), SCOPE)
            return whole if facts.missing else ()

    with pytest.raises(Fault, match=r"left to be done|came back"):
        explore(Counting())


def test_a_commit_that_lands_later_is_why_the_fence_comes_first() -> None:
    class Slow(Merging):
        """Its COMMIT waits for a standby, and goes through after the engine's death."""

        def crashed(self, world: Shop) -> tuple[Shop, ...]:
            if world.committing:
                return (world,)
            return (_cleaned(replace(world, open=None, noted=False, copied=False)),)

    explore(Slow())
    with pytest.raises(Fault, match="duplicate key"):  # and the ledger's key keeps the rows from being merged twice
        explore(Slow(), fenced=False)
