"""A copy beside a cluster that has a schedule: its jobs would be done a second time."""

from __future__ import annotations

import time

import psycopg
import pytest

from runbook.system import Store
from tests.actions.harness import Stage
from tests.actions.postgres.archived import Cluster, side_copy
from tests.fixtures.patience import eventually

SCHEDULER = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_cron launcher'"


@pytest.mark.pg_cron
def test_a_side_copy_does_no_jobs_of_a_schedule(stage: Stage, cluster: Cluster, backups: Store) -> None:
    run = cluster.server.sql
    run("ALTER SYSTEM SET shared_preload_libraries = '$libdir/pg_stat_statements', '$libdir/pg_cron', 'auto_explain'")
    cluster.server.restart()
    run("ALTER SYSTEM SET cron.use_background_workers = 'on'")
    run("CREATE EXTENSION pg_cron")
    run("SELECT cron.schedule('@reboot', $$INSERT INTO notes VALUES ('0 of a job')$$)")
    cluster.server.restart()
    eventually(lambda: "0 of a job" in cluster.notes())
    run("DELETE FROM notes WHERE word LIKE '0%'")
    step, side = side_copy(stage, cluster, backups)
    with psycopg.connect(side, autocommit=True) as copy:
        time.sleep(3.0)  # with its scheduler, it would have done the job within one
        assert copy.execute("SELECT word FROM notes ORDER BY 1").fetchall() == [("1 kept",)]
        assert copy.execute("SELECT count(*) FROM cron.job").fetchall() == [(1,)], "what was scheduled is there"
        assert copy.execute(SCHEDULER).fetchall() == [(0,)]
        assert copy.execute("SHOW shared_preload_libraries").fetchall() == [
            ("$libdir/pg_stat_statements,auto_explain",)
        ]
    assert run(SCHEDULER) == [(1,)]
    step.undo()
