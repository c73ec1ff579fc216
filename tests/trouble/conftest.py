"""A cluster that these tests may break, and a house on it, made anew for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.account import Account, server_folder
from tests.fixtures.postgres import PostgresServer, make_cluster
from tests.trouble.night import Night, stand


@pytest.fixture(scope="session")
def breakable(postgres_bin: Path, postgres_account: Account) -> Iterator[PostgresServer]:
    """A cluster of these tests' own: they restart it, kill its backends and fill its disk, and leave it running."""
    with server_folder(postgres_account, "night") as folder:
        server = make_cluster(folder, bin_dir=postgres_bin, account=postgres_account, settings={})
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def backup(breakable: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a backup of the guides' database in it; a test gets a copy."""
    made = stand(breakable, tmp_path_factory.mktemp("backup"))
    try:
        made.back_up()
    finally:
        _drop(made)
    return made.store


@pytest.fixture
def night(breakable: PostgresServer, backup: Path, tmp_path: Path) -> Iterator[Night]:
    """The guides' database with a gate, and its backup; every database of the test is dropped afterwards."""
    made = stand(breakable, tmp_path, backup=backup)
    try:
        yield made
    finally:
        _drop(made)


def _drop(made: Night) -> None:
    made.gate.unlink(missing_ok=True)
    for name in made.databases():
        made.server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')
