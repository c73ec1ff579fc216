"""A cluster whose files came from a machine that sorts otherwise: told by what the catalogs have recorded."""

from __future__ import annotations

import shutil

from runbook.actions.postgres.collations import changed
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.artifact import Artifact
from runbook.system import Postgres
from tests.actions.harness import Stage
from tests.actions.postgres.archived import Cluster, with_tools
from tests.actions.postgres.life import Life
from tests.fixtures.postgres import PostgresServer


def test_a_new_machine_that_sorts_otherwise_is_told(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    run = cluster.server.sql
    run('CREATE DATABASE "Shop"')
    run('CREATE INDEX ON notes (word COLLATE "POSIX")')
    knows = run("SHOW server_version_num")[0][0] >= "150000"  # type: ignore[operator]
    if knows:
        run("UPDATE pg_database SET datcollversion = '2.28' WHERE datname = 'Shop'")
    run("UPDATE pg_collation SET collversion = '2.28' WHERE collname IN ('POSIX', 'ucs_basic')")
    run("SELECT pg_switch_wal()")
    cluster.server.stop()
    shutil.rmtree(cluster.data)
    db = with_tools(cluster).model_copy(update={"data_directory": str(cluster.data), "database": "postgres"})
    step = Life(stage, RestoreToTime(), db, stage.scope("recover"), {"artifact": base, "latest": True, "new": True})
    step.go()
    where = 'databases "Shop"; ' if knows else ""
    assert f'built ({where}collations in postgres: "POSIX"): they may miss rows' in step.end().advice


def test_nothing_is_said_of_what_sorts_as_it_did(stage: Stage, db: Postgres, postgres_server: PostgresServer) -> None:
    assert changed(stage.look, db) == ""
    assert changed(stage.look, db.model_copy(update={"port": 1})) == "", "nor of a server that does not answer"
