"""Queries, assertions and a new password, on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runbook.action import CheckFailed, Undecidable
from runbook.actions.postgres.assertion import Assert
from runbook.actions.postgres.query import Query
from runbook.actions.postgres.rotate_password import RotatePassword
from runbook.system import Postgres
from tests.actions.harness import Stage, StepFailed
from tests.actions.systems import in_file
from tests.fixtures.postgres import PostgresServer

OLD = "the old password"


@pytest.mark.parametrize(
    ("query", "bound"),
    [
        ("SELECT count(*) FROM users", {"at_least": 200, "at_most": 200}),
        ("SELECT sum(id) FROM users;", {"equals": 20100}),
        ("SELECT avg(id) FROM users", {"at_least": 100.5, "equals": 100.5}),
        ("SELECT count(*) > 1 FROM users", {"equals": True}),
        ("SELECT name FROM users WHERE id = 7 -- the seventh", {"contains": "user", "differs": "user 8"}),
        ("SELECT '{a}'::text[]", {"equals": "{a}"}),
        ("WITH u AS (SELECT 2 AS n) SELECT n FROM u", {"one_of": [1, 2]}),
    ],
)
def test_what_holds(stage: Stage, db: Postgres, query: str, bound: dict[str, object]) -> None:
    found = stage.live(Assert(), db, checks=[{"query": query, **bound}])
    assert len(found.values) == 1


@pytest.mark.parametrize(
    ("query", "bound"),
    [
        ("SELECT count(*) FROM users", {"at_least": 201}),
        ("SELECT count(*) FROM users WHERE false", {"at_least": 1}),
        ("SELECT max(id) FROM users WHERE false", {"at_least": 0}),
        ("SELECT name FROM users", {"contains": "user"}),
        ("SELECT id, name FROM users LIMIT 1", {"at_least": 1}),
        ("SELECT count(*) FROM absent", {"at_least": 0}),
        ("SELECT 1) FROM users; DROP TABLE users; SELECT (1", {"at_least": 0}),
    ],
)
def test_what_does_not_hold(stage: Stage, db: Postgres, query: str, bound: dict[str, object]) -> None:
    with pytest.raises(StepFailed):
        stage.live(Assert(), db, checks=[{"query": query, **bound}])
    assert stage.live(Query(), db, query="SELECT count(*) AS n FROM users").row == {"n": 200}


def test_rows_are_outputs(stage: Stage, db: Postgres) -> None:
    found = stage.live(
        Query(), db, query="SELECT id, name, id > 1 AS more, NULL AS nothing FROM users ORDER BY id LIMIT 2"
    )
    assert found.row == {"id": 1, "name": "user 1", "more": False, "nothing": None}
    assert (found.row_count, found.rows[1]["name"]) == (2, "user 2")
    assert stage.live(Query(), db, query="SELECT 1 WHERE '{}' = '{x}'").row == {}


def test_a_query_can_not_write(stage: Stage, db: Postgres) -> None:
    with pytest.raises(StepFailed, match="read-only"):
        stage.live(Query(), db, query="DELETE FROM users RETURNING id")


@pytest.fixture
def app(stage: Stage, db: Postgres, postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Postgres]:
    """The application's own role on the same cluster, as a system."""
    role = f"{db.database}_app"
    secret = in_file(tmp_path / "app.password", OLD)
    postgres_server.sql(f"CREATE ROLE {role} LOGIN PASSWORD '{OLD}'")
    system = db.model_copy(update={"user": role, "password": secret, "key": "app"})
    stage.systems = {**stage.systems, "app": system}
    yield system
    postgres_server.sql(f"DROP ROLE {role}")


def rotate(stage: Stage, db: Postgres, app: Postgres, **more: Any) -> object:
    return stage.live(RotatePassword(), db, stage.scope("rotate"), role=app.user, escrow="app.password", **more)


def accepted(server: PostgresServer, user: str, password: str) -> bool:
    try:
        psycopg.connect(host=server.host, port=server.port, user=user, password=password, dbname="postgres").close()
    except psycopg.OperationalError:
        return False
    return True


def test_the_new_password_works_and_the_old_one_does_not(
    stage: Stage, db: Postgres, app: Postgres, postgres_server: PostgresServer
) -> None:
    found = rotate(stage, db, app)
    path = stage.directory / "escrow" / "app.password"
    new = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert accepted(postgres_server, app.user, new)
    assert not accepted(postgres_server, app.user, OLD)
    assert new not in repr(found) and new not in repr(stage.notes)
    assert stage.planned(RotatePassword(), db, stage.scope("rotate"), role=app.user, escrow="app.password") == ()


@pytest.mark.parametrize("stop_after", ["mint", "set"])
def test_stopped_and_resumed(
    stage: Stage, db: Postgres, app: Postgres, postgres_server: PostgresServer, stop_after: str
) -> None:
    assert rotate(stage, db, app, stop_after=stop_after) is None
    assert accepted(postgres_server, app.user, OLD) == (stop_after == "mint")
    minted = (stage.directory / "escrow" / "app.password").read_text()
    rotate(stage, db, app)
    assert (stage.directory / "escrow" / "app.password").read_text() == minted
    assert accepted(postgres_server, app.user, minted)
    assert not accepted(postgres_server, app.user, OLD)


def test_where_somebody_else_changed_it_a_person_decides(
    stage: Stage, db: Postgres, app: Postgres, postgres_server: PostgresServer
) -> None:
    rotate(stage, db, app, stop_after="mint")
    postgres_server.sql(f"ALTER ROLE {app.user} PASSWORD 'another'")
    with pytest.raises(Undecidable, match="can't be told"):
        rotate(stage, db, app)


def test_a_password_that_was_not_set_fails_the_step(stage: Stage, db: Postgres, app: Postgres) -> None:
    rotate(stage, db, app, stop_after="mint")
    from runbook.action import Done
    from runbook.actions.postgres.rotate_password import RotatePasswordFacts, RotatePasswordInputs

    done = Done(RotatePasswordFacts(None, None, None), {})
    inputs = RotatePasswordInputs(role=app.user, escrow="app.password")
    with pytest.raises(CheckFailed, match="not rotated"):
        RotatePassword().verify(stage.look, db, inputs, done)
