"""Restoring beside and swapping, on a real server: everything that makes up a database comes back, whatever interrupts it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from runbook.actions.postgres.dump import Dump
from runbook.actions.postgres.restore import Restore
from runbook.artifact import Artifact, Format
from runbook.errors import Refused
from runbook.system import Postgres, Store
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.life import Life
from tests.fixtures.postgres import FreshDatabases, PostgresServer

RICH = (
    "CREATE SCHEMA shop",
    "CREATE TABLE shop.customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, "
    "loud text GENERATED ALWAYS AS (upper(name)) STORED)",
    "INSERT INTO shop.customers (name) SELECT 'customer ' || i FROM generate_series(1, 300) AS i",
    "CREATE TABLE shop.orders (id bigint, placed date NOT NULL, customer int REFERENCES shop.customers) "
    "PARTITION BY RANGE (placed)",
    "CREATE TABLE shop.orders_old PARTITION OF shop.orders FOR VALUES FROM ('2020-01-01') TO ('2025-01-01')",
    "CREATE TABLE shop.orders_new PARTITION OF shop.orders FOR VALUES FROM ('2025-01-01') TO ('2030-01-01')",
    "INSERT INTO shop.orders SELECT i, date '2023-01-01' + i, 1 + i % 300 FROM generate_series(1, 1500) AS i",
    "CREATE MATERIALIZED VIEW shop.busy AS SELECT customer, count(*) FROM shop.orders GROUP BY 1",
    "CREATE INDEX ON shop.orders (customer)",
    'CREATE TABLE "Größe %s {x}" ("naïve ""col""" text)',
    "INSERT INTO \"Größe %s {x}\" VALUES (E'tab\\there\\\\and \\'quotes\\''), (NULL), ('\u2603')",
    "COMMENT ON TABLE \"Größe %s {x}\" IS 'it''s a comment'",
    "ALTER TABLE shop.customers ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own ON shop.customers USING (name = current_user)",
    "SELECT lo_from_bytea(4711, '\\xdeadbeef')",
    "CREATE FUNCTION shop.twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2'",
    "CREATE SEQUENCE shop.numbers START 77",
    "SELECT nextval('shop.numbers')",
)
HASHES = """
SELECT string_agg(h, ' ') FROM (
  SELECT md5(string_agg(c::text, '|' ORDER BY c::text)) AS h FROM shop.customers c UNION ALL
  SELECT md5(string_agg(o::text, '|' ORDER BY o::text)) FROM shop.orders o UNION ALL
  SELECT md5(string_agg(b::text, '|' ORDER BY b::text)) FROM shop.busy b UNION ALL
  SELECT md5(string_agg(g::text, '|' ORDER BY g::text)) FROM public."Größe %s {x}" g UNION ALL
  SELECT encode(lo_get(4711), 'hex') UNION ALL SELECT last_value::text FROM shop.numbers) AS all_of_it
"""
PROPERTIES = """
SELECT d.datdba::regrole::text, encoding, datcollate, datctype, datallowconn, datconnlimit, datistemplate,
  (SELECT string_agg(x::text, ',' ORDER BY x::text) FROM unnest(datacl) AS x),
  shobj_description(d.oid, 'pg_database'),
  (SELECT string_agg(coalesce(setrole::regrole::text, '-') || setconfig::text, ' ' ORDER BY setrole)
   FROM pg_db_role_setting WHERE setdatabase = d.oid)
FROM pg_database d WHERE datname = '{}'
"""


@pytest.fixture
def rich(db: Postgres, postgres_server: PostgresServer, fresh_database: FreshDatabases) -> Iterator[Postgres]:
    """A database with a bit of everything, and with properties that a dump alone doesn't bring back."""
    name = fresh_database(*RICH)
    owner, reader = f"{name}_owner", f"{name}_Reader-é"
    run = postgres_server.sql
    if run("SELECT 1 FROM pg_available_extensions WHERE name = 'pgcrypto'"):  # the wheel has no contributed ones
        run("CREATE EXTENSION pgcrypto", name)
    run(f"CREATE ROLE {owner} CREATEDB LOGIN PASSWORD 'secret of the owner'")
    run(f'CREATE ROLE "{reader}"')
    run(f'GRANT {owner} TO "{reader}"')
    run(f"ALTER DATABASE {name} OWNER TO {owner}")
    run(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    run(f'GRANT CONNECT ON DATABASE {name} TO "{reader}" WITH GRANT OPTION')
    run(f'ALTER DATABASE {name} SET search_path TO shop, "$user", "odd, one"')
    run(f"ALTER DATABASE {name} SET app.motto TO 'it''s {{braces}} & %'")
    run(f"ALTER ROLE \"{reader}\" IN DATABASE {name} SET work_mem TO '5MB'")
    run(f"ALTER DATABASE {name} CONNECTION LIMIT 17")
    run(f"COMMENT ON DATABASE {name} IS 'the shop''s'")
    run(f'GRANT SELECT ON shop.customers TO "{reader}"', name)
    run(f"ALTER TABLE shop.orders OWNER TO {owner}", name)
    yield db.model_copy(update={"database": name})
    rows = run(f"SELECT datname FROM pg_database WHERE datname LIKE '{name}%' OR datname LIKE 'rb\\_2026%'")
    for (found,) in rows:
        run(f'DROP DATABASE "{found}" WITH (FORCE)')
    for (role,) in run(f"SELECT rolname FROM pg_roles WHERE rolname LIKE '{name}%'"):
        run(f'DROP ROLE "{role}"')


@pytest.fixture
def dumped(stage: Stage, rich: Postgres, backups: Store) -> Artifact:
    """A dump of it."""
    made = stage.live(Dump(), rich, stage.scope("dump"), to=backups).artifact
    assert isinstance(made, Artifact)
    return made


class Shape:
    """What must be the same after a restore: the schema, the rows, the properties."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        dump = [server.tool("pg_dump"), "--schema-only", f"--dbname={server.dsn(name)}"]
        lines = subprocess.run(list(map(str, dump)), check=True, capture_output=True, text=True).stdout.splitlines()
        self.schema = [line for line in lines if not line.startswith(("\\restrict", "\\unrestrict"))]
        self.rows = server.sql(HASHES, name)
        self.properties = server.sql(PROPERTIES.format(name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shape) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


def life(stage: Stage, db: Postgres, dumped: Artifact, step: str = "restore", **written: object) -> Life:
    return Life(stage, Restore(), db, stage.scope(step), {"artifact": dumped, **written})


def named(server: PostgresServer, prefix: str) -> set[str]:
    return {str(row[0]) for row in server.sql("SELECT datname FROM pg_database") if str(row[0]).startswith(prefix)}


@pytest.mark.parametrize("form", ["directory", "custom"])
def test_everything_comes_back_while_sessions_are_open(
    stage: Stage, rich: Postgres, backups: Store, postgres_server: PostgresServer, form: str
) -> None:
    name = rich.database
    dumped = stage.live(Dump(), rich, stage.scope("dump"), to=backups, format=form).artifact
    before = Shape(postgres_server, name)
    postgres_server.sql("DROP TABLE shop.orders CASCADE", name)
    with psycopg.connect(postgres_server.dsn(name)) as session:
        session.execute("SELECT 1")
        step = life(stage, rich, dumped)
        performed = step.go()
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    out = step.end()
    assert Shape(postgres_server, name) == before
    assert performed == ["create", "load", "loaded", "rows", "analyze", "finish", "close", "drained", "swap"]
    assert out.database == name
    assert out.kept_as.startswith(f"{name}_old_rb_2026")
    assert out.tables_counted == 4
    assert out.bytes > 7_000_000
    assert out.closed_at and out.swapped_at > out.closed_at
    assert named(postgres_server, name) == {name, out.kept_as}
    assert named(postgres_server, "rb_") == set()
    assert postgres_server.sql("SELECT count(*) FROM shop.customers", out.kept_as) == [(300,)]
    analysed = "SELECT count(*) > 0 FROM pg_stats WHERE schemaname = 'shop' AND tablename = 'orders'"
    assert postgres_server.sql(analysed, name) == [(True,)]


EVERY_OPERATION = range(10)


@pytest.mark.parametrize("stop_after", EVERY_OPERATION)
def test_stopped_anywhere_and_resumed(
    stage: Stage, rich: Postgres, dumped: Artifact, postgres_server: PostgresServer, stop_after: int
) -> None:
    name = rich.database
    before = Shape(postgres_server, name)
    postgres_server.sql("DELETE FROM shop.orders", name)
    step = life(stage, rich, dumped)
    first = step.go(stop_after=stop_after)
    second = step.go()
    out = step.end()
    assert Shape(postgres_server, name) == before
    assert named(postgres_server, name) == {name, out.kept_as}
    assert named(postgres_server, "rb_") == set()
    if "swap" in first:
        assert second == []
    elif "finish" in first:
        assert second == ["close", "drained", "swap"]
    elif "loaded" in first:
        assert second[:3] == ["rows", "analyze", "finish"]
    elif "load" in first:
        assert second[:3] == ["loaded", "rows", "analyze"]
    elif "create" in first:
        assert second[:2] == ["drop_unfinished", "create"]


def test_undo_brings_the_former_database_back(
    stage: Stage, rich: Postgres, dumped: Artifact, postgres_server: PostgresServer
) -> None:
    name = rich.database
    postgres_server.sql("DELETE FROM shop.orders", name)
    before = Shape(postgres_server, name)
    step = life(stage, rich, dumped)
    step.go()
    out = step.end()
    assert step.undo() == ["close", "drained", "swap_back"]
    assert Shape(postgres_server, name) == before
    assert out.kept_as not in named(postgres_server, name)
    assert step.undo() == []
    assert step.go() == ["close", "drained", "swap"]
    step.end()


def test_undo_before_the_swap_lets_sessions_in_again(
    stage: Stage, rich: Postgres, dumped: Artifact, postgres_server: PostgresServer
) -> None:
    name = rich.database
    before = Shape(postgres_server, name)
    step = life(stage, rich, dumped)
    assert step.go(stop_after=7)[-1] == "close"
    with pytest.raises(psycopg.OperationalError, match="not currently accepting"):
        postgres_server.connect(name)
    assert step.undo() == ["open"]
    assert Shape(postgres_server, name) == before


def test_a_lost_database_is_made_again_with_its_roles(
    stage: Stage, rich: Postgres, dumped: Artifact, postgres_server: PostgresServer
) -> None:
    name, run = rich.database, postgres_server.sql
    before = Shape(postgres_server, name)
    verifier = f"SELECT rolname, rolpassword FROM pg_authid WHERE rolname LIKE '{name}%' ORDER BY 1"
    passwords = run(verifier)
    run(f'DROP DATABASE "{name}" WITH (FORCE)')
    for (role,) in run(f"SELECT rolname FROM pg_roles WHERE rolname LIKE '{name}%'"):
        run(f'DROP ROLE "{role}"')
    step = life(stage, rich, dumped)
    planned = step.plan()
    assert planned[0].name == "roles"
    assert "SCRAM-SHA-256" not in repr(planned), "a verifier left the file"
    assert step.go(stop_after=3)[0] == "roles"
    assert step.go()[0] == "loaded"
    out = step.end()
    after = Shape(postgres_server, name)
    assert (after.rows, out.kept_as) == (before.rows, "")
    assert run(verifier) == passwords
    assert run(f"SELECT pg_has_role('{name}_Reader-é', '{name}_owner', 'MEMBER')") == [(True,)]
    was, now = before.properties[0], after.properties[0]
    assert isinstance(now[8], str) and now[8].startswith("the shop's [runbook ")
    assert (now[0], now[1], now[2], now[3], now[5], now[7], now[9]) == (
        *(was[0], was[1], was[2], was[3], was[5], was[7], was[9]),
    )
    assert "=Tc/" not in str(now[7]), "nobody may connect who could not before"
    assert step.undo() == ["close", "drained", "swap_back"]
    assert named(postgres_server, name) == set()


def test_what_stands_in_the_way_is_named(
    stage: Stage, rich: Postgres, dumped: Artifact, postgres_server: PostgresServer
) -> None:
    name, run = rich.database, postgres_server.sql
    with pytest.raises(Refused, match="not enough space"):
        life(stage, rich, dumped, space_factor=1e12).plan()
    old = f"{name}_kept"
    run(f'CREATE DATABASE "{old}"')
    with pytest.raises(Refused, match="is taken"):
        life(stage, rich, dumped, old_name=old).plan()
    run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    with pytest.raises(Refused, match="takes no connections"):
        life(stage, rich, dumped).plan()
    run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    run(f"UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{name}'")
    with pytest.raises(Refused, match="half dropped"):
        life(stage, rich, dumped).plan()
    run(f"UPDATE pg_database SET datconnlimit = -1 WHERE datname = '{name}'")
    manifest = Path(dumped.url.removeprefix("file://") + ".manifest.json")
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(Refused, match="not the one that was chosen"):
        life(stage, rich, dumped).plan()


def test_a_copy_whose_drop_was_cut_off_is_dropped_again(
    stage: Stage, rich: Postgres, dumped: Artifact, postgres_server: PostgresServer
) -> None:
    step = life(stage, rich, dumped)
    step.go(stop_after=2)
    run = postgres_server.sql
    run("UPDATE pg_database SET datconnlimit = -2 WHERE datname LIKE 'rb\\_2026%'")
    assert step.go()[:2] == ["drop_unfinished", "create"]
    step.end()


def test_a_damaged_copy_never_gets_the_name(
    stage: Stage, rich: Postgres, backups: Store, postgres_server: PostgresServer
) -> None:
    name = rich.database
    dumped = stage.live(Dump(), rich, stage.scope("dump"), to=backups, format="custom").artifact
    counts = Path(backups.directory) / f"{dumped.name}.counts.jsonl"
    counts.write_text(counts.read_text().replace('"rows":300', '"rows":301').replace('"rows": 300', '"rows": 301'))
    before = Shape(postgres_server, name)
    step = life(stage, rich, dumped)
    with pytest.raises(StepFailed, match=r"shop\.customers: 300 rows, expected 301"):
        step.go()
    assert Shape(postgres_server, name) == before
    (Path(backups.directory) / dumped.name).write_bytes(
        (Path(backups.directory) / dumped.name).read_bytes()[: dumped.bytes // 2].ljust(dumped.bytes, b"\0")
    )
    with pytest.raises(StepFailed, match="load"):
        step.go()
    assert Shape(postgres_server, name) == before


def test_a_copy_that_answers_otherwise_never_gets_the_name(
    stage: Stage, rich: Postgres, dumped: Artifact, postgres_server: PostgresServer
) -> None:
    name = rich.database
    postgres_server.sql("INSERT INTO shop.customers (name) VALUES ('came since')", name)
    before = Shape(postgres_server, name)
    asked = "SELECT count(*) FROM customers"  # found by the search_path that the database has
    checks = [{"query": asked, "at_least": 301}]
    step = life(stage, rich, dumped, checks=checks)
    with pytest.raises(StepFailed, match="301"):
        step.go()
    assert Shape(postgres_server, name) == before
    postgres_server.sql("SELECT 1", name)
    checks[0]["at_least"] = 300
    again = life(stage, rich, dumped, checks=checks)
    assert again.go() == ["check_1", "close", "drained", "swap"]
    assert again.end().kept_as
    assert postgres_server.sql(asked, name) == [(300,)]


def test_plain_text_goes_through_psql(
    stage: Stage, rich: Postgres, backups: Store, postgres_server: PostgresServer
) -> None:
    name = rich.database
    before = Shape(postgres_server, name)
    plain = _plain(postgres_server, Path(backups.directory), name)
    step = life(stage, rich, plain)
    assert step.go()[:3] == ["create", "no_connect", "load"]
    step.end()
    assert Shape(postgres_server, name) == before


def test_plain_text_that_connects_elsewhere_is_stopped(
    stage: Stage, rich: Postgres, backups: Store, postgres_server: PostgresServer
) -> None:
    name = rich.database
    plain = _plain(postgres_server, Path(backups.directory), name, "--create")
    with pytest.raises(StepFailed, match="no_connect"):
        life(stage, rich, plain).go()


def _plain(server: PostgresServer, folder: Path, name: str, *options: str) -> Artifact:
    file = folder / "old.sql.gz"
    dump = [str(server.tool("pg_dump")), f"--dbname={server.dsn(name)}", "--compress=6", f"--file={file}", *options]
    subprocess.run(dump, check=True)
    return Artifact(
        store="backups",
        url=f"file://{file}",
        name=file.name,
        format=Format.PLAIN_GZIP,
        bytes=file.stat().st_size,
        finished_at=datetime.now(UTC),
    )
