"""A swap that fails after the live database was closed: it takes sessions again at once, and a resume goes on from there."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from runbook.actions.postgres import swap
from runbook.actions.postgres.dump import Dump
from runbook.errors import ExitCode
from runbook.operation import sql
from runbook.system import Postgres, Store
from tests.actions.harness import Stage
from tests.actions.in_a_run import Rehearsal
from tests.actions.postgres.restored import RESTORE, drop_copies, rehearsal
from tests.actions.systems import on_this_machine
from tests.fixtures.postgres import FreshDatabases, PostgresServer


@pytest.fixture
def db(postgres_server: PostgresServer, tmp_path: Path, fresh_database: FreshDatabases) -> Postgres:
    name = fresh_database("CREATE TABLE t AS SELECT 1 AS id")
    return on_this_machine(postgres_server, tmp_path, database=name, binaries=str(postgres_server.bin_dir))


@pytest.fixture
def run(
    stage: Stage, db: Postgres, backups: Store, postgres_server: PostgresServer, tmp_path: Path
) -> Iterator[Rehearsal]:
    stage.live(Dump(), db, stage.scope("dump"), to=backups)
    yield rehearsal(db, backups, tmp_path / "state", RESTORE)
    drop_copies(postgres_server)


@pytest.fixture
def deaf(postgres_server: PostgresServer, db: Postgres) -> Iterator[Callable[[], None]]:
    """A session that no signal ends, until the test lets it hear."""
    session = psycopg.connect(postgres_server.dsn(db.database), autocommit=True)
    pid = session.info.backend_pid
    os.kill(pid, signal.SIGSTOP)

    def hear() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    yield hear
    hear()
    session.close()


def rows(server: PostgresServer, database: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.dsn(database), connect_timeout=60) as late:
        return late.execute("SELECT id FROM t ORDER BY 1").fetchall()


def restored(server: PostgresServer, database: str) -> bool:
    kept = server.sql(f"SELECT count(*)::int FROM pg_database WHERE datname LIKE '{database}_old_%'")
    return kept == [(1,)]


def test_a_session_that_can_not_be_ended_leaves_the_database_open(
    run: Rehearsal,
    db: Postgres,
    postgres_server: PostgresServer,
    deaf: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(swap, "DRAINED_WITHIN_S", 1.5)
    assert run.apply() is ExitCode.FAILED
    said = run.problem("restore")
    assert "'E361'" in said
    assert "Taken back since:" in said
    assert "ALLOW_CONNECTIONS true" in said
    assert not restored(postgres_server, db.database)
    deaf()  # else nobody could be let in who waits for it
    assert rows(postgres_server, db.database) == [(1,)]
    assert run.resume() is ExitCode.DONE
    assert restored(postgres_server, db.database)
    assert rows(postgres_server, db.database) == [(1,)]


def test_a_swap_that_the_server_refuses_leaves_the_database_open(
    run: Rehearsal, db: Postgres, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = sql("SELECT 1 / 0 AS swapped_at")
    moment = swap._limited
    monkeypatch.setattr(swap, "_limited", lambda *given: refused)
    assert run.apply() is ExitCode.FAILED
    said = run.problem("restore")
    assert "division by zero" in said
    assert "Taken back since:" in said
    assert not restored(postgres_server, db.database)
    assert rows(postgres_server, db.database) == [(1,)]
    monkeypatch.setattr(swap, "_limited", moment)
    assert run.resume() is ExitCode.REFUSED, "another swap than the one that was shown"


def test_where_it_can_not_be_opened_the_line_is_told(
    run: Rehearsal,
    db: Postgres,
    postgres_server: PostgresServer,
    deaf: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(swap, "DRAINED_WITHIN_S", 1.5)
    real = swap.opened
    monkeypatch.setattr(swap, "opened", lambda at, name: real(at, "no such database"))
    assert run.apply() is ExitCode.FAILED
    said = run.problem("restore")
    assert "Could not be taken back" in said
    assert 'ALTER DATABASE "no such database" WITH ALLOW_CONNECTIONS true' in said
    with pytest.raises(psycopg.OperationalError, match="not currently accepting"):
        rows(postgres_server, db.database)
    deaf()
    assert run.resume() is ExitCode.DONE
    assert rows(postgres_server, db.database) == [(1,)]
