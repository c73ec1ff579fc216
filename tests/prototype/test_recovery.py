"""Recovery to a moment beside the live cluster, with a swap of the data directories, killed anywhere."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from datetime import timedelta

import pytest

from runbook.action import Undecidable
from runbook.actions.postgres import cluster, swap
from runbook.actions.postgres.cluster import Place, Server
from runbook.actions.postgres.recovery_step import RestoreToTimeFacts, RestoreToTimeInputs
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.artifact import Format
from runbook.operation import Operations, Process, Sql, Wait, Write
from tests.actions.backups import NOON, artifact, database, manifest, scope, store
from tests.prototype.directories import HISTORY, ORIGINAL, PAUSED, PROMOTED, TORN, Directory, Machine, obey
from tests.prototype.explore import Fault, explore
from tests.prototype.life import Broke, Case, Op, Results, Worlds, followed
from tests.prototype.words import commands, line_of

DATA = "/pg/data"
SCOPE = scope(store())
SYSTEM = database(data_directory=DATA, archive="file:///wal")
BASE = artifact(manifest("c.tar", format=Format.BASE_BACKUP, database=""))
INPUTS = RestoreToTimeInputs(artifact=BASE, target=NOON - timedelta(minutes=5))
WHERE = cluster.paths(DATA, swap.own_name(SCOPE))
START = Machine(frozenset({Directory(DATA, 1, ORIGINAL, server=Server.RUNNING)}))


class Recovering(Case[Machine]):
    """A running cluster that archives. The power may fail; what starts servers at boot starts the live one, or nothing does."""

    start = START

    def observe(self, world: Machine) -> RestoreToTimeFacts:
        data, side, old = (_place(world, path) for path in (WHERE.data, WHERE.side, WHERE.old))
        original = old or data
        return replace(
            RestoreToTime().assume(SYSTEM, INPUTS, SCOPE),
            original_inode=original.inode if original else 0,
            answers=data is not None and data.server is Server.RUNNING,
            data=data,
            side=side,
            old=old,
            partial=world.at(WHERE.partial) is not None,
            run=world.at(WHERE.run) is not None,
        )

    def plan(self, facts: object) -> Operations:
        assert isinstance(facts, RestoreToTimeFacts)
        return RestoreToTime().plan(SYSTEM, INPUTS, facts, SCOPE)

    def perform(self, world: Machine, operation: Op, results: Results) -> Worlds[Machine]:
        match operation:
            case Write(path=path):
                folder = world.at(path.rpartition("/")[0])
                if path.endswith("recovery.signal") and folder is not None:
                    yield world.put(folder, replace(folder, signal=True)), ()
                else:
                    yield world, ()
            case Wait(name=name):
                side = world.at(WHERE.side)
                if name == "proof" and not (side and side.content == PAUSED):
                    raise Broke(f"the proof does not hold: {side}")
                if name == "in_production" and side is not None:
                    world = world.put(side, replace(side, content=PROMOTED, history=True))
                yield world, ()
            case Sql():
                yield world, (("segment", "0000000100000001"),)
            case Process() | _:
                for command in commands(line_of(operation, results)):  # type: ignore[arg-type]  # a real one
                    for later in obey(world, command):
                        yield later, ()
                    world = later

    def crashed(self, world: Machine) -> tuple[Machine, ...]:
        dark = replace(world, all=frozenset(map(_without_power, world.all)))
        live = dark.at(DATA)
        return (world, dark, *(() if live is None else (dark.put(live, replace(live, server=Server.RUNNING)),)))

    def wrong(self, world: Machine) -> str:
        if not any(one.content == ORIGINAL for one in world.all):
            return "the original is gone"
        live = world.at(DATA)
        if live is not None and live.content not in (ORIGINAL, PROMOTED):
            return "what is in place is not proven to stand at the target"
        if live is not None and live.content == PROMOTED and HISTORY not in world.archive:
            return "a later recovery would follow the old timeline"
        return ""

    def verify(self, world: Machine) -> str:
        live = world.at(DATA)
        return "" if live and live.content == PROMOTED and live.server is Server.RUNNING else f"not recovered: {live}"

    def end(self, world: Machine) -> Hashable:
        return frozenset(replace(one, server=Server.STOPPED) for one in world.all), world.archive


def _place(world: Machine, path: str) -> Place | None:
    found = world.at(path)
    if found is None:
        return None
    cut_off = found.content == TORN and found.server is not Server.RUNNING
    return Place(found.inode, 1, "postgres", found.server, found.signal, cut_off)


def _without_power(one: Directory) -> Directory:
    return replace(one, server=Server.STALE) if one.server is Server.RUNNING else one


def test_killed_anywhere_it_ends_the_same() -> None:
    found = explore(Recovering())
    assert found.depth >= 3, found


def test_the_pasted_lines_alone_reach_the_same_end_and_leave_nothing_stray() -> None:
    case = Recovering()
    world = followed(case)
    assert case.verify(world) == ""
    assert HISTORY in world.archive
    assert {one.path: one.content for one in world.all} == {DATA: PROMOTED, WHERE.old: ORIGINAL}


def test_a_missing_signal_alone_does_not_prove_a_promotion() -> None:
    class Trusting(Recovering):
        """Takes any side directory without recovery.signal for a promoted one."""

        def observe(self, world: Machine) -> RestoreToTimeFacts:
            facts = super().observe(world)
            return replace(facts, side=facts.side and replace(facts.side, cut_off=False))

    with pytest.raises(Fault, match="promote"):
        explore(Trusting())


def test_a_promotion_that_is_under_way_is_not_stopped() -> None:
    class Impatient(Recovering):
        """Stops the side server while it may still be writing the end of its recovery."""

        def plan(self, facts: object) -> Operations:
            return tuple(one for one in super().plan(facts) if one.name != "in_production")

    with pytest.raises(Fault, match="promote"):
        explore(Impatient())


def test_the_history_is_in_the_archive_before_writers_return() -> None:
    class Silent(Recovering):
        """Leaves archiving to the server, which doesn't archive what it wrote while archiving was off."""

        def plan(self, facts: object) -> Operations:
            return tuple(one for one in super().plan(facts) if one.name != "archive_history")

    with pytest.raises(Fault, match="old timeline"):
        explore(Silent())


def test_a_swap_that_looks_like_none_of_its_own_is_for_a_person() -> None:
    case = Recovering()
    facts = case.observe(START)
    assert facts.data is not None
    stranger = replace(facts, data=replace(facts.data, inode=9))
    with pytest.raises(Undecidable):
        case.plan(stranger)
