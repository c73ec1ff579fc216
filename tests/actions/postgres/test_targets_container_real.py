"""Targets, side copies and their end, on a server in a container: the same as on a machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runbook.actions.postgres.drop_side import DropSide
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.errors import Refused
from tests.actions.harness import Stage
from tests.actions.postgres.life import Life
from tests.actions.postgres.test_exchange_real import VOLUME, Cluster, stand  # noqa: F401 - stand is a fixture
from tests.fixtures.containers import PostgresContainer

pytestmark = pytest.mark.docker


def step(stage: Stage, made: Cluster, called: str, **given: object) -> Life:
    return Life(stage, RestoreToTime(), made.db, stage.scope(called), {"artifact": made.base, **given})


def test_a_side_copy_at_a_restore_point_is_asked_and_dropped(stage: Stage, stand: Callable[[str], Cluster]) -> None:  # noqa: F811
    made = stand(f"{VOLUME}/pgdata")
    made.commit("1 kept")
    made.pg.psql("SELECT pg_create_restore_point('here')")
    made.commit("2 accident")
    checks = [{"query": "SELECT count(*) FROM notes", "equals": 2}]
    life = step(stage, made, "recover", name="here", mode="side", checks=checks, database=PostgresContainer.database)
    performed = life.go()
    out = life.end()
    assert performed.index("check_1") == performed.index("promote") + 1
    asked = (
        "-h",
        out.address,
        "-p",
        str(out.port),
        "-U",
        PostgresContainer.user,
        "-XAtc",
        "SELECT word FROM notes ORDER BY 1",
    )
    database = ("-d", PostgresContainer.database)
    assert made.inside("psql", *asked, *database).splitlines() == ["0 base", "1 kept"]
    drop = Life(stage, DropSide(), made.db, stage.scope("drop"), {"step": "recover"})
    assert drop.go() == ["stop_side", "remove_side", "remove_run"]
    drop.end()
    assert made.foreign == set()
    assert made.notes == ["0 base", "1 kept", "2 accident"]


def test_the_end_of_the_archive_in_the_live_ones_place(stage: Stage, stand: Callable[[str], Cluster]) -> None:  # noqa: F811
    made = stand(VOLUME)
    made.commit("1 kept")
    given: dict[str, object] = {"stop": ["systemctl", "stop", "it"], "start": ["systemctl", "start", "it"]}
    with pytest.raises(Refused, match="`stop` and `start` would never be run"):
        step(stage, made, "recover", latest=True, **given).plan()
    life = step(stage, made, "recover", latest=True)
    life.go()
    assert life.end().timeline == 2
    assert made.notes == ["0 base", "1 kept"]


def test_what_a_recovery_discarded_asks_for_its_timeline(stage: Stage, stand: Callable[[str], Cluster]) -> None:  # noqa: F811
    made = stand(VOLUME)
    target = made.commit("1 kept")
    made.commit("2 discarded")
    discarded = made.commit("3 discarded")
    made.commit("4 accident")
    first = step(stage, made, "first", target=target)
    first.go()
    first.end()
    made.after_this_second()
    later = made.commit("5 later")
    made.commit("6 too late")
    with pytest.raises(Refused, match="`timeline: 1` goes along the discarded part"):
        step(stage, made, "no", target=discarded).plan()
    for called, given, notes in (
        ("back", {"target": discarded, "timeline": "1"}, ["0 base", "1 kept", "2 discarded", "3 discarded"]),
        ("on", {"target": later}, ["0 base", "1 kept", "5 later"]),
    ):
        life = step(stage, made, called, mode="side", **given)
        life.go()
        out = life.end()
        asked = ("-h", out.address, "-p", str(out.port), "-U", PostgresContainer.user, "-d", PostgresContainer.database)
        assert made.inside("psql", *asked, "-XAtc", "SELECT word FROM notes ORDER BY 1").splitlines() == notes
        life.undo()
