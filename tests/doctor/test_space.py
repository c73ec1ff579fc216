"""Space: what is free against what the next backup and the next restore need."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runbook.doctor import space
from runbook.doctor.facts import UNKNOWN
from runbook.doctor.finding import Code, Finding, Mark
from tests.doctor.given import BACKUPS, DB, GIB, SERVER, STATE, STORE, healthy

MIB = 1024**2


@pytest.mark.parametrize(
    ("free", "mark"),
    [(40 * GIB, Mark.GOOD), (GIB, Mark.GOOD), (900 * MIB, Mark.LOOK), (64 * MIB, Mark.LOOK), (10 * MIB, Mark.FAILS)],
)
def test_the_state_directory(free: int, mark: Mark) -> None:
    (found,) = space.state(replace(STATE, free_bytes=free))
    assert found.mark is mark
    assert ("prune" in found.fix) is (mark is not Mark.GOOD)


def test_what_could_not_be_told_is_not_judged() -> None:
    assert list(space.state(replace(STATE, free_bytes=UNKNOWN))) == []
    unseen = replace(DB, detail=replace(SERVER, free_bytes=UNKNOWN))
    bucket = replace(BACKUPS, detail=replace(STORE, free_bytes=UNKNOWN))
    assert [found.subject for found in space.judge(replace(healthy(), seen=(unseen, bucket)))] == [STATE.path]


def stores(free: int, newest: int, *, changed: bool) -> Finding:
    seen = replace(BACKUPS, detail=replace(STORE, free_bytes=free, newest_bytes=newest), changed=changed)
    return next(found for found in space.judge(replace(healthy(), seen=(seen,))) if found.subject == "backups")


@pytest.mark.parametrize(
    ("free", "newest", "changed", "mark"),
    [
        (30 * GIB, GIB, True, Mark.GOOD),
        (2 * GIB, GIB, True, Mark.GOOD),
        (GIB, GIB, True, Mark.LOOK),
        (GIB - 1, GIB, True, Mark.FAILS),
        (GIB - 1, GIB, False, Mark.LOOK),  # the plan only reads there
        (1, UNKNOWN, True, Mark.GOOD),
    ],
)
def test_a_store_has_room_for_the_next_backup(free: int, newest: int, changed: bool, mark: Mark) -> None:
    found = stores(free, newest, changed=changed)
    assert (found.mark, found.code) == (mark, None if mark is Mark.GOOD else Code.SPACE)


def servers(free: int, size: int, *, changed: bool = True, there: bool = True, cluster: int = UNKNOWN) -> Finding:
    detail = replace(SERVER, free_bytes=free, database_bytes=size, database_there=there, cluster_bytes=cluster)
    facts = replace(healthy(), seen=(replace(DB, detail=detail, changed=changed),))
    return next(found for found in space.judge(facts) if found.subject == "db")


def test_a_restore_beside_needs_the_database_once_more() -> None:
    assert servers(30 * GIB, 2 * GIB).mark is Mark.GOOD
    short = servers(2 * GIB, 2 * GIB)
    assert (short.mark, short.code) == (Mark.FAILS, Code.SPACE)
    assert "needs 2.6 GB" in short.why
    assert short.says == "2.1 GB free beside /var/lib/postgresql/data; civicq has 2.1 GB"
    assert servers(2 * GIB, 2 * GIB, changed=False).mark is Mark.LOOK
    assert servers(1, 0, there=False).mark is Mark.GOOD


def test_a_recovery_needs_the_whole_cluster_once_more() -> None:
    assert servers(30 * GIB, 2 * GIB, cluster=20 * GIB).mark is Mark.GOOD
    short = servers(30 * GIB, 2 * GIB, cluster=40 * GIB)
    assert (short.mark, short.code) == (Mark.LOOK, Code.SPACE)
    assert short.says.endswith("civicq has 2.1 GB, and the cluster 42.9 GB")
