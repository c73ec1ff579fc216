"""A restore whose engine is killed while the dump is loaded: the load goes on, and a resume doesn't begin it anew."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook.actions.postgres.dump import Dump
from runbook.errors import ExitCode
from runbook.system import Postgres, Store
from tests.actions.harness import Stage
from tests.actions.in_a_run import Rehearsal
from tests.actions.postgres.restored import BESIDE, RESTORE, drop_copies, rehearsal
from tests.actions.postgres.test_restore_reopens_real import rows
from tests.actions.systems import on_this_machine
from tests.fixtures.patience import eventually
from tests.fixtures.postgres import FreshDatabases, PostgresServer
from tests.fixtures.standstill import held_while_there

TABLE = "CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 3) AS i"
INDEX = "CREATE INDEX last_of_all ON t (held(id))"
"""The index is made at the end of the load, and takes as long as the flag is there."""


@pytest.fixture
def flag(postgres_server: PostgresServer) -> Iterator[Path]:
    found = postgres_server.socket_dir / "held"
    yield found
    found.unlink(missing_ok=True)


@pytest.fixture
def db(postgres_server: PostgresServer, tmp_path: Path, fresh_database: FreshDatabases, flag: Path) -> Postgres:
    name = fresh_database(TABLE, held_while_there(flag), INDEX)
    return on_this_machine(postgres_server, tmp_path, database=name, binaries=str(postgres_server.bin_dir))


@pytest.fixture
def run(stage: Stage, db: Postgres, backups: Store, tmp_path: Path) -> Rehearsal:
    stage.live(Dump(), db, stage.scope("dump"), to=backups)
    return rehearsal(db, backups, tmp_path / "state", RESTORE)


def copies(server: PostgresServer) -> list[tuple[object, ...]]:
    """Name, oid and mark of the unfinished copies."""
    query = (
        "SELECT datname::text, oid::bigint, coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database "
        "WHERE datname LIKE 'rb\\_%'"
    )
    return server.sql(query)


LOADING = "query LIKE 'CREATE INDEX last_of_all%' AND wait_event = 'PgSleep'"


def loading(server: PostgresServer) -> bool:
    return server.sql(f"SELECT count(*) FROM pg_stat_activity WHERE {LOADING}") == [(1,)]


def killed_while_it_loads(run: Rehearsal, server: PostgresServer, flag: Path) -> None:
    """Apply in a process of its own, and kill that when the index is made; the load goes on when the flag has gone."""
    flag.touch()
    engine = multiprocessing.get_context("fork").Process(target=run.apply)
    engine.start()
    assert engine.pid is not None
    eventually(lambda: loading(server))
    os.kill(engine.pid, signal.SIGKILL)
    engine.join()
    (found,) = (run.state / "runs").iterdir()
    run.run = found.name


def cut_off(server: PostgresServer, flag: Path) -> None:
    """End the session that loads, which sleeps again and again, and let no other one be held."""
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {LOADING}"
    eventually(lambda: server.sql(end) == [(True,)])
    flag.unlink()


def indexes(server: PostgresServer, database: str) -> list[tuple[object, ...]]:
    return server.sql("SELECT indexname::text FROM pg_indexes WHERE tablename = 't'", database)


def test_a_load_that_ended_well_without_its_engine_is_kept(
    run: Rehearsal, db: Postgres, postgres_server: PostgresServer, flag: Path
) -> None:
    killed_while_it_loads(run, postgres_server, flag)
    flag.unlink()
    ((_, copy, mark),) = copies(postgres_server)
    assert mark == ""
    assert run.resume() is ExitCode.DONE
    assert run.planned["restore"][0][:3] == ["loaded", "rows", "analyze"]
    ((oid,),) = postgres_server.sql(f"SELECT oid::bigint FROM pg_database WHERE datname = '{db.database}'")
    assert oid == copy
    assert indexes(postgres_server, db.database) == [("last_of_all",)]
    assert rows(postgres_server, db.database) == [(1,), (2,), (3,)]
    assert copies(postgres_server) == []


def test_a_load_that_was_cut_off_is_begun_anew(
    run: Rehearsal, db: Postgres, postgres_server: PostgresServer, flag: Path
) -> None:
    killed_while_it_loads(run, postgres_server, flag)
    cut_off(postgres_server, flag)
    ((_, copy, _),) = copies(postgres_server)
    assert run.resume() is ExitCode.DONE
    assert run.planned["restore"][0][:3] == ["drop_unfinished", "create", "load"]
    ((oid,),) = postgres_server.sql(f"SELECT oid::bigint FROM pg_database WHERE datname = '{db.database}'")
    assert oid != copy
    assert indexes(postgres_server, db.database) == [("last_of_all",)]


def test_a_commit_that_a_crash_could_take_back_proves_nothing(
    run: Rehearsal, db: Postgres, postgres_server: PostgresServer, flag: Path
) -> None:
    killed_while_it_loads(run, postgres_server, flag)
    flag.unlink()
    try:
        postgres_server.sql(f"ALTER ROLE {db.user} SET synchronous_commit = off")
        assert run.resume() is ExitCode.DONE
    finally:
        postgres_server.sql(f"ALTER ROLE {db.user} RESET synchronous_commit")
    assert run.planned["restore"][0][:3] == ["drop_unfinished", "create", "load"]
    assert indexes(postgres_server, db.database) == [("last_of_all",)]


@pytest.fixture
def beside(
    stage: Stage, db: Postgres, backups: Store, postgres_server: PostgresServer, tmp_path: Path
) -> Iterator[Rehearsal]:
    """A run that makes a copy beside the live database, and leaves it."""
    stage.live(Dump(), db, stage.scope("dump"), to=backups)
    yield rehearsal(db, backups, tmp_path / "state", BESIDE)
    drop_copies(postgres_server)


def test_a_copy_whose_load_ended_well_without_its_engine_is_kept(
    beside: Rehearsal, postgres_server: PostgresServer, flag: Path
) -> None:
    killed_while_it_loads(beside, postgres_server, flag)
    flag.unlink()
    ((name, copy, mark),) = copies(postgres_server)
    assert str(mark).startswith(f"runbook {beside.run}/look: being restored from ")
    assert beside.resume() is ExitCode.DONE
    assert beside.planned["look"][0] == ["loaded", "rows", "analyze", "finish"]
    ((also, oid, mark),) = copies(postgres_server)
    assert (also, oid) == (name, copy)
    assert str(mark).startswith(f"runbook {beside.run}/look: restored from ")
    assert indexes(postgres_server, str(name)) == [("last_of_all",)]
    assert rows(postgres_server, str(name)) == [(1,), (2,), (3,)]


def test_a_copy_whose_load_was_cut_off_is_made_anew(
    beside: Rehearsal, postgres_server: PostgresServer, flag: Path
) -> None:
    killed_while_it_loads(beside, postgres_server, flag)
    cut_off(postgres_server, flag)
    ((name, copy, _),) = copies(postgres_server)
    assert beside.resume() is ExitCode.DONE
    assert beside.planned["look"][0][:3] == ["drop_unfinished", "create", "load"]
    ((also, oid, _),) = copies(postgres_server)
    assert also == name and oid != copy
    assert indexes(postgres_server, str(name)) == [("last_of_all",)]
