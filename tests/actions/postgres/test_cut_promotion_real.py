"""A promotion that was cut off between two of the server's own steps, on real clusters: what was discarded may not come back.

At the end of recovery the server first removes ``recovery.signal``, then writes the new timeline's history, then its end of
recovery (src/backend/access/transam/xlog.c, StartupXLOG). Power that fails in between leaves a directory that looks promoted and,
started again, replays all the WAL that it has, past the target.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from runbook.artifact import Artifact
from tests.actions.harness import Stage
from tests.actions.postgres.archived import Cluster, life
from tests.fixtures.patience import eventually
from tests.fixtures.process import lives, works_in

HISTORY = "1\t{lsn}\tbefore 2026-02-14 12:00:00+00\n"


@pytest.mark.slow
@pytest.mark.parametrize("history", ["written", "not yet"])
def test_a_promotion_that_was_cut_off_is_not_taken_for_one(
    stage: Stage,
    cluster: Cluster,
    base: Artifact,
    history: str,
) -> None:
    target = cluster.commit("1 kept")
    cluster.commit("2 accident")
    step = life(stage, cluster, base, target)
    names = [one.name for one in step.plan()]
    step.go(stop_after=names.index("proof") + 1)
    side = next(path for path in cluster.data.parent.iterdir() if path.name.startswith("data.rb_"))
    _power_fails(side)
    (side / "recovery.signal").unlink()
    if history == "written":
        (side / "pg_wal/00000002.history").write_text(HISTORY.format(lsn="0/4000000"))
        (side / "pg_wal/00000002.history").chmod(0o600)
        shutil.chown(side / "pg_wal/00000002.history", side.stat().st_uid, side.stat().st_gid)
    step.go()
    step.end()
    assert cluster.notes() == ["0 base", "1 kept"]


def _power_fails(side: Path) -> None:
    pid = int((side / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    eventually(lambda: not lives(pid) and not works_in(side))
