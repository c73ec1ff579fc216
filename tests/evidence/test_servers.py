"""What a stack's servers say of themselves, where a plan has stopped one."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import create_autospec

import pytest
from docker.models.containers import Container

from tests.evidence.servers import InContainer
from tests.fixtures.containers import PostgresContainer


@pytest.mark.docker
def test_in_a_container_that_was_stopped_there_are_no_processes(
    pg_container: PostgresContainer, tmp_path: Path
) -> None:
    server = InContainer(pg_container.container, "", PostgresContainer.user, Path("/usr/bin"), tmp_path)
    pg_container.container.stop(timeout=20)
    assert server.pids() == {}


def test_one_that_ends_while_its_processes_are_listed_has_none(tmp_path: Path) -> None:
    ending = create_autospec(Container, instance=True)
    ending.attrs = {"State": {"Pid": 0}}
    ending.top.return_value = {"Titles": ["PID", "PPID", "COMMAND"], "Processes": None}
    assert InContainer(ending, "", PostgresContainer.user, Path("/usr/bin"), tmp_path).pids() == {}
