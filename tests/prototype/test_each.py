"""A hundred thousand object versions: delete markers taken away one by one, by one operation with a sheet and a checkpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Hashable
from dataclasses import dataclass, replace
from hashlib import sha256

import pytest

from runbook.action import current, pinned
from runbook.operation import Process, Ref, canonical
from tests.prototype.explore import Fault, explore
from tests.prototype.life import Broke, Case, Op, Results, Worlds
from tests.prototype.proposed import Each, Sheet

DELETED, LATER = ("a", "b", "c", "d"), "e"
NOTE_EVERY = 2

Rows = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Versions:
    """``markers``: keys whose newest version says "deleted". ``noted``: the sheet and row of the progress file.

    ``doubled``: keys that got more versions than one. ``later``: somebody has deleted one more meanwhile.
    """

    markers: frozenset[str]
    noted: tuple[str, int] = ("", 0)
    doubled: bool = False
    later: bool = False


@dataclass(frozen=True, slots=True)
class MarkerFacts:
    """``first``: what was deleted before the step; ``left``: what of it still is."""

    first: Rows = pinned()
    left: Rows = current()


class Undeleting(Case[Versions]):
    """A bucket in which somebody goes on deleting, rightly."""

    start = Versions(frozenset(DELETED))
    copies = False

    def observe(self, world: Versions) -> MarkerFacts:
        found = tuple(key for key in sorted(world.markers) if key != LATER)  # its marker is younger than the run
        return MarkerFacts(found, found)

    def plan(self, facts: object) -> tuple[Op, ...]:
        assert isinstance(facts, MarkerFacts)
        if not set(facts.left) <= set(facts.first):
            raise Broke("the sheet holds what was never approved")
        return (each(facts.left),) if facts.left else ()

    def same(self, operation: Op) -> str:
        """The template is approved; of which rows, the pinned sheet says."""
        assert isinstance(operation, Each)
        return super().same(operation.template)

    def perform(self, world: Versions, operation: Op, results: Results) -> Worlds[Versions]:
        assert isinstance(operation, Each)
        rows = rows_of(operation.sheet)
        noted = world.noted[1] if world.noted[0] == operation.sheet.sha256 else 0
        for number, key in enumerate(rows[noted:], noted + 1):
            world = self.item(world, key)
            yield world, ()
            if number % operation.note_every == 0 or number == len(rows):
                world = replace(world, noted=(operation.sheet.sha256, number))
                yield world, (("done", number),)

    def item(self, world: Versions, key: str) -> Versions:
        """One row: a version is deleted by its id, which does no harm twice."""
        return replace(world, markers=world.markers - {key})

    def crashed(self, world: Versions) -> tuple[Versions, ...]:
        unsynced = replace(world, noted=("", 0))
        busy = replace(world, later=True, markers=world.markers | {LATER})
        return (world, unsynced, busy)

    def outlives(self, operation: Op, world: Versions) -> bool:
        return False

    def wrong(self, world: Versions) -> str:
        if world.doubled:
            return "a key has one version more than it should"
        return "what a person deleted later came back" if world.later and LATER not in world.markers else ""

    def verify(self, world: Versions) -> str:
        return "" if world.markers <= {LATER} else f"still deleted: {sorted(world.markers)}"

    def end(self, world: Versions) -> Hashable:
        return world.markers - {LATER}


def each(rows: Rows, note_every: int = NOTE_EVERY) -> Each:
    """The operation for these keys."""
    text = "".join(json.dumps({"key": key, "version": f"v-{key}"}) + "\n" for key in rows)
    path = "/run/markers.jsonl"
    SHEETS[path] = rows
    given = ("aws", "s3api", "delete-object", "--bucket", "b", "--key", Ref("row", "key"))
    template = Process(name="undelete", argv=(*given, "--version-id", Ref("row", "version")))
    sheet = Sheet(path, sha256(text.encode()).hexdigest(), len(rows), rows[:3])
    return Each(name="undelete", sheet=sheet, template=template, note_every=note_every)


SHEETS: dict[str, Rows] = {}
"""The files that the sheets are."""


def rows_of(sheet: Sheet) -> Rows:
    """What stands in it."""
    return SHEETS[sheet.path]


def test_killed_anywhere_each_is_taken_away_and_no_other() -> None:
    assert explore(Undeleting()).depth >= 3


def test_items_have_to_be_harmless_twice() -> None:
    class Copying(Undeleting):
        """Brings an object back by copying an old version over it, which makes a new one each time."""

        def item(self, world: Versions, key: str) -> Versions:
            again = key not in world.markers
            return replace(super().item(world, key), doubled=world.doubled or again)

        def observe(self, world: Versions) -> MarkerFacts:
            return MarkerFacts(DELETED, DELETED if world.markers & set(DELETED) else ())

    with pytest.raises(Fault, match="one version more"):
        explore(Copying())


def test_progress_is_noted_after_what_it_counts() -> None:
    class Boastful(Undeleting):
        """Notes an item before it is done."""

        def observe(self, world: Versions) -> MarkerFacts:
            return MarkerFacts(DELETED, DELETED if world.markers & set(DELETED) else ())

        def perform(self, world: Versions, operation: Op, results: Results) -> Worlds[Versions]:
            assert isinstance(operation, Each)
            rows = rows_of(operation.sheet)
            noted = world.noted[1] if world.noted[0] == operation.sheet.sha256 else 0
            yield world, ()
            for number, key in enumerate(rows[noted:], noted + 1):
                world = replace(world, noted=(operation.sheet.sha256, number))
                yield world, ()
                world = self.item(world, key)
                yield world, ()

    with pytest.raises(Fault, match="left to be done"):
        explore(Boastful())


def test_a_resumed_sheet_is_a_part_of_the_first() -> None:
    class Greedy(Undeleting):
        """Takes whatever is deleted now."""

        def observe(self, world: Versions) -> MarkerFacts:
            found = tuple(sorted(world.markers))
            return MarkerFacts(found, found)

    with pytest.raises(Fault, match="never approved"):
        explore(Greedy())


def test_a_hundred_thousand_cost_a_record_of_a_few_hundred_bytes_and_a_note_a_thousand() -> None:
    keys = tuple(f"{number:06d}" for number in range(100_000))
    began = time.process_time()
    operation = each(keys, 1000)
    assert len(json.dumps(canonical(operation))) < 1000
    notes = {world.noted for world, _ in Undeleting().perform(Versions(frozenset()), operation, {})}
    assert len(notes - {("", 0)}) == 100
    assert time.process_time() - began < 100, "what costs the square of them would take hours"
