"""What goes back with a cluster, told before it is confirmed."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable

from runbook.actions.postgres.recovery_step import RestoreToTimeInputs
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.actions.postgres.whole_cluster import MOST_NAMED, with_all
from runbook.artifact import Artifact
from runbook.system import Postgres
from tests.actions.backups import artifact, manifest
from tests.actions.harness import Stage
from tests.actions.postgres.archived import Cluster, with_tools
from tests.actions.postgres.life import Life
from tests.fixtures.patience import eventually
from tests.fixtures.postgres import FreshDatabases, PostgresServer


def test_the_other_databases_are_named(stage: Stage, db: Postgres, fresh_database: FreshDatabases) -> None:
    others = [fresh_database() for _ in range(2)]
    said = with_all(stage.look, db, stage.scope("restore"))
    assert said.startswith(f"The whole cluster goes back, not {db.database} alone. Also: ")
    assert all(name in said for name in others) or " and " in said
    assert "template" not in said and "postgres," not in said
    for latest in (False, True):
        inputs = RestoreToTimeInputs.model_construct(artifact=artifact(manifest("c.tar")), latest=latest)
        assert RestoreToTime().along(stage.look, db, inputs, stage.scope("restore")) == said


def test_a_long_list_is_cut_and_counted(stage: Stage, db: Postgres, fresh_database: FreshDatabases) -> None:
    for _ in range(MOST_NAMED + 2):
        fresh_database()
    said = with_all(stage.look, db, stage.scope("restore"))
    assert said.count(",") == MOST_NAMED and said.endswith("more.")


def test_a_lone_database_and_a_server_that_is_down(
    stage: Stage, db: Postgres, postgres_cluster: Callable[..., PostgresServer]
) -> None:
    server = postgres_cluster()
    alone = db.model_copy(update={"port": server.port, "address": str(server.socket_dir), "password": None})
    alone = alone.model_copy(update={"user": server.user, "database": "shop"})
    server.sql("CREATE DATABASE shop")
    scope = stage.scope("restore")
    assert with_all(stage.look, alone, scope) == "The whole cluster goes back; shop is its only database."
    server.stop()
    assert "with every database in it; the server can't be asked" in with_all(stage.look, alone, scope)


def test_what_a_server_that_is_down_had_not_archived_is_left_out_and_said(
    stage: Stage, cluster: Cluster, base: Artifact
) -> None:
    cluster.server.set("archive_command", "false")
    cluster.commit("1 in a closed segment")
    waits = str(cluster.server.sql("SELECT pg_walfile_name(pg_switch_wal())")[0][0])
    cluster.commit("2 in the last segment")
    status = cluster.data / "pg_wal" / "archive_status"
    eventually((status / f"{waits}.ready").exists)
    cluster.server.stop(signal.SIGQUIT)
    down = with_tools(cluster).model_copy(update={"data_directory": str(cluster.data)})
    step = Life(stage, RestoreToTime(), down, stage.scope("recover"), {"artifact": base, "latest": True})
    said = step.action.along(stage.look, down, step.inputs, step.scope)
    assert (
        f"what it had not archived is left out, and stays in {cluster.data}/pg_wal. Whole segments there: {waits}. Copied"
        in said
    )
    found = cluster.data / "pg_wal" / waits
    shutil.copy(found, cluster.archive / waits)  # as it says
    if os.geteuid() == 0:
        os.chown(cluster.archive / waits, found.stat().st_uid, found.stat().st_gid)
    step.go()
    kept = step.end().kept_as
    assert cluster.notes() == ["0 base", "1 in a closed segment"]
    assert any(path.name > waits for path in (cluster.data.parent / kept / "pg_wal").glob("0*")), "nothing is lost"
