"""One recovery after another on real clusters: along the new timeline, back into what was discarded, and what is refused."""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta

import pytest

from runbook.actions.postgres.basebackup import Basebackup
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.artifact import Artifact
from runbook.errors import Refused
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.archived import Cluster, with_tools
from tests.actions.postgres.life import Life
from tests.actions.postgres.test_restore_targets_real import commit, there


def step(stage: Stage, cluster: Cluster, base: Artifact, called: str, **given: object) -> Life:
    return Life(stage, RestoreToTime(), cluster.db, stage.scope(called), {"artifact": base, **given})


def performed(life: Life) -> object:
    life.go()
    return life.end()


def test_a_second_recovery_follows_the_new_timeline_and_a_third_goes_back(
    stage: Stage,
    cluster: Cluster,
    base: Artifact,
) -> None:
    before_fork = cluster.commit("1 kept")
    target = cluster.commit("2 kept")
    cluster.commit("3 discarded")
    discarded = cluster.commit("4 discarded too")
    cluster.commit("5 the accident")
    assert getattr(performed(step(stage, cluster, base, "one", target=target)), "timeline", 0) == 2
    assert cluster.notes() == ["0 base", "1 kept", "2 kept"]
    second = cluster.commit("6 on timeline two")
    cluster.commit("7 discarded from two")

    with pytest.raises(Refused, match="may be in a part that was discarded") as refused:
        step(stage, cluster, base, "no", target=discarded).plan()
    assert "`timeline: 1`" in str(refused.value)
    with pytest.raises(Refused, match="may be in a part that was discarded"):
        step(stage, cluster, base, "no", xid=800).plan()

    # between two commits of the new timeline, from a base backup of the first one
    assert getattr(performed(step(stage, cluster, base, "two", target=second)), "timeline", 0) == 3
    assert cluster.notes() == ["0 base", "1 kept", "2 kept", "6 on timeline two"]
    history = (cluster.archive / "00000003.history").read_text()
    assert [line.split()[0] for line in history.splitlines() if line.strip()] == ["1", "2"]

    # a moment before the fork, along the latest; and what was discarded, by name of its timeline
    kept = step(stage, cluster, base, "early", target=before_fork, mode="side")
    assert there(cluster, performed(kept)) == ["0 base", "1 kept"]
    kept.undo()
    back = performed(step(stage, cluster, base, "back", target=discarded, timeline="1"))
    assert getattr(back, "timeline", 0) == 4
    assert cluster.notes() == ["0 base", "1 kept", "2 kept", "3 discarded", "4 discarded too"]
    assert (cluster.archive / "00000004.history").read_text().split()[0] == "1"
    later = cluster.commit("8 on timeline four")
    cluster.commit("9 too late")
    assert getattr(performed(step(stage, cluster, base, "last", target=later)), "timeline", 0) == 5
    assert cluster.notes()[-1] == "8 on timeline four"


def test_a_base_backup_of_the_new_timeline_does_not_lead_to_what_was_discarded(
    stage: Stage,
    cluster: Cluster,
    base: Artifact,
) -> None:
    target = cluster.commit("1 kept")
    discarded = cluster.commit("2 discarded")
    cluster.commit("3 discarded")
    performed(step(stage, cluster, base, "one", target=target))
    store = stage.systems["backups"]
    made = stage.live(Basebackup(), with_tools(cluster), stage.scope("second"), to=store, name="second.tar").artifact
    assert made.manifest.timeline == 2, "the control file still says 1 for a while after a promotion"
    with pytest.raises(Refused, match="does not lead to that timeline"):
        step(stage, cluster, made, "no", target=discarded + timedelta(days=1), timeline="1").plan()
    later = cluster.commit("4 afterwards")
    cluster.commit("5 too late")
    performed(step(stage, cluster, made, "two", target=later))
    assert cluster.notes() == ["0 base", "1 kept", "4 afterwards"]


def test_a_history_that_the_archive_has_lost_is_missed_by_name(
    stage: Stage,
    cluster: Cluster,
    base: Artifact,
) -> None:
    target = cluster.commit("1 kept")
    cluster.commit("2 discarded")
    performed(step(stage, cluster, base, "one", target=target))
    later = cluster.commit("3 afterwards")
    cluster.commit("4 too late")
    history = cluster.archive / "00000002.history"
    history.rename(cluster.archive / "lost")
    with pytest.raises(Refused, match=r"no 00000002\.history: recovery would follow timeline 1"):
        step(stage, cluster, base, "two", target=later).plan()
    (cluster.archive / "lost").rename(history)
    performed(step(stage, cluster, base, "two", target=later))
    assert cluster.notes() == ["0 base", "1 kept", "3 afterwards"]


def test_a_gap_is_named_before_anything_is_made(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    early = cluster.commit("1 early")
    for word in ("2", "3", "4"):
        cluster.server.sql("SELECT pg_switch_wal()")
        cluster.commit(word)
    _, _, position = commit(cluster, "5")
    cluster.server.sql("SELECT pg_switch_wal()")
    cluster.archived()  # what was archived before the target may hold it no more
    target = cluster.commit("6")
    segments = sorted(path for path in cluster.archive.iterdir() if re.fullmatch("[0-9A-F]{24}", path.name))
    segments[-2].rename(cluster.data.parent / "lost")
    try:
        for given in ({"target": target}, {"latest": True}, {"lsn": position}):
            with pytest.raises(Refused, match="the archive has a gap before the target") as refused:
                step(stage, cluster, base, "recover", **given).plan()
            assert segments[-2].name in str(refused.value)
        life = step(stage, cluster, base, "recover", target=early, mode="side")
        assert there(cluster, performed(life)) == ["0 base", "1 early"], "what lies before the gap can be reached"
        life.undo()
    finally:
        (cluster.data.parent / "lost").unlink()


def test_an_archive_that_the_servers_account_can_not_read_ends_it_at_once(
    stage: Stage,
    cluster: Cluster,
    base: Artifact,
) -> None:
    if cluster.server.account.own:
        pytest.skip("needs root: the files belong to the account that runs this")
    target: datetime = cluster.commit("1 kept")
    cluster.server.sql("SELECT pg_switch_wal()")
    cluster.archived()
    newest = max(path for path in cluster.archive.iterdir() if len(path.name) == 24)
    os.chown(newest, 0, 0)
    newest.chmod(0o600)
    life = step(stage, cluster, base, "recover", target=target)
    with pytest.raises(StepFailed, match=rf"can't read .*{newest.name}"):
        life.go()
    assert cluster.beside() == set()
    newest.chmod(0o644)
    performed(life)
    assert cluster.notes() == ["0 base", "1 kept"]
