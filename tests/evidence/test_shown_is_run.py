"""What is shown is what runs, for the plans that make and check backups, for restore-db, and for a plan of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.evidence.agreement import LOGGED, Evidence, all_witnesses_agree, scene_of
from tests.evidence.program import PLANS
from tests.evidence.stacks import CIVICQ, InContainer, Stack, stack

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.docker, pytest.mark.slow]

SHOWN = ("backup-db", "verify-backup", "restore-db", "base-backup", "check-archive")
SMALL = """\
runbook: 1
name: small
systems: {db: postgres, app: compose}
steps:
  - {id: ask, uses: postgres.query, on: db, with: {query: "SELECT count(*) AS users FROM users"}, timeout: 1m}
  - id: run
    uses: shell.run
    with: {argv: [sh, -c, "echo $1 > FOLDER/said", "--", "{{ systems.db.database }}"], interrupted: repeat}
    timeout: 1m
  - id: write
    uses: shell.run
    with: {argv: [sh, -c, "echo $1 > FOLDER/counted", "--", "{{ steps.ask.row.users }} users"], interrupted: repeat}
    timeout: 1m
  - id: sort
    uses: shell.run
    when: "steps.ask.row.users >= 0"
    with: {argv: [sh, -c, "echo $1 >> FOLDER/counted", "--", "{{ steps.ask.row.users + 1 }}"]}
    timeout: 1m
  - {id: stop, uses: compose.stop, on: app, with: {services: [backend]}, timeout: 1m}
  - {id: rotate, uses: postgres.rotate_password, on: db, with: {role: reader, escrow: reader}, timeout: 1m}
  - {id: start, uses: compose.start, on: app, releases: stop, timeout: 3m}
"""


@pytest.fixture(scope="module", params=["here", "there"])
def logged(request: pytest.FixtureRequest, docker_client: DockerClient) -> Iterator[Stack]:
    """Stacks whose server tells every statement."""
    local = request.param == "here"
    with stack(docker_client, CIVICQ, local=local, stopped=("celery-beat",), settings=LOGGED, archive=True) as made:
        made.sql("CREATE ROLE reader LOGIN PASSWORD 'old'")
        made.back_up()
        yield made


@pytest.mark.parametrize("plan", [*SHOWN, "small"])
def test_all_witnesses_agree(plan: str, logged: Stack, tmp_path: Path) -> None:
    path = PLANS / f"{plan}.yaml"
    if plan == "small":
        path = tmp_path / "small.yaml"
        path.write_text(SMALL.replace("FOLDER", str(tmp_path)))
    all_witnesses_agree(Evidence(scene_of(logged, lambda: log_of(logged)), path, tmp_path))
    logged.tidy()


def log_of(made: Stack) -> bytes:
    """The server's log up to now."""
    return made.server.container.logs() if isinstance(made.server, InContainer) else made.server.log.read_bytes()
