"""A server on another machine, with the same paths as one of this machine: the one that is here is never taken for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runbook.action import Look, Scope
from runbook.actions.postgres.archiving_step import ConfigureArchivingInputs
from runbook.actions.postgres.cold_copy import ColdCopy, ColdCopyInputs
from runbook.actions.postgres.configure_archiving import ConfigureArchiving
from runbook.actions.postgres.find_change import FindChange, FindChangeInputs
from runbook.actions.postgres.instance import read_instance
from runbook.actions.postgres.moment import read_live
from runbook.actions.postgres.stop import Stop, StopInputs
from runbook.errors import Refused
from runbook.secret import Redactor
from runbook.system import Postgres, Store
from runbook.transports.world import World
from tests.fixtures.postgres import PostgresServer

ELSEWHERE = "192.0.2.7"
"""An address of documentation (RFC 5737): no machine's own."""


@pytest.fixture
def look(tmp_path: Path) -> Iterator[Look]:
    world = World(tmp_path, run="20260214-120000-elsewhere-4f3a", redactor=Redactor())
    yield world.look
    world.close()


@pytest.fixture
def scope(tmp_path: Path) -> Scope:
    return Scope("r1", "stop", datetime(2026, 2, 14, tzinfo=UTC), str(tmp_path), "here", False, {})


@pytest.fixture
def db(postgres_server: PostgresServer) -> Postgres:
    """A system that names another machine; the server that runs here has the same path."""
    return Postgres(
        type="postgres",
        key="standby",
        user=postgres_server.user,
        database="postgres",
        address=ELSEWHERE,
        port=postgres_server.port,
        data_directory=str(postgres_server.data_dir),
    )


def test_the_server_of_this_machine_is_not_stopped_for_it(look: Look, scope: Scope, db: Postgres) -> None:
    with pytest.raises(Refused, match=f"(?s)E784.*{ELSEWHERE}"):
        Stop().observe(look, db, StopInputs(), scope)
    with pytest.raises(Refused, match="E784"):
        read_instance(look, db, replace(scope, resumed=True))


def test_nor_is_its_cluster_replaced(look: Look, scope: Scope, db: Postgres) -> None:
    with pytest.raises(Refused, match="E784"):
        read_live(look, db, scope)


def test_nor_is_it_copied_as_evidence_or_its_wal_read(look: Look, scope: Scope, db: Postgres, tmp_path: Path) -> None:
    cold = ColdCopyInputs(to=Store(type="store", key="evidence", url=f"file://{tmp_path}"))
    with pytest.raises(Refused, match="E784"):
        ColdCopy().observe(look, db, cold, scope)
    window = FindChangeInputs(since=scope.started_at, until=scope.started_at + timedelta(hours=1))
    with pytest.raises(Refused, match="E784"):
        FindChange().observe(look, db, window, scope)


def test_nor_told_to_archive_into_a_directory_of_this_machine(look: Look, scope: Scope, db: Postgres) -> None:
    archiving = db.model_copy(update={"archive": "file:///srv/wal"})
    with pytest.raises(Refused, match="E784"):
        ConfigureArchiving().observe(look, archiving, ConfigureArchivingInputs(), scope)
