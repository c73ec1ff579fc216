"""What is shown is what runs, for the plans that make and check backups, for restore-db, and for a plan of the tests' own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.evidence.agreement import all_witnesses_agree
from tests.evidence.damage import ended_with_the_test
from tests.evidence.program import PLANS
from tests.evidence.seen import LOGGED, scene_of, taken
from tests.evidence.servers import InContainer
from tests.evidence.stacks import CIVICQ, Stack, stack
from tests.fixtures.account import server_account, server_folder
from tests.fixtures.patience import eventually

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.docker, pytest.mark.slow]

IN_A_ROW = ("backup-db", "verify-backup", "restore-db", "base-backup", "check-archive")
TURNED_ON = "enable-archiving"
SHOWN = (*IN_A_ROW, TURNED_ON)
SMALL = """\
runbook: 1
name: small
systems: {db: postgres, app: compose}
steps:
  - {id: ask, uses: postgres.query, on: db, with: {query: "SELECT count(*) AS users FROM users"}, timeout: 10m}
  - id: run
    uses: shell.run
    with: {argv: [sh, -c, "echo $1 > FOLDER/said", "--", "{{ systems.db.database }}"], interrupted: repeat}
    timeout: 10m
  - id: write
    uses: shell.run
    with: {argv: [sh, -c, "echo $1 > FOLDER/counted", "--", "{{ steps.ask.row.users }} users"], interrupted: repeat}
    timeout: 10m
  - id: sort
    uses: shell.run
    when: "steps.ask.row.users >= 0"
    with: {argv: [sh, -c, "echo $1 >> FOLDER/counted", "--", "{{ steps.ask.row.users + 1 }}"]}
    timeout: 10m
  - {id: stop, uses: compose.stop, on: app, with: {services: [backend]}, timeout: 10m}
  - {id: rotate, uses: postgres.rotate_password, on: db, with: {role: reader, escrow: reader}, timeout: 10m}
  - {id: start, uses: compose.start, on: app, releases: stop, timeout: 10m}
"""


@pytest.fixture(scope="module", params=["here", "there"])
def logged(request: pytest.FixtureRequest, docker_client: DockerClient) -> Iterator[Stack]:
    """Stacks whose server tells every statement."""
    local = request.param == "here"
    with stack(docker_client, CIVICQ, local=local, stopped=("celery-beat",), settings=LOGGED, archive=True) as made:
        made.sql("CREATE ROLE reader LOGIN PASSWORD 'old'")
        made.back_up()
        taken_at = int(time.time())
        eventually(lambda: int(time.time()) > taken_at)  # a backup is named by its second, and the next plan makes one
        yield made


@pytest.mark.parametrize("plan", [*IN_A_ROW, "small"])
def test_all_witnesses_agree(plan: str, logged: Stack, tmp_path: Path) -> None:
    path = PLANS / f"{plan}.yaml"
    if plan == "small":
        path = tmp_path / "small.yaml"
        path.write_text(SMALL.replace("FOLDER", str(tmp_path)))
    logged.archived()
    all_witnesses_agree(taken(scene_of(logged, lambda: log_of(logged)), path, tmp_path))
    logged.tidy()


def log_of(made: Stack) -> bytes:
    """The server's log up to now."""
    return made.server.container.logs() if isinstance(made.server, InContainer) else made.server.log.read_bytes()


@pytest.fixture(params=["here", "there"])
def without_archive(request: pytest.FixtureRequest, docker_client: DockerClient) -> Iterator[tuple[Stack, Path]]:
    """A stack whose server archives nothing yet, and tells every statement, in one file however often it is started anew."""
    local = request.param == "here"
    with server_folder(server_account(), "log") as place:
        kept = ("logging_collector=on", f"log_directory={place}", "log_filename=server.log")
        settings = (*LOGGED, *(word for one in kept for word in ("-c", one))) if local else LOGGED
        with stack(docker_client, CIVICQ, local=local, settings=settings) as made, ended_with_the_test(made):
            yield made, place


def test_all_witnesses_agree_where_archiving_is_turned_on(without_archive: tuple[Stack, Path], tmp_path: Path) -> None:
    made, place = without_archive

    def log() -> bytes:
        return log_of(made) if isinstance(made.server, InContainer) else (place / "server.log").read_bytes()

    all_witnesses_agree(taken(scene_of(made, log), PLANS / f"{TURNED_ON}.yaml", tmp_path))
