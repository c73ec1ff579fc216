"""A side copy on real clusters: asked before it takes the live one's place, left running with its address, and ended."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from runbook.action import Scope
from runbook.actions.postgres.drop_side import DropSide
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.artifact import Artifact
from runbook.errors import Refused
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.archived import Cluster
from tests.actions.postgres.life import Life
from tests.actions.postgres.test_restore_targets_real import there


def damaged(cluster: Cluster) -> datetime:
    target = cluster.commit("1 kept")
    cluster.commit("2 accident")
    return target


def recovering(stage: Stage, cluster: Cluster, base: Artifact, **given: object) -> Life:
    return Life(stage, RestoreToTime(), cluster.db, stage.scope("recover"), {"artifact": base, **given})


def dropping(stage: Stage, cluster: Cluster, scope: Scope | None = None) -> Life:
    return Life(stage, DropSide(), cluster.db, scope or stage.scope("drop"), {"step": "recover"})


def test_a_side_copy_is_asked_at_its_address_and_dropped(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    life = recovering(stage, cluster, base, target=damaged(cluster), mode="side")
    life.go()
    out = life.end()
    assert (Path(out.address) / f".s.PGSQL.{out.port}").is_socket()
    assert there(cluster, out) == ["0 base", "1 kept"]
    drop = dropping(stage, cluster)
    assert drop.go() == ["stop_side", "remove_side", "remove_run"]
    assert drop.end().data_directory == out.data_directory
    assert cluster.beside() == set()
    assert cluster.notes() == ["0 base", "1 kept", "2 accident"]
    assert dropping(stage, cluster).go() == [], "a second time there is nothing"


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", ["archived", "extract", "name_side", "start_side", "proof", "promote"])
@pytest.mark.parametrize("again", [0, 1, 2])
def test_a_copy_that_was_cut_off_anywhere_is_dropped(
    stage: Stage,
    cluster: Cluster,
    base: Artifact,
    stop_after: str,
    again: int,
) -> None:
    life = recovering(stage, cluster, base, target=damaged(cluster), mode="side")
    life.go(stop_after=[one.name for one in life.plan()].index(stop_after) + 1)
    drop = dropping(stage, cluster)
    drop.go(stop_after=again)
    drop.go()
    drop.end()
    assert cluster.beside() == set()
    assert cluster.notes() == ["0 base", "1 kept", "2 accident"]


def test_what_another_step_made_and_what_a_swap_keeps_stay(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    target = damaged(cluster)
    assert dropping(stage, cluster).go() == [], "nothing was begun"
    other = Life(
        stage, RestoreToTime(), cluster.db, stage.scope("other"), {"artifact": base, "target": target, "mode": "side"}
    )
    other.go()
    assert dropping(stage, cluster).go() == []
    assert there(cluster, other.end()) == ["0 base", "1 kept"]
    other.undo()
    life = recovering(stage, cluster, base, target=target)
    life.go()
    out = life.end()
    with pytest.raises(Refused, match="there is no side copy"):
        dropping(stage, cluster).go()
    assert Path(out.kept_as).is_dir()


def test_a_copy_that_fails_its_checks_does_not_take_the_live_ones_place(
    stage: Stage,
    cluster: Cluster,
    base: Artifact,
) -> None:
    cluster.server.sql("CREATE TABLE lost (id int)")
    target = damaged(cluster)
    before = cluster.data.stat().st_ino
    checks = [
        {"query": "SELECT count(*) FROM notes;", "at_least": 2, "at_most": 2},
        {"query": "SELECT '{}'::jsonb = '{}' AND NOT pg_is_in_recovery()", "equals": True},
    ]
    wrong = {"query": "SELECT max(word) FROM notes", "equals": "2 accident"}
    broken = {"query": "SELECT count(*) FROM nowhere", "at_least": 0}
    for one, said in ((wrong, "found: 1 kept"), (broken, 'relation "nowhere" does not exist')):
        life = recovering(stage, cluster, base, target=target, checks=[*checks, one])
        with pytest.raises(StepFailed, match=said) as failed:
            life.go()
        assert str(failed.value).startswith("check_3:")
        assert cluster.data.stat().st_ino == before
        assert cluster.notes() == ["0 base", "1 kept", "2 accident"]
        life.undo()
    life = recovering(stage, cluster, base, target=target, checks=checks)
    performed = life.go()
    life.end()
    places = [performed.index(name) for name in ("proof", "promote", "check_1", "check_2", "set_aside")]
    assert places == sorted(places), "the live one is left alone until the checks have held"
    assert cluster.notes() == ["0 base", "1 kept"]
