"""A copy of a subscriber beside it: it may not fetch from the publisher what the live one has not received yet."""

from __future__ import annotations

import psycopg

from runbook.system import Store
from tests.actions.harness import Stage
from tests.actions.postgres.archived import Cluster, side_copy
from tests.fixtures.patience import eventually


def test_a_side_copy_leaves_the_slot_of_the_live_subscription_alone(
    stage: Stage, cluster: Cluster, backups: Store
) -> None:
    run = cluster.server.sql
    run("ALTER SYSTEM SET wal_level = 'logical'")
    cluster.server.restart()
    run("CREATE PUBLICATION told FOR TABLE notes")
    run("SELECT pg_create_logical_replication_slot('told', 'pgoutput')")
    run("CREATE DATABASE other")
    run("CREATE TABLE notes (word text)", "other")
    to = f"host={cluster.server.socket_dir} port={cluster.server.port} user={cluster.server.user} dbname=postgres"
    run(f"CREATE SUBSCRIPTION told CONNECTION '{to}' PUBLICATION told WITH (create_slot = false)", "other")
    eventually(lambda: run("SELECT active FROM pg_replication_slots") == [(True,)])
    step, side = side_copy(stage, cluster, backups)
    launched = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'logical replication launcher'"
    with psycopg.connect(side) as copy:
        assert copy.execute("SHOW max_logical_replication_workers").fetchall() == [("0",)]
        assert copy.execute(launched).fetchall() == [(0,)], "nobody there could start a worker"
        assert copy.execute("SELECT count(*) FROM pg_subscription WHERE subenabled").fetchall() == [(1,)]
    cluster.commit("3 for the live one")
    eventually(lambda: run("SELECT count(*) FROM notes WHERE word ~ '^3'", "other") == [(1,)])
    step.undo()
    run("ALTER SUBSCRIPTION told DISABLE", "other")
    run("ALTER SUBSCRIPTION told SET (slot_name = NONE)", "other")
    run("DROP SUBSCRIPTION told", "other")
