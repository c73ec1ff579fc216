"""A world for the tests of actions: a real one, with a run's directory of its own."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runbook.action import Look
from runbook.actions.postgres.basebackup import Basebackup
from runbook.artifact import Artifact
from runbook.journal.layout import make_run
from runbook.secret import Redactor
from runbook.system import Postgres, Store
from runbook.transports.world import World
from tests.actions.harness import RUN, Stage
from tests.actions.postgres.archived import Cluster, with_tools
from tests.actions.systems import on_this_machine
from tests.fixtures.account import Account, server_folder
from tests.fixtures.postgres import FreshDatabases, PostgresServer

SHOP = (
    "CREATE TABLE users (id serial PRIMARY KEY, name text)",
    "INSERT INTO users (name) SELECT 'user ' || i FROM generate_series(1, 200) AS i",
    "CREATE SCHEMA shop CREATE TABLE orders (id int PRIMARY KEY, who int)",
    "INSERT INTO shop.orders SELECT i, i % 200 FROM generate_series(1, 1000) AS i",
)
"""A small database: 200 users, 1,000 orders."""


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A real world to act in, with a run's directory of its own."""
    directory = make_run(tmp_path_factory.mktemp("state") / "s", RUN).path
    world = World(directory, run=RUN, redactor=Redactor())
    yield Stage(world.look, world, directory)
    world.close()


@pytest.fixture
def look(stage: Stage) -> Look:
    """The reads of an observer."""
    return stage.look


@pytest.fixture
def db(stage: Stage, tmp_path: Path, postgres_server: PostgresServer, fresh_database: FreshDatabases) -> Postgres:
    """A small shop in a database of the session's server, as the system ``db``; its password is in a file."""
    made = fresh_database(*SHOP)
    system = on_this_machine(postgres_server, tmp_path, database=made, binaries=str(postgres_server.bin_dir))
    stage.systems = {**stage.systems, "db": system}
    return system


@pytest.fixture
def backups(stage: Stage, tmp_path: Path) -> Store:
    """An empty store in a directory, as the system ``backups``."""
    (tmp_path / "backups").mkdir(mode=0o700)
    system = Store(type="store", url=f"file://{tmp_path}/backups", key="backups")
    stage.systems = {**stage.systems, "backups": system}
    return system


@pytest.fixture
def cluster(
    stage: Stage, tmp_path: Path, postgres_account: Account, postgres_cluster: Callable[..., PostgresServer]
) -> Iterator[Cluster]:
    """A cluster that archives into a folder, as the system ``db``; all servers of its folder end with the test."""
    with server_folder(postgres_account, "wal") as archive:
        # under another name first: what looks into the archive meanwhile, and who kills the server, finds no half of a segment
        command = f"test ! -e {archive}/%f && cp %p {archive}/.%f && mv {archive}/.%f {archive}/%f"
        server = postgres_cluster(archive_mode="on", wal_level="replica", archive_command=command, wal_keep_size="64MB")
        db = on_this_machine(server, tmp_path, archive=f"file://{archive}")
        found = Cluster(server, archive, db)
        server.sql("CREATE TABLE notes (word text)")
        yield found
        found.stop_all()
        server.stop(signal.SIGQUIT)


@pytest.fixture
def base(stage: Stage, cluster: Cluster, backups: Store) -> Artifact:
    """A base backup of it, made after the note ``0 base``; its WAL is archived."""
    cluster.commit("0 base")
    made = stage.live(Basebackup(), with_tools(cluster), stage.scope("base"), to=backups).artifact
    assert isinstance(made, Artifact)
    cluster.archived()
    return made
