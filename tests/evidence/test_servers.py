"""What a stack's servers say of themselves, where a plan has stopped one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evidence.servers import InContainer
from tests.fixtures.containers import PostgresContainer


@pytest.mark.docker
def test_in_a_container_that_was_stopped_there_are_no_processes(
    pg_container: PostgresContainer, tmp_path: Path
) -> None:
    server = InContainer(pg_container.container, "", PostgresContainer.user, Path("/usr/bin"), tmp_path)
    pg_container.container.stop(timeout=20)
    assert server.pids() == {}
