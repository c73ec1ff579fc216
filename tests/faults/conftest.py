"""A database as the guides have it, on the session's server; made anew for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.actions.conftest import backups, base, cluster, stage  # noqa: F401 - fixtures
from tests.evidence.stacks import CIVICQ, Stack, stack
from tests.faults.house import House, build
from tests.fixtures.postgres import PostgresServer

if TYPE_CHECKING:
    from docker import DockerClient


@pytest.fixture
def house(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[House]:
    """The guide's database, with a store; every database of the test is dropped afterwards."""
    made = build(postgres_server, tmp_path)
    before = made.databases() - {"civicq"}
    try:
        yield made
    finally:
        for name in made.databases() - before:
            postgres_server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="module")
def civicq(docker_client: DockerClient) -> Iterator[Stack]:
    """The CivicQ stack in containers, shared by a file."""
    with stack(docker_client, CIVICQ) as made:
        yield made
