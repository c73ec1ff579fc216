"""SQL on a real server: results, bounds, transactions, and a COMMIT whose answer is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runbook.action import CheckFailed, Unreachable
from runbook.operation import (
    Condition,
    Connection,
    Fields,
    Name,
    Ref,
    SetPassword,
    Sql,
    Test,
    Transaction,
    sql,
)
from runbook.quoting import sql_text
from runbook.secret import FromFile
from runbook.transports.outcome import Failed, Succeeded
from runbook.transports.world import World
from tests.fixtures.patience import LONGER_S, PATIENCE_S, eventually, meanwhile
from tests.fixtures.postgres import FreshDatabases, PostgresServer
from tests.transports.breaking import CuttingProxy, at_work
from tests.transports.conftest import Uses, fields_of, problem_of, statements

Connect = Callable[..., Connection]


def test_a_value_that_is_no_utf_8_is_refused(
    world: World, uses: Uses, connect_to: Connect, postgres_server: PostgresServer
) -> None:
    """A shared catalogue has names and comments in the encoding of the database where they were made."""
    postgres_server.sql("CREATE DATABASE of_old ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        postgres_server.sql("COMMENT ON DATABASE of_old IS 'vis-à-vis'", "of_old")
        asked = sql("SELECT description FROM pg_shdescription WHERE description LIKE 'vis%'")
        for what in (
            asked,
            sql("SELECT ARRAY[(SELECT description FROM pg_shdescription WHERE description LIKE 'vis%')]"),
        ):
            outcome = world.perform(Sql(name="q", connection=connect_to(), statements=(what,), reads=True), uses())
            assert isinstance(outcome, Failed)
            assert "no UTF-8 text (byte 0xe0 at" in outcome.problem.detail
        with pytest.raises(CheckFailed, match="no UTF-8 text"):
            world.look.query(connect_to(), asked)
    finally:
        postgres_server.sql("DROP DATABASE of_old")


def test_a_single_row_gives_its_columns_as_json_scalars(world: World, uses: Uses, connect_to: Connect) -> None:
    text = (
        "SELECT 7 AS n, 7.5::numeric AS d, true AS yes, NULL AS nothing, 'ü' AS t, now() AS at, '{{\"a\": 1}}'::jsonb AS j, "
        "ARRAY[1,2] AS list, '\\x00ff'::bytea AS raw, 12345678901234567890::numeric AS big, 'NaN'::float8 AS nan"
    )
    found = fields_of(
        world.perform(Sql(name="q", connection=connect_to(), statements=statements(text), reads=True), uses())
    )
    wanted = {
        "n": 7,
        "d": 7.5,
        "yes": True,
        "nothing": None,
        "t": "ü",
        "j": '{"a": 1}',
        "list": "{1,2}",
        "raw": "\\x00ff",
    }
    assert {key: found[key] for key in wanted} == wanted
    assert found["big"] == 12345678901234567890
    assert found["nan"] == "NaN"
    assert isinstance(found["at"], str)
    assert found["row_count"] == 1
    assert json.loads(str(found["rows"]))[0]["t"] == "ü"


def test_a_bound_beyond_what_a_server_can_count_is_no_hindrance(world: World, uses: Uses, connect_to: Connect) -> None:
    one = Sql(name="q", connection=connect_to(), statements=statements("SELECT 1 AS n"), reads=True)
    assert fields_of(world.perform(one, uses(within_s=40 * 86_400.0)))["n"] == 1


def test_the_last_rows_are_the_result_and_reads_note_nothing(world: World, uses: Uses, connect_to: Connect) -> None:
    both = statements("SELECT 1 AS a UNION SELECT 2 ORDER BY 1", "SET LOCAL work_mem = '1MB'")
    found = fields_of(world.perform(Sql(name="q", connection=connect_to(), statements=both, reads=True), uses()))
    assert (found["rows"], found["row_count"]) == ('[{"a":1},{"a":2}]', 2)
    assert uses.notes == []


def test_a_read_is_held_to_reading(
    world: World, uses: Uses, connect_to: Connect, fresh_database: FreshDatabases
) -> None:
    database = fresh_database()
    operation = Sql(name="q", connection=connect_to(database), statements=statements("CREATE TABLE t ()"), reads=True)
    assert "read-only transaction" in problem_of(world.perform(operation, uses()))


def test_a_transaction_is_all_or_nothing_and_is_noted_before_its_commit(
    world: World, uses: Uses, connect_to: Connect, fresh_database: FreshDatabases, postgres_server: PostgresServer
) -> None:
    database = fresh_database("CREATE TABLE t (id int PRIMARY KEY)")
    connection = connect_to(database)
    twice = statements("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1)")
    outcome = world.perform(Sql(name="q", connection=connection, statements=twice), uses())
    assert isinstance(outcome, Failed)
    assert "23505" in problem_of(outcome)
    assert postgres_server.sql("SELECT count(*) FROM t", database) == [(0,)]
    once = statements("INSERT INTO t VALUES (1) RETURNING id")
    assert fields_of(world.perform(Sql(name="q", connection=connection, statements=once), uses()))["id"] == 1
    (note,) = uses.notes
    assert json.loads(str(note["result"]))["id"] == 1
    status = postgres_server.sql(f"SELECT pg_xact_status('{note['transaction']}'::xid8)", database)
    assert status == [("committed",)]


def test_a_note_that_cannot_be_written_commits_nothing(
    world: World, uses: Uses, connect_to: Connect, fresh_database: FreshDatabases, postgres_server: PostgresServer
) -> None:
    database = fresh_database("CREATE TABLE t (id int)")
    operation = Sql(name="q", connection=connect_to(database), statements=statements("INSERT INTO t VALUES (1)"))

    def full(_: Fields) -> None:
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        world.perform(operation, uses(note=full))
    assert postgres_server.sql("SELECT count(*) FROM t", database) == [(0,)]


def test_an_expectation_that_fails_rolls_back(
    world: World, uses: Uses, connect_to: Connect, fresh_database: FreshDatabases, postgres_server: PostgresServer
) -> None:
    database = fresh_database("CREATE TABLE t (id int)")
    operation = Sql(
        name="q",
        connection=connect_to(database),
        statements=statements("INSERT INTO t VALUES (1)", "SELECT count(*) AS n FROM t"),
        expect=(Condition("n", Test.AT_LEAST, 2),),
    )
    outcome = world.perform(operation, uses())
    assert isinstance(outcome, Failed)
    assert "expected: n is at least 2; found: 1" in problem_of(outcome)
    assert postgres_server.sql("SELECT count(*) FROM t", database) == [(0,)]


def test_a_statement_that_says_what_it_is_for_says_so_when_it_fails(
    world: World, uses: Uses, connect_to: Connect
) -> None:
    expected = (Condition("value", Test.AT_LEAST, 1),)
    statement = sql("SELECT 0 AS value").titled("Users are there")
    operation = Sql(name="q", connection=connect_to(), statements=(statement,), expect=expected, reads=True)
    outcome = world.perform(operation, uses())
    assert isinstance(outcome, Failed)
    assert outcome.problem.detail == "Not so: Users are there\nexpected: value is at least 1; found: 0"


def test_autocommit_runs_what_no_transaction_may(
    world: World, uses: Uses, connect_to: Connect, fresh_database: FreshDatabases, postgres_server: PostgresServer
) -> None:
    first = fresh_database()
    renamed = f"{first}_new"
    operation = Sql(
        name="q",
        connection=connect_to(),
        statements=(sql("CREATE DATABASE {new} TEMPLATE {old}", new=Name(renamed), old=Name(first)),),
        transaction=Transaction.AUTOCOMMIT,
    )
    fields_of(world.perform(operation, uses()))
    assert postgres_server.sql(f"SELECT count(*) FROM pg_database WHERE datname = '{renamed}'") == [(1,)]


@pytest.mark.parametrize("name", ['a"; DROP TABLE t; --', "a'b", "$(id)", "-rf", "a b\u202e", "SELECT"])
def test_hostile_names_are_literal(
    name: str,
    world: World,
    uses: Uses,
    connect_to: Connect,
    fresh_database: FreshDatabases,
    postgres_server: PostgresServer,
) -> None:
    database = fresh_database("CREATE TABLE t (id int)")
    operation = Sql(
        name="q",
        connection=connect_to(database),
        statements=(
            sql("CREATE TABLE {name} (v text)", name=Name(name)),
            sql("INSERT INTO {name} VALUES ({value}) RETURNING v", name=Name(name), value=name),
        ),
    )
    assert fields_of(world.perform(operation, uses()))["v"] == name
    tables = postgres_server.sql("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 2200", database)
    assert sorted(tables) == sorted([(name,), ("t",)])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=50))
def test_any_text_arrives_as_it_is(value: str, postgres_server: PostgresServer) -> None:
    for conforming in ("on", "off"):
        with postgres_server.connect() as connection:
            connection.execute(f"SET standard_conforming_strings = {conforming}")
            assert connection.execute(sql_text(sql("SELECT {v}", v=value))).fetchone() == (value,)


def test_late_values_fill_arguments(world: World, uses: Uses, connect_to: Connect) -> None:
    operation = Sql(
        name="q", connection=connect_to(), statements=(sql("SELECT {v} AS v", v=Ref("before", "x")),), reads=True
    )
    assert fields_of(world.perform(operation, uses(results={"before": {"x": "it's"}})))["v"] == "it's"


def test_what_is_too_large_is_refused_and_not_cut(world: World, uses: Uses, connect_to: Connect) -> None:
    for text in ("SELECT repeat('x', 70000) AS v", "SELECT repeat('x', 1000) FROM generate_series(1, 400)"):
        outcome = world.perform(Sql(name="q", connection=connect_to(), statements=statements(text), reads=True), uses())
        assert isinstance(outcome, Failed)
        assert "too large" in problem_of(outcome)


def test_rows_go_into_a_file_with_their_checksum(world: World, uses: Uses, connect_to: Connect, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    operation = Sql(
        name="q",
        connection=connect_to(),
        statements=statements("SELECT n, 'v' || n AS v FROM generate_series(1, 50000) n"),
        into=str(path),
        reads=True,
    )
    found = fields_of(world.perform(operation, uses()))
    content = path.read_bytes()
    assert found["row_count"] == 50_000
    assert found["sha256"] == sha256(content).hexdigest()
    assert content.splitlines()[41] == b'{"n":42,"v":"v42"}'
    assert not (tmp_path / "rows.jsonl.partial").exists()


def test_a_server_that_cannot_be_reached_is_a_failure_with_a_command_to_try(
    world: World, uses: Uses, connect_to: Connect
) -> None:
    operation = Sql(name="q", connection=connect_to(port=1), statements=statements("DROP TABLE t"))
    outcome = world.perform(operation, uses())
    assert isinstance(outcome, Failed)
    assert "psql 'host=127.0.0.1 port=1" in problem_of(outcome)


def test_a_connection_that_is_cut_as_soon_as_it_is_there_is_a_failure_too(
    world: World, uses: Uses, connect_to: Connect, postgres_server: PostgresServer
) -> None:
    """Nothing was asked yet: what follows a login is a limit on time."""
    proxy = CuttingProxy(postgres_server.port, deliver=False, at=b"SET statement_timeout")
    try:
        operation = Sql(name="q", connection=connect_to(port=proxy.port), statements=statements("DROP TABLE t"))
        outcome = world.perform(operation, uses(within_s=PATIENCE_S))
        assert proxy.cuts == 1
        assert isinstance(outcome, Failed)
        assert f"psql 'host=127.0.0.1 port={proxy.port}" in problem_of(outcome)
        with pytest.raises(Unreachable):
            world.look.query(connect_to(port=proxy.port), sql("SELECT 1"))
    finally:
        proxy.close()


def test_a_deadline_ends_the_statement_on_the_server(
    world: World, uses: Uses, connect_to: Connect, postgres_server: PostgresServer
) -> None:
    operation = Sql(name="q", connection=connect_to(), statements=statements("SELECT pg_sleep(600)"))
    for within_s in LONGER_S:
        outcome = world.perform(operation, uses(within_s=within_s, application="runbook/r-1/slow"))
        assert isinstance(outcome, Failed)  # inside a transaction: nothing was committed
        if "due to statement timeout" in problem_of(outcome):
            break  # else its time was over before it was sent
    assert "due to statement timeout" in problem_of(outcome)
    left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'runbook/r-1/slow'"
    eventually(lambda: postgres_server.sql(left) == [(0,)])


def test_a_stop_cancels_the_statement(
    world: World, uses: Uses, connect_to: Connect, postgres_server: PostgresServer
) -> None:
    operation = Sql(name="q", connection=connect_to(), statements=statements("SELECT pg_sleep(600)"))
    with meanwhile(at_work(postgres_server, "runbook/r-1/stop"), lambda: world.stop("step", PATIENCE_S)):
        outcome = world.perform(operation, uses(application="runbook/r-1/stop"))
    assert "because it was stopped" in problem_of(outcome)


def test_a_password_is_set_by_its_verifier_alone(
    world: World, uses: Uses, connect_to: Connect, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    role = 'a"role'
    postgres_server.sql('CREATE ROLE "a""role" LOGIN')
    secret = tmp_path / "new"
    secret.write_text("pass:w\\ord'🔑-long")
    secret.chmod(0o600)
    operation = SetPassword(name="s", connection=connect_to(), role=role, password=FromFile(str(secret)))
    try:
        assert isinstance(world.perform(operation, uses()), Succeeded)
        ((stored,),) = postgres_server.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'a\"role'")
        assert str(stored).startswith("SCRAM-SHA-256$4096:")
        as_role = connect_to(user=role)
        assert world.look.login(as_role, FromFile(str(secret))) is True
        assert world.look.login(connect_to(user=role), as_role.password) is False
        assert "pass:w" not in json.dumps(uses.notes)
    finally:
        postgres_server.sql('DROP ROLE "a""role"')
