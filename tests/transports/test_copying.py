"""Rows from one database into a transaction of another: whole, hashed, or not at all."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable

import pytest

from runbook.errors import Bug
from runbook.operation import Connection, CopyRows, Name, Session, Sql, Transaction, sql
from runbook.paste import paste
from runbook.transports.outcome import Begun, Failed, Lost, Succeeded, Unsettled
from runbook.transports.world import World
from tests.fixtures.patience import eventually, meanwhile
from tests.fixtures.postgres import FreshDatabases, PostgresServer
from tests.transports.breaking import CuttingProxy, at_work, killed_at_work
from tests.transports.conftest import Uses, problem_of, statements

Connect = Callable[..., Connection]
ODD = "E'tab\\t line\\n back\\\\ é'"


@pytest.fixture
def databases(fresh_database: FreshDatabases) -> tuple[str, str]:
    """A source with 500 rows, one of them odd and one null, and a live database with an empty table."""
    source = fresh_database(
        "CREATE TABLE t (id int PRIMARY KEY, name text)",
        f"INSERT INTO t SELECT i, CASE i WHEN 1 THEN {ODD} WHEN 2 THEN NULL ELSE 'n' || i END FROM generate_series(1, 500) i",
    )
    return source, fresh_database("CREATE TABLE t (id int PRIMARY KEY, name text)")


def copy(source: Connection, live: Connection, query: str = "SELECT id, name FROM t ORDER BY id") -> CopyRows:
    return CopyRows(
        name="copy",
        source=source,
        query=sql(query),
        connection=live,
        session="merge",
        table=Name("t"),
        columns=(Name("id"), Name("name")),
        before=statements("BEGIN READ ONLY"),
    )


def merge(copied: CopyRows, live: Connection, *more: Sql) -> Session:
    return Session(
        name="merge", connection=live, begin=statements("BEGIN"), body=(copied, *more), end=statements("COMMIT")
    )


def test_rows_arrive_as_they_were_and_are_counted_and_hashed(
    world: World, uses: Uses, connect_to: Connect, databases: tuple[str, str], postgres_server: PostgresServer
) -> None:
    source, live = (connect_to(name) for name in databases)
    outcome = world.perform(merge(copy(source, live), live), uses())
    assert isinstance(outcome, Succeeded), outcome
    text = "\n".join([r"1" + "\t" + r"tab\t line\n back\\ é", "2\t\\N", *(f"{i}\tn{i}" for i in range(3, 501)), ""])
    assert outcome.inner["copy"] == {"rows": 500, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    sum_of = "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t"
    assert postgres_server.sql(sum_of, databases[0]) == postgres_server.sql(sum_of, databases[1])
    (note,) = uses.notes
    assert postgres_server.sql(f"SELECT pg_xact_status('{note['transaction']}'::xid8)") == [("committed",)]


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_side_that_fails_ends_both_and_leaves_nothing(
    side: str,
    world: World,
    uses: Uses,
    connect_to: Connect,
    databases: tuple[str, str],
    postgres_server: PostgresServer,
) -> None:
    source, live = (connect_to(name) for name in databases)
    query = "SELECT id, 1/(id - 400) || '' FROM t ORDER BY id" if side == "source" else "SELECT 1, name FROM t"
    outcome = world.perform(merge(copy(source, live, query), live), uses())
    assert isinstance(outcome, Failed)
    assert ("division by zero" if side == "source" else "duplicate key") in problem_of(outcome)
    assert postgres_server.sql("SELECT count(*) FROM t", databases[1]) == [(0,)]
    assert uses.notes == []


@pytest.mark.parametrize("side", [0, 1], ids=["source", "session"])
def test_a_connection_that_breaks_on_either_side_is_a_definite_failure(
    side: int,
    world: World,
    uses: Uses,
    connect_to: Connect,
    databases: tuple[str, str],
    postgres_server: PostgresServer,
) -> None:
    source, live = (connect_to(name) for name in databases)
    # rows come on and on, so that a session that is gone is met by the next of them
    slow = copy(source, live, "SELECT id, repeat('x', 9000) || pg_sleep(0.01)::text FROM generate_series(1, 60000) id")

    def end() -> None:
        postgres_server.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE application_name = 'runbook/r-1/broken' AND datname = '{databases[side]}'"
        )

    with meanwhile(at_work(postgres_server, "runbook/r-1/broken", backends=2), end):
        outcome = world.perform(merge(slow, live), uses(application="runbook/r-1/broken"))
    assert isinstance(outcome, Failed), outcome
    assert "Nothing was committed" in problem_of(outcome) or "terminat" in problem_of(outcome)
    assert postgres_server.sql("SELECT count(*) FROM t", databases[1]) == [(0,)]


def test_a_stop_and_a_deadline_end_both_sides(
    world: World, uses: Uses, connect_to: Connect, databases: tuple[str, str], postgres_server: PostgresServer
) -> None:
    source, live = (connect_to(name) for name in databases)
    slow = merge(copy(source, live, "SELECT id, pg_sleep(1)::text FROM t"), live)
    copies = at_work(postgres_server, "runbook/r-1/stop", backends=2)
    with meanwhile(copies, lambda: world.stop("step/1/1/op", 1.0)):
        outcome = world.perform(slow, uses(application="runbook/r-1/stop"))
    assert isinstance(outcome, Failed), outcome
    assert "it was stopped" in problem_of(outcome)
    left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'runbook/r-1/stop'"
    eventually(lambda: postgres_server.sql(left) == [(0,)])


def test_the_pasted_line_is_two_clients_with_a_pipe(
    connect_to: Connect, databases: tuple[str, str], postgres_server: PostgresServer
) -> None:
    source, live = (connect_to(name) for name in databases)
    line = paste(copy(source, live))
    assert line.endswith("# the latter in session merge")
    subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], check=True, env=postgres_server.environment())
    sum_of = "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t"
    assert postgres_server.sql(sum_of, databases[0]) == postgres_server.sql(sum_of, databases[1])


def test_it_needs_a_transaction_of_a_session(
    world: World, uses: Uses, connect_to: Connect, databases: tuple[str, str]
) -> None:
    source, live = (connect_to(name) for name in databases)
    with pytest.raises(Bug):
        world.perform(copy(source, live), uses())
    bare = Session(name="merge", connection=live, begin=statements("SELECT 1"), body=(copy(source, live),))
    with pytest.raises(Bug):
        world.perform(bare, uses())


def test_a_sessions_lost_commit_is_settled_by_the_server(
    proxy: tuple[CuttingProxy, bool],
    world: World,
    uses: Uses,
    connect_to: Connect,
    databases: tuple[str, str],
    postgres_server: PostgresServer,
) -> None:
    cutting, delivered = proxy
    source, live = connect_to(databases[0]), connect_to(databases[1], port=cutting.port)
    outcome = world.perform(merge(copy(source, live), live), uses(application="runbook/r-1/cut"))
    assert cutting.cuts == 1
    assert isinstance(outcome, Succeeded if delivered else Failed), outcome
    assert postgres_server.sql("SELECT count(*) FROM t", databases[1]) == [(500 if delivered else 0,)]


def test_the_fence_settles_a_session_by_the_transaction_that_it_noted(
    world: World, uses: Uses, connect_to: Connect, databases: tuple[str, str], postgres_server: PostgresServer
) -> None:
    source, live = (connect_to(name) for name in databases)
    session = merge(copy(source, live), live)
    assert isinstance(done := world.perform(session, uses()), Succeeded)
    assert world.fence(Begun("step/1/1/op", session, tuple(uses.notes)), uses()) == done
    assert isinstance(world.fence(Begun("step/1/1/op", session, ()), uses()), Unsettled)
    with postgres_server.connect(databases[1]) as other:
        other.execute("BEGIN")
        row = other.execute("SELECT pg_current_xact_id()::text").fetchone()
        other.execute("ROLLBACK")
    assert row is not None
    aborted = ({**uses.notes[0], "transaction": str(row[0])},)
    assert isinstance(world.fence(Begun("step/1/1/op", session, aborted), uses()), Unsettled)


def test_a_session_that_only_reads_notes_nothing(
    world: World, uses: Uses, connect_to: Connect, databases: tuple[str, str]
) -> None:
    live = connect_to(databases[1])
    body = (Sql(name="n", connection=live, statements=statements("SELECT 1"), session="merge", reads=True),)
    session = Session(name="merge", connection=live, begin=statements("BEGIN"), body=body, end=statements("COMMIT"))
    assert isinstance(world.perform(session, uses()), Succeeded)
    assert uses.notes == []


def test_the_fence_ends_what_reads_from_the_source(
    world: World, uses: Uses, connect_to: Connect, databases: tuple[str, str], postgres_server: PostgresServer
) -> None:
    """An engine that died leaves its backends on both sides for a while."""
    source, live = (connect_to(name) for name in databases)
    left = postgres_server.connect(databases[0])
    left.execute("SET application_name = 'runbook/r-1/left'")
    fenced = world.fence(Begun("step/1/1/op", merge(copy(source, live), live)), uses(application="runbook/r-1/left"))
    assert isinstance(fenced, Unsettled)
    gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'runbook/r-1/left'"
    assert postgres_server.sql(gone) == [(0,)]
    left.close()


def test_a_transaction_whose_connection_breaks_before_its_commit_is_a_definite_failure(
    world: World, uses: Uses, connect_to: Connect, databases: tuple[str, str], postgres_server: PostgresServer
) -> None:
    live = connect_to(databases[1])
    slow = statements("INSERT INTO t VALUES (1)", "SELECT pg_sleep(600)")
    for begin, wanted in ((("BEGIN",), Failed), (("SELECT 1",), Lost)):
        alone = Transaction.AUTOCOMMIT
        body = (Sql(name="put", connection=live, statements=slow, transaction=alone, session="merge"),)
        session = Session(name="merge", connection=live, begin=statements(*begin), body=body)
        with killed_at_work(postgres_server, "runbook/r-1/broken"):
            outcome = world.perform(session, uses(application="runbook/r-1/broken"))
        assert isinstance(outcome, wanted)
    begun = Session(name="merge", connection=live, begin=statements("BEGIN", "SELECT pg_sleep(600)"), body=())
    with killed_at_work(postgres_server, "runbook/r-1/broken"):
        outcome = world.perform(begun, uses(application="runbook/r-1/broken"))
    assert isinstance(outcome, Failed)
    assert "Nothing was committed" in problem_of(outcome)
