"""What a recovery to a moment takes back besides the data: configuration that lies in the data directory, and it says so."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from runbook.actions.postgres.basebackup import Basebackup
from runbook.artifact import Artifact
from runbook.system import Store
from tests.actions.harness import Stage
from tests.actions.postgres.archived import Cluster, life, with_tools


def test_files_that_went_back_are_named_and_the_line_shows_the_difference(
    stage: Stage, cluster: Cluster, base: Artifact
) -> None:
    access = cluster.data / "pg_hba.conf"
    new = "host all all 10.9.8.7/32 scram-sha-256\n"
    access.write_text(access.read_text() + new)
    cluster.server.sql("ALTER SYSTEM SET work_mem = '77MB'")
    cluster.server.sql("CREATE UNLOGGED TABLE sessions AS SELECT 1 AS id")
    target = cluster.commit("1 kept")
    cluster.commit("2 accident")
    step = life(stage, cluster, base, target)
    step.go()
    out = step.end()
    assert f"{out.kept_as}: pg_hba.conf, postgresql.auto.conf. Look" in out.advice
    assert "base backup now" in out.advice
    line = shlex.split(out.advice.partition("(`")[2].partition("`)")[0])
    assert new in subprocess.run(line, capture_output=True, text=True, check=False).stdout
    assert new not in access.read_text()
    assert new in (Path(out.kept_as) / "pg_hba.conf").read_text()
    assert cluster.server.sql("SELECT count(*) FROM sessions") == [(0,)], "there, and empty, as the plan says"
    step.undo()
    assert cluster.server.sql("SHOW work_mem") == [("77MB",)]


def test_nothing_is_said_where_nothing_differs(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    target = cluster.commit("1 kept")
    cluster.commit("2 accident")
    step = life(stage, cluster, base, target)
    step.go()
    assert step.end().advice.startswith("Take a new base backup")


def test_commits_that_would_wait_for_a_standby_are_told(stage: Stage, cluster: Cluster, backups: Store) -> None:
    """The standbys of before have another past now: none of them comes back by itself."""
    run = cluster.server.sql
    run(f"ALTER ROLE {cluster.server.user} SET synchronous_commit TO local")
    cluster.server.set("synchronous_standby_names", "second")
    base = stage.live(Basebackup(), with_tools(cluster), stage.scope("base"), to=backups).artifact
    target = cluster.commit("1 kept")
    cluster.commit("2 accident")
    step = life(stage, cluster, base, target)
    step.go()
    assert step.end().advice.startswith("Every commit waits for second (synchronous_standby_names)")
