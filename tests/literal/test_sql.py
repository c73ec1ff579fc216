"""A value that reaches a server is one identifier or one literal: what it names has that very name, and nothing else is made."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runbook.operation import Connection, CopyRows, Name, Session, Sql, Statement, Transaction, sql
from runbook.paste import paste
from runbook.quoting import LONGEST_NAME
from runbook.transports.world import World
from tests.fixtures.postgres import FreshDatabases, PostgresServer
from tests.literal.hostile import VALUES
from tests.transports.conftest import Uses, connect_to, fields_of, problem_of, redactor, run_directory, uses, world

__all__ = ["connect_to", "redactor", "run_directory", "uses", "world"]

Connect = Callable[..., Connection]
NAMES = sorted({value for value in VALUES.values() if 0 < len(value.encode()) <= LONGEST_NAME})
ROLES = [name for name in NAMES if not name.startswith("pg_")]


def statements(*parts: Statement) -> tuple[Statement, ...]:
    return parts


def ask(world: World, uses: Uses, at: Connection, *parts: Statement, alone: bool = False) -> dict[str, object]:
    """The fields of what these statements gave."""
    how = Transaction.AUTOCOMMIT if alone else Transaction.ONE
    operation = Sql(name="q", connection=at, statements=parts, transaction=how)
    return dict(fields_of(world.perform(operation, uses())))


def test_tables_columns_and_values(
    world: World, uses: Uses, connect_to: Connect, fresh_database: FreshDatabases, postgres_server: PostgresServer
) -> None:
    database = fresh_database("CREATE TABLE shop (id int)")
    at = connect_to(database)
    made = (
        part
        for number, name in enumerate(NAMES)
        for part in (
            sql("CREATE TABLE {t} ({c} text, n int)", t=Name(name), c=Name(name)),
            sql("COMMENT ON TABLE {t} IS {words}", t=Name(name), words=name),
            sql("INSERT INTO {t} ({c}, n) VALUES ({v}, {n})", t=Name(name), c=Name(name), v=name, n=number),
        )
    )
    ask(world, uses, at, *made)
    told = (
        sql("SELECT {c} AS given FROM {t} WHERE {c} = {v}", t=Name(name), c=Name(name), v=name) for name in NAMES[:3]
    )
    assert [ask(world, uses, at, one)["given"] for one in told] == NAMES[:3]
    tables = postgres_server.sql(
        "SELECT relname, obj_description(oid) FROM pg_class WHERE relkind = 'r' AND relnamespace = 2200", database
    )
    assert {(name, name) for name in NAMES} | {("shop", None)} == set(tables)
    columns = postgres_server.sql(
        "SELECT attname FROM pg_attribute WHERE attrelid <> 'shop'::regclass AND attnum = 1 AND attrelid IN "
        "(SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 2200)",
        database,
    )
    assert sorted(columns) == sorted((name,) for name in NAMES)


def test_every_value_is_a_literal(world: World, uses: Uses, connect_to: Connect) -> None:
    parts = {f"v{number}": value for number, value in enumerate(VALUES.values())}
    text = ", ".join(f"{{{name}}} AS {name}, length({{{name}}}) AS l{name}" for name in parts)
    found = ask(world, uses, connect_to(), sql(f"SELECT {text}", **parts))
    assert {name: found[name] for name in parts} == parts
    assert {name: found[f"l{name}"] for name in parts} == {name: len(value) for name, value in parts.items()}


def test_databases_and_roles(
    world: World, uses: Uses, connect_to: Connect, fresh_database: FreshDatabases, postgres_server: PostgresServer
) -> None:
    before = set(postgres_server.sql("SELECT datname FROM pg_database")) | set(
        postgres_server.sql("SELECT rolname FROM pg_roles")
    )
    ask(world, uses, connect_to(), *(sql("CREATE ROLE {r} LOGIN", r=Name(name)) for name in ROLES))
    made = {str(row[0]) for row in postgres_server.sql("SELECT rolname FROM pg_roles")} - {
        str(row[0]) for row in before
    }
    assert made == set(ROLES)
    for name in ('a"; DROP TABLE shop; --', VALUES["every-quote"]):
        ask(world, uses, connect_to(), sql("CREATE DATABASE {d} OWNER {r}", d=Name(name), r=Name(name)), alone=True)
        at = connect_to(name)
        assert ask(world, uses, at, sql("SELECT current_database() AS here"))["here"] == name
        ask(world, uses, connect_to(), sql("DROP DATABASE {d}", d=Name(name)), alone=True)
    ask(world, uses, connect_to(), *(sql("DROP ROLE {r}", r=Name(name)) for name in ROLES))
    after = set(postgres_server.sql("SELECT datname FROM pg_database")) | set(
        postgres_server.sql("SELECT rolname FROM pg_roles")
    )
    assert after == before


def test_rows_are_copied_between_tables_of_any_name(
    world: World, uses: Uses, connect_to: Connect, fresh_database: FreshDatabases, postgres_server: PostgresServer
) -> None:
    name = 'a"; DROP TABLE shop; --'
    database = fresh_database("CREATE TABLE shop (id int)")
    at = connect_to(database)
    ask(world, uses, at, sql("CREATE TABLE {t} ({c} text)", t=Name(name), c=Name(name)))
    values = [value for value in VALUES.values() if value]
    ask(world, uses, at, *(sql("INSERT INTO {t} VALUES ({v})", t=Name(name), v=value) for value in values))
    copy = CopyRows(
        name="copy",
        source=at,
        connection=at,
        query=sql("SELECT {c} FROM {t}", c=Name(name), t=Name(name)),
        session="s",
        table=Name("into"),
        columns=(Name(name),),
    )
    operation = Session(
        name="s",
        connection=at,
        begin=statements(sql("BEGIN"), sql("CREATE TABLE {i} ({c} text)", i=Name("into"), c=Name(name))),
        body=(copy,),
        end=statements(sql("COMMIT")),
    )
    fields_of(world.perform(operation, uses()))
    assert postgres_server.sql('SELECT * FROM "into"', database) == [(value,) for value in values]
    assert postgres_server.sql("SELECT count(*) FROM shop", database) == [(0,)]


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 64, "é" * 32], ids=ascii)
def test_what_no_identifier_can_be_is_refused(name: str, world: World, uses: Uses, connect_to: Connect) -> None:
    operation = Sql(name="q", connection=connect_to(), statements=statements(sql("SELECT 1 AS {n}", n=Name(name))))
    assert "error[E312]: a statement can't be rendered" in problem_of(world.perform(operation, uses()))


def test_a_statement_of_the_dry_run_is_read_back_by_psql_as_it_was(
    postgres_server: PostgresServer, connect_to: Connect, tmp_path: Path
) -> None:
    """The pasted line goes through a shell and psql, with backslash commands and variables in its values."""
    names = {f"c{number}": Name(name) for number, name in enumerate(NAMES)}
    values = {f"v{number}": value for number, value in enumerate(VALUES.values())}
    columns = ", ".join(f"{{v{number}}}::text AS {{c{number % len(names)}}}" for number in range(len(values)))
    operation = Sql(
        name="q",
        connection=connect_to(),
        statements=statements(sql(f"SELECT {columns}", **names, **values)),
        reads=True,
    )
    line = paste(operation)
    path = f"{postgres_server.bin_dir}:{os.environ['PATH']}"
    environment = {**postgres_server.environment(), "PATH": path, "LC_ALL": "C.UTF-8", "PGCLIENTENCODING": "UTF8"}
    environment["PSQLRC"] = "/dev/null"
    ended = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr.decode()
    for value in VALUES.values():
        if value.isprintable() and value:
            assert value in ended.stdout.decode()
    assert [path.name for path in tmp_path.iterdir()] == ["password"], "it is the fixture's"
