"""A world for the tests of actions: a real one, with a run's directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook.journal.layout import make_run
from runbook.secret import FromFile, Redactor
from runbook.system import Postgres, Store
from runbook.transports.commands import Commands
from runbook.transports.database import Databases
from runbook.transports.docker import DockerEngine
from runbook.transports.look import LiveLook
from runbook.transports.secrets import SecretStore
from tests.actions.harness import Stage
from tests.fixtures.postgres import FreshDatabases, PostgresServer

SHOP = (
    "CREATE TABLE users (id serial PRIMARY KEY, name text)",
    "INSERT INTO users (name) SELECT 'user ' || i FROM generate_series(1, 200) AS i",
    "CREATE SCHEMA shop CREATE TABLE orders (id int PRIMARY KEY, who int)",
    "INSERT INTO shop.orders SELECT i, i % 200 FROM generate_series(1, 1000) AS i",
)
"""A small database: 200 users, 1,000 orders."""


@pytest.fixture
def look(tmp_path: Path) -> LiveLook:
    """The reads of an observer, and nothing that acts."""
    redactor = Redactor()
    secrets, engine = SecretStore(tmp_path / "run", redactor), DockerEngine()
    return LiveLook(
        secrets=secrets, engine=engine, databases=Databases(secrets, engine, redactor), commands=Commands(engine)
    )


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A real world to act in, and a run's directory of its own; end and clean-up are the fixture's."""
    directory = make_run(tmp_path / "state", "20260214-120000-test-4f3a").path
    yield Stage(None, None, directory)


@pytest.fixture
def db(stage: Stage, tmp_path: Path, postgres_server: PostgresServer, fresh_database: FreshDatabases) -> Postgres:
    """A small shop in a database of the session's server, as the system ``db``; its password is in a file."""
    secret = tmp_path / "db.password"
    secret.touch(mode=0o600)
    secret.write_text(postgres_server.password + "\n")
    system = Postgres(
        type="postgres",
        key="db",
        address=postgres_server.host,
        port=postgres_server.port,
        user=postgres_server.user,
        database=fresh_database(*SHOP),
        password=FromFile(str(secret)),
        binaries=str(postgres_server.bin_dir),
    )
    stage.systems = {**stage.systems, "db": system}
    return system


@pytest.fixture
def backups(stage: Stage, tmp_path: Path) -> Store:
    """An empty store in a directory, as the system ``backups``."""
    (tmp_path / "backups").mkdir(mode=0o700)
    system = Store(type="store", url=f"file://{tmp_path}/backups", key="backups")
    stage.systems = {**stage.systems, "backups": system}
    return system
