"""Base backups and recovery to a moment, on real clusters: exact between two commits, stopped anywhere and resumed."""

from __future__ import annotations

import os
import shutil
import signal
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from runbook.actions.postgres.basebackup import Basebackup
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.artifact import Artifact, Format
from runbook.errors import Refused
from runbook.system import Postgres, Store
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.archived import Cluster, life, with_tools
from tests.actions.postgres.life import Life
from tests.fixtures.patience import eventually
from tests.fixtures.process import works_in


def test_a_base_backup_is_whole_and_made_once(stage: Stage, cluster: Cluster, base: Artifact, backups: Store) -> None:
    manifest = base.manifest
    assert manifest is not None
    assert base.format is Format.BASE_BACKUP
    assert (manifest.timeline, manifest.server_version // 10_000) == (
        1,
        int(cluster.data.joinpath("PG_VERSION").read_text()),
    )
    assert manifest.wal_start < manifest.wal_stop
    assert manifest.started_at < manifest.finished_at
    names = {path.name for path in Path(backups.directory).iterdir()}
    assert names == {base.name, f"{base.name}.manifest.json"}
    scope = stage.scope("base")
    assert stage.planned(Basebackup(), with_tools(cluster), scope, to=backups) == ()


@pytest.mark.parametrize("stop_after", ["began", "copy", "look_at_end", "draft", "publish_data"])
def test_a_base_backup_stopped_anywhere(stage: Stage, cluster: Cluster, backups: Store, stop_after: str) -> None:
    scope, db = stage.scope("base"), with_tools(cluster)
    assert stage.live(Basebackup(), db, scope, stop_after=stop_after, to=backups, compress="none") is None
    made = stage.live(Basebackup(), db, scope, to=backups, compress="none").artifact
    names = {path.name for path in Path(backups.directory).iterdir()}
    assert names == {made.name, f"{made.name}.manifest.json"}


def test_a_cluster_that_does_not_archive_is_refused(
    stage: Stage, db: Postgres, backups: Store, cluster: Cluster
) -> None:
    with pytest.raises(Refused, match="does not archive"):
        stage.live(Basebackup(), db, to=backups)
    cluster.server.set("archive_command", "false")
    cluster.server.sql("SELECT pg_switch_wal()")
    eventually(lambda: cluster.server.sql("SELECT failed_count > 0 FROM pg_stat_archiver") == [(True,)])
    with pytest.raises(Refused, match="archiving fails"):
        stage.live(Basebackup(), with_tools(cluster), to=backups)


def test_exactly_between_two_commits(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    cluster.commit("1 kept")
    target = cluster.commit("2 kept too")
    cluster.commit("3 accident")
    before = cluster.data.stat().st_ino
    step = life(stage, cluster, base, target)
    performed = step.go()
    out = step.end()
    assert cluster.notes() == ["0 base", "1 kept", "2 kept too"]
    assert performed.index("proof") < performed.index("promote") < performed.index("stop_live")
    assert performed[-6:] == ["stop_live", "archive_history", "set_aside", "into_place", "start_live", "clean"]
    assert Path(out.kept_as).stat().st_ino == before
    assert cluster.beside() == {Path(out.kept_as).name}
    assert out.timeline == 2
    assert (cluster.archive / "00000002.history").exists()
    assert out.last_transaction
    assert not (cluster.data / "recovery.signal").exists()
    assert cluster.server.sql("SHOW archive_mode") == [("on",)]
    assert cluster.server.sql("SELECT pg_is_in_recovery()") == [(False,)]

    # What comes later is found along the new timeline, and what was discarded stays away.
    later = cluster.commit("4 afterwards")
    cluster.commit("5 too late")
    again = Life(stage, RestoreToTime(), cluster.db, stage.scope("again"), {"artifact": base, "target": later})
    again.go()
    assert again.end().timeline == 3
    assert cluster.notes() == ["0 base", "1 kept", "2 kept too", "4 afterwards"]


def test_undo_puts_the_former_directory_back(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    target = cluster.commit("1 kept")
    cluster.commit("2 accident")
    before = cluster.data.stat().st_ino
    step = life(stage, cluster, base, target)
    step.go()
    step.end()
    assert step.undo() == ["stop_live", "out_of_place", "put_back", "start_live"]
    assert cluster.data.stat().st_ino == before
    assert cluster.notes() == ["0 base", "1 kept", "2 accident"]


OPERATIONS = 22


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", range(OPERATIONS))
def test_stopped_anywhere_and_resumed(stage: Stage, cluster: Cluster, base: Artifact, stop_after: int) -> None:
    target = cluster.commit("1 kept")
    cluster.commit("2 accident")
    step = life(stage, cluster, base, target)
    first = step.go(stop_after=stop_after)
    second = step.go()
    out = step.end()
    assert cluster.notes() == ["0 base", "1 kept"]
    assert cluster.beside() == {Path(out.kept_as).name}
    if "name_side" in first:
        assert "extract" not in second, "what was unpacked is not unpacked again"
    if "promote" in first:
        assert "start_side" not in second, "a promoted cluster is never recovered again"


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", ["start_side", "recovered", "promote"])
def test_a_killed_side_server_is_started_again_or_left(
    stage: Stage, cluster: Cluster, base: Artifact, stop_after: str
) -> None:
    target = cluster.commit("1 kept")
    cluster.commit("2 accident")
    step = life(stage, cluster, base, target)
    names = [one.name for one in step.plan()]
    step.go(stop_after=names.index(stop_after) + 1)
    side = next(path for path in cluster.data.parent.iterdir() if path.name.startswith("data.rb_"))
    lock = side / "postmaster.pid"
    pid = int(lock.read_text().split()[0])
    kept = lock.read_text()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not works_in(side))
    # The id is another process's by now: our own, which is no reason to wait for it.
    lock.write_text(kept.replace(str(pid), str(os.getpid()), 1))
    second = step.go()
    assert second[0] == "unlock_side"
    step.end()
    assert cluster.notes() == ["0 base", "1 kept"]


def test_side_is_left_running_and_the_live_cluster_untouched(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    target = cluster.commit("1 kept")
    cluster.commit("2 accident")
    step = life(stage, cluster, base, target, mode="side")
    step.go()
    out = step.end()
    assert cluster.notes() == ["0 base", "1 kept", "2 accident"]
    psql = [
        str(cluster.server.tool("psql")),
        *out.connect.split()[4:],
        "-XAtc",
        "SELECT count(*) FROM notes",
        "postgres",
    ]
    assert cluster.server.account.run(psql).strip() == "2"
    assert not (cluster.archive / "00000002.history").exists(), "a side cluster leaves no trace in the archive"
    assert step.undo()[-2:] == ["remove_side", "sweep_run"]
    assert cluster.beside() == set()


def test_what_can_not_be_reached_is_refused(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    assert base.manifest is not None
    with pytest.raises(Refused, match="before the base backup's end") as early:
        life(stage, cluster, base, base.manifest.finished_at - timedelta(seconds=1)).plan()
    assert base.manifest.finished_at.strftime("%H:%M:%S") in str(early.value)
    with pytest.raises(Refused, match="after the last archived"):
        life(stage, cluster, base, datetime.now(base.finished_at.tzinfo) + timedelta(hours=1)).plan()
    target = cluster.commit("1 kept")
    with pytest.raises(Refused, match="not enough space"):
        life(stage, cluster, base, target, space_factor=1e9).plan()
    other = base.manifest.model_copy(update={"system_identifier": "42"})
    with pytest.raises(Refused, match="of another cluster"):
        life(stage, cluster, base.model_copy(update={"manifest": other}), target).plan()
    without = cluster.db.model_copy(update={"archive": ""})
    with pytest.raises(Refused, match="archive is not a directory"):
        Life(stage, RestoreToTime(), without, stage.scope("x"), {"artifact": base, "target": target}).plan()


def test_a_gap_in_the_archive_leaves_the_live_cluster_alone(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    cluster.server.sql("SELECT pg_switch_wal()")
    target = cluster.commit("1 kept")
    step = life(stage, cluster, base, target)
    names = [one.name for one in step.plan()]
    step.go(stop_after=names.index("name_side") + 1)
    segments = sorted(path for path in cluster.archive.iterdir() if len(path.name) == 24)
    for gone in segments[-2:]:
        shutil.move(gone, cluster.data.parent / gone.name)
    with pytest.raises(StepFailed, match="recovery ended before configured recovery target"):
        step.go()
    assert cluster.notes() == ["0 base", "1 kept"]
    for gone in segments[-2:]:
        shutil.move(cluster.data.parent / gone.name, gone)
    assert "extract" not in step.go()
    step.end()
    assert cluster.notes() == ["0 base", "1 kept"]
