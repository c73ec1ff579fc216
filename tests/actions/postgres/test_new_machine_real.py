"""The server is lost: from a base backup and the archive alone, straight into the place of the data; stopped anywhere, resumed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.artifact import Artifact
from runbook.errors import Refused
from runbook.system import Postgres
from tests.actions.harness import Stage
from tests.actions.postgres.archived import Cluster, with_tools
from tests.actions.postgres.life import Life

OPERATIONS = 20


@pytest.fixture
def lost(cluster: Cluster, base: Artifact) -> Callable[..., Postgres]:
    """Commit, lose the machine, and give the system as the environment of a new one has it."""

    def lose(*words: str) -> Postgres:
        for word in words:
            cluster.commit(word)
        cluster.server.sql("SELECT pg_switch_wal()")
        cluster.server.stop()
        shutil.rmtree(cluster.data)
        return with_tools(cluster).model_copy(update={"data_directory": str(cluster.data)})

    return lose


def step(stage: Stage, db: Postgres, base: Artifact, **given: object) -> Life:
    return Life(stage, RestoreToTime(), db, stage.scope("recover"), {"artifact": base, "new": True, **given})


def test_everything_that_was_archived_is_back(
    stage: Stage,
    cluster: Cluster,
    base: Artifact,
    lost: Callable[..., Postgres],
) -> None:
    db = lost("1 kept", "2 kept")
    with pytest.raises(Refused, match="`new: true`"):
        Life(stage, RestoreToTime(), db, stage.scope("old"), {"artifact": base, "latest": True}).plan()
    life = step(stage, db, base, latest=True, options=["-c", "work_mem=5MB"])
    performed = life.go()
    out = life.end()
    assert cluster.notes() == ["0 base", "1 kept", "2 kept"]
    assert cluster.server.sql("SHOW work_mem") == [("5MB",)]
    assert performed[-5:] == ["stop_side", "archive_history", "into_place", "start_live", "clean"]
    assert "switch_wal" not in performed
    assert (out.kept_as, out.timeline) == ("", 2)
    assert cluster.data.stat().st_uid == cluster.server.account.uid
    assert cluster.beside() == set()
    # it archives along its new timeline, and is recovered as any other
    target = cluster.commit("3 later")
    cluster.commit("4 too late")
    again = Life(stage, RestoreToTime(), db, stage.scope("again"), {"artifact": base, "target": target})
    again.go()
    assert again.end().timeline == 3
    assert cluster.notes()[-1] == "3 later"


def test_what_is_there_is_never_recovered_over(
    stage: Stage,
    cluster: Cluster,
    base: Artifact,
    lost: Callable[..., Postgres],
) -> None:
    with pytest.raises(Refused, match="there is a data directory already"):
        step(stage, with_tools(cluster), base, latest=True).plan()
    db = lost("1 kept")
    cluster.data.mkdir()
    with pytest.raises(Refused, match=f"rmdir {cluster.data}"):
        step(stage, db, base, latest=True).plan()
    cluster.data.rmdir()
    with pytest.raises(Refused, match="programs are not there"):
        step(stage, db.model_copy(update={"binaries": "/nowhere"}), base, latest=True).plan()
    nowhere = db.model_copy(update={"data_directory": "/nowhere/at/all"})
    with pytest.raises(Refused, match="there is no place for the data directory"):
        step(stage, nowhere, base, latest=True).plan()
    with pytest.raises(ValueError, match="owner and options are for new"):
        step(stage, db, base, latest=True, new=False, owner="postgres").plan()


def test_undo_leaves_nothing_in_its_place(
    stage: Stage,
    cluster: Cluster,
    base: Artifact,
    lost: Callable[..., Postgres],
) -> None:
    life = step(stage, lost("1 kept"), base, latest=True)
    life.go()
    life.end()
    assert life.undo() == ["stop_live", "out_of_place"]
    assert not cluster.data.exists()
    (kept,) = cluster.beside()
    assert (Path(cluster.data.parent) / kept / "PG_VERSION").exists(), "the recovered cluster is kept beside it"


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", range(OPERATIONS))
def test_stopped_anywhere_and_resumed(
    stage: Stage,
    cluster: Cluster,
    base: Artifact,
    lost: Callable[..., Postgres],
    stop_after: int,
) -> None:
    life = step(stage, lost("1 kept"), base, latest=True)
    life.go(stop_after=stop_after)
    life.go()
    life.end()
    assert cluster.notes() == ["0 base", "1 kept"]
    assert cluster.beside() == set()
