"""What goes back with a cluster, told before it is confirmed."""

from __future__ import annotations

from collections.abc import Callable

from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.actions.postgres.whole_cluster import MOST_NAMED, with_all
from runbook.system import Postgres
from tests.actions.harness import Stage
from tests.fixtures.postgres import FreshDatabases, PostgresServer


def test_the_other_databases_are_named(stage: Stage, db: Postgres, fresh_database: FreshDatabases) -> None:
    others = [fresh_database() for _ in range(2)]
    said = with_all(stage.look, db, stage.scope("restore"))
    assert said.startswith(f"The whole cluster goes back, not {db.database} alone. Also: ")
    assert all(name in said for name in others) or " and " in said
    assert "template" not in said and "postgres," not in said
    assert RestoreToTime().along(stage.look, db, None, stage.scope("restore")) == said  # type: ignore[arg-type]


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
