"""Recovery of a real cluster with tablespaces: rows equal, the live ones' files untouched, never a directory in common."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from runbook.actions.postgres.drop_side import DropSide
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.artifact import Artifact
from runbook.errors import Refused
from runbook.system import Store
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.archived import Cluster
from tests.actions.postgres.life import Life
from tests.actions.postgres.spaced import backed_up, beside, links, quiet, rows, spaced, witness
from tests.actions.postgres.test_restore_targets_real import there
from tests.fixtures.kill_points import some_of


@dataclass
class Accident:
    """A base backup, rows that came after it, and a moment before they were damaged."""

    cluster: Cluster
    places: dict[str, Path]
    base: Artifact
    target: datetime
    before: list[str]

    def life(self, stage: Stage, step: str = "recover", **written: object) -> Life:
        """The recovery."""
        given = {"artifact": self.base, "target": self.target, **written}
        return Life(stage, RestoreToTime(), self.cluster.db, stage.scope(step), given)


@pytest.fixture
def accident(stage: Stage, cluster: Cluster, backups: Store) -> Iterator[Accident]:
    with spaced(cluster) as places:
        cluster.commit("0 base")
        base = backed_up(stage, cluster, backups)
        cluster.server.sql("INSERT INTO parted SELECT i, 'later ' || i FROM generate_series(1, 50) AS i")
        cluster.server.sql("INSERT INTO quick SELECT i, 'later' FROM generate_series(5001, 5050) AS i")
        before, target = rows(cluster), cluster.commit("1 kept")
        cluster.server.sql("UPDATE quick SET word = 'damaged'")
        cluster.server.sql("DELETE FROM parted WHERE id <> 7")
        cluster.commit("2 accident")
        quiet(cluster)
        yield Accident(cluster, places, base, target, before)


def own(places: dict[str, Path], name: str, oid: str) -> Path:
    (found,) = places[name].parent.glob(f"{name}.rb_*_{oid}")
    return found


def test_rows_come_back_and_the_live_files_stay(stage: Stage, accident: Accident) -> None:
    cluster, places = accident.cluster, accident.places
    untouched, live = witness(places), links(cluster.data)
    step = accident.life(stage)
    names = [one.name for one in step.plan()]
    step.go(stop_after=names.index("stop_side") + 1)
    assert witness(places) == untouched, "recovered and promoted, and nothing of the live tablespaces is touched"
    (side,) = cluster.data.parent.glob("data.rb_*")
    assert not list(side.glob("tablespace_map*")), "it would lead the copy into the live directories"
    step.go()
    out = step.end()
    assert rows(cluster) == accident.before
    assert cluster.notes() == ["0 base", "1 kept"]
    assert links(Path(out.kept_as)) == live, "the former cluster keeps its own"
    now = links(cluster.data)
    assert set(now) == set(live) and not set(now.values()) & set(live.values())
    assert beside(places) == {path.name for path in now.values()}
    assert [line.partition(" (")[0] for line in out.tablespaces] == [
        f"{name}: {path}" for name, path in zip(places, now.values(), strict=True)
    ]
    assert witness(places).keys() == untouched.keys()
    located = cluster.server.sql("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'")
    assert located == [(str(now[min(now)]),)]

    # A second one starts from the recovered places, and its names don't grow.
    cluster.server.sql("INSERT INTO quick VALUES (9000, 'new timeline')")
    again, target = rows(cluster), cluster.commit("3 later")
    cluster.commit("4 too late")
    second = Life(
        stage, RestoreToTime(), cluster.db, stage.scope("again"), {"artifact": accident.base, "target": target}
    )
    second.go()
    second.end()
    assert rows(cluster) == again
    newest = links(cluster.data)
    assert not set(newest.values()) & {*now.values(), *live.values()}
    assert all(path.name.count(".rb_") == 1 for path in newest.values())


def test_undo_puts_the_former_cluster_back_with_its_tablespaces(stage: Stage, accident: Accident) -> None:
    cluster = accident.cluster
    damaged, live = rows(cluster), links(cluster.data)
    step = accident.life(stage)
    step.go()
    step.end()
    assert rows(cluster) == accident.before
    step.undo()
    assert links(cluster.data) == live
    assert rows(cluster) == damaged


def test_a_side_copy_shares_nothing_and_is_dropped(stage: Stage, accident: Accident) -> None:
    cluster, places = accident.cluster, accident.places
    untouched, damaged = witness(places), rows(cluster)
    step = accident.life(stage, mode="side")
    step.go()
    out = step.end()
    copy, live = links(Path(out.data_directory)), links(cluster.data)
    assert not {path.resolve() for path in copy.values()} & {path.resolve() for path in live.values()}
    inodes = {path.stat().st_ino for place in copy.values() for path in place.rglob("*")}
    assert not inodes & {path.stat().st_ino for place in live.values() for path in place.rglob("*")}
    assert there(cluster, out) == ["0 base", "1 kept"]
    assert witness(places) == untouched
    drop = Life(stage, DropSide(), cluster.db, stage.scope("drop"), {"step": "recover"})
    performed = drop.go()
    assert performed == ["stop_side", "remove_side", *(f"remove_space_{oid}" for oid in sorted(copy)), "remove_run"]
    drop.end()
    assert (beside(places), cluster.beside()) == (set(), set())
    assert witness(places) == untouched
    assert rows(cluster) == damaged


def test_a_copy_that_shares_a_directory_is_not_started(stage: Stage, accident: Accident) -> None:
    cluster = accident.cluster
    step = accident.life(stage, mode="side")
    names = [one.name for one in step.plan()]
    first = names.index("extract")
    step.go(stop_after=[at for at, name in enumerate(names) if name.startswith("link_")][-1] + 1)
    (partial,) = cluster.data.parent.glob("data.rb_*.partial")
    name, live = next(iter(links(cluster.data).items()))
    (partial / "pg_tblspc" / name).unlink()
    (partial / "pg_tblspc" / name).symlink_to(live)
    facts = step.observe()
    whole = RestoreToTime().plan(cluster.db, step.inputs, facts, step.scope)
    rest = [one for one in whole if one.name in ("is_apart", "still_apart")]
    assert [one.name for one in rest] == ["is_apart", "still_apart"]
    assert names.index("is_apart") < names.index("check_files") < names.index("start_side") and first
    with pytest.raises(StepFailed, match="in use by both"):
        stage.perform(rest[0], {}, step.scope)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "operations" in metafunc.fixturenames:
        metafunc.parametrize("operations", some_of(31, metafunc.config))


@pytest.mark.slow
def test_stopped_anywhere_and_resumed(stage: Stage, accident: Accident, operations: int) -> None:
    cluster, places = accident.cluster, accident.places
    untouched = witness(places)
    step = accident.life(stage)
    first = step.go(stop_after=operations)
    if "set_aside" not in first:
        assert witness(places) == untouched
    step.go()
    out = step.end()
    assert rows(cluster) == accident.before
    assert cluster.beside() == {Path(out.kept_as).name}
    assert beside(places) == {path.name for path in links(cluster.data).values()}


@pytest.mark.slow
@pytest.mark.parametrize("again", range(5))
@pytest.mark.parametrize("stop_after", ["remember", "extract", "name_side", "start_side", "promote"])
def test_a_side_copy_cut_off_anywhere_is_dropped(stage: Stage, accident: Accident, stop_after: str, again: int) -> None:
    cluster, places = accident.cluster, accident.places
    untouched = witness(places)
    step = accident.life(stage, mode="side")
    step.go(stop_after=[one.name for one in step.plan()].index(stop_after) + 1)
    drop = Life(stage, DropSide(), cluster.db, stage.scope("drop"), {"step": "recover"})
    drop.go(stop_after=again)
    drop.go()
    drop.end()
    assert (beside(places), cluster.beside()) == (set(), set())
    assert witness(places) == untouched


def test_what_can_not_be_kept_apart_is_refused(stage: Stage, accident: Accident) -> None:
    cluster, places = accident.cluster, accident.places
    third = places["fast"].parent / "third"
    third.mkdir(mode=0o700)
    cluster.server.account.give(third)
    cluster.server.sql(f"CREATE TABLESPACE third LOCATION '{third}'")
    with pytest.raises(Refused, match="made after the base backup"):
        accident.life(stage).plan()
    cluster.server.stop()
    down = cluster.db.model_copy(update={"data_directory": str(cluster.data), "binaries": str(cluster.server.bin_dir)})
    given = {"artifact": accident.base, "target": accident.target}
    with pytest.raises(Refused, match="made after the base backup"):
        Life(stage, RestoreToTime(), down, stage.scope("down"), given).plan()


def test_a_dropped_tablespace_and_a_lost_one_come_back(stage: Stage, accident: Accident) -> None:
    cluster, places = accident.cluster, accident.places
    for statement in ("DROP TABLE quick", "DROP INDEX parted_word", "DROP TABLESPACE fast"):
        cluster.server.sql(statement)
    places["fast"].rmdir()
    shutil.rmtree(places["slow"])
    step = accident.life(stage)
    step.go()
    step.end()
    assert rows(cluster) == accident.before
    assert len(links(cluster.data)) == 2


def test_on_a_new_machine_they_are_made_beside_where_they_were(stage: Stage, accident: Accident) -> None:
    cluster, places = accident.cluster, accident.places
    cluster.server.sql("SELECT pg_switch_wal()")
    cluster.server.stop()
    for lost in (cluster.data, *places.values()):
        shutil.rmtree(lost)
    db = cluster.db.model_copy(update={"data_directory": str(cluster.data), "binaries": str(cluster.server.bin_dir)})
    given = {"artifact": accident.base, "target": accident.target, "new": True}
    step = Life(stage, RestoreToTime(), db, stage.scope("recover"), given)
    step.go()
    out = step.end()
    assert rows(cluster) == accident.before
    now = links(cluster.data)
    assert beside(places) == {path.name for path in now.values()}
    assert [line for line in out.tablespaces if "before" in line] == []
    drop = Life(stage, DropSide(), db, stage.scope("drop"), {"step": "recover"})
    assert not [name for name in drop.go() if name.startswith("remove_space")], "these are in use"
    assert rows(cluster) == accident.before
