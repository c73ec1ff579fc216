"""Connections that break: at the COMMIT, which the server settles, and in the middle."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runbook.operation import (
    Connection,
    Sql,
    Transaction,
)
from runbook.transports.outcome import Failed, Lost, Outcome
from runbook.transports.world import World
from tests.fixtures.patience import eventually
from tests.fixtures.postgres import FreshDatabases, PostgresServer
from tests.transports.breaking import CuttingProxy, killed_at_work
from tests.transports.conftest import Uses, fields_of, problem_of, statements

Connect = Callable[..., Connection]


def test_a_lost_answer_to_commit_is_settled_by_the_server_itself(
    proxy: tuple[CuttingProxy, bool],
    world: World,
    uses: Uses,
    connect_to: Connect,
    fresh_database: FreshDatabases,
    postgres_server: PostgresServer,
) -> None:
    cutting, delivered = proxy
    database = fresh_database("CREATE TABLE t (id int)")
    connection = connect_to(database, port=cutting.port)
    operation = Sql(name="q", connection=connection, statements=statements("INSERT INTO t VALUES (1) RETURNING id"))
    outcome = world.perform(operation, uses(application="runbook/r-1/cut"))
    assert cutting.cuts == 1
    count = postgres_server.sql("SELECT count(*) FROM t", database)
    if delivered:
        assert fields_of(outcome)["id"] == 1
        assert count == [(1,)]
    else:
        assert isinstance(outcome, Failed)
        assert "was rolled back" in problem_of(outcome)
        assert count == [(0,)]
    left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'runbook/r-1/cut'"
    eventually(lambda: postgres_server.sql(left) == [(0,)])  # it was told to end, and takes as long as it takes


@pytest.mark.parametrize(
    ("transaction", "reads", "kind"),
    [
        (Transaction.ONE, False, Failed),
        (Transaction.AUTOCOMMIT, False, Lost),
        (Transaction.AUTOCOMMIT, True, Failed),
    ],
)
def test_a_connection_that_breaks_in_the_middle(
    transaction: Transaction,
    reads: bool,
    kind: type[Outcome],
    world: World,
    uses: Uses,
    connect_to: Connect,
    postgres_server: PostgresServer,
) -> None:
    text = statements("SELECT pg_sleep(600)")
    operation = Sql(name="q", connection=connect_to(), statements=text, transaction=transaction, reads=reads)
    with killed_at_work(postgres_server, "runbook/r-1/broken"):
        outcome = world.perform(operation, uses(application="runbook/r-1/broken"))
    assert isinstance(outcome, kind)
