"""Sessions: one connection held open round a body of operations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runbook.errors import Bug
from runbook.operation import (
    Connection,
    MakeDirectory,
    Process,
    Ref,
    Session,
    Sql,
)
from runbook.transports.outcome import Failed, Succeeded
from runbook.transports.world import World
from tests.fixtures.patience import eventually
from tests.fixtures.postgres import FreshDatabases, PostgresServer
from tests.transports.conftest import Uses, statements

Connect = Callable[..., Connection]


def test_a_session_holds_its_connection_round_its_body(
    world: World, uses: Uses, connect_to: Connect, fresh_database: FreshDatabases, tmp_path: Path
) -> None:
    database = fresh_database("CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)")
    connection = connect_to(database)
    count = Sql(
        name="count",
        connection=connection,
        statements=statements("SELECT count(*) AS n FROM t"),
        session="snap",
        reads=True,
    )
    session = Session(
        name="snap",
        connection=connection,
        begin=statements("BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT pg_export_snapshot() AS id"),
        body=(
            Sql(name="more", connection=connection, statements=statements("INSERT INTO t VALUES (2)")),
            count,
            Process(name="show", argv=("echo", Ref("snap", "id"), Ref("count", "n")), reads=True),
            MakeDirectory(name="folder", path=str(tmp_path / "made")),
        ),
        end=statements("COMMIT"),
    )
    outcome = world.perform(session, uses())
    assert isinstance(outcome, Succeeded)
    assert outcome.inner["count"]["n"] == 1  # the snapshot was taken before the second row
    assert outcome.inner["show"]["stdout"] == f"{outcome.fields['id']} 1\n"
    assert (tmp_path / "made").is_dir()
    assert [note["inside"] for note in uses.notes] == ["more"]


def test_a_session_whose_body_fails_fails_and_lets_go(
    world: World, uses: Uses, connect_to: Connect, postgres_server: PostgresServer
) -> None:
    session = Session(
        name="lock",
        connection=connect_to(),
        begin=statements("SELECT pg_advisory_lock(4711)"),
        body=(Process(name="no", argv=("false",)),),
    )
    outcome = world.perform(session, uses())
    assert isinstance(outcome, Failed)
    # the connection is closed; the server notices in its own time
    eventually(lambda: postgres_server.sql("SELECT pg_try_advisory_lock(4711)") == [(True,)])


def test_a_statement_of_a_session_cannot_run_outside_it(world: World, uses: Uses, connect_to: Connect) -> None:
    with pytest.raises(Bug):
        world.perform(Sql(name="q", connection=connect_to(), statements=statements("SELECT 1"), session="s"), uses())
