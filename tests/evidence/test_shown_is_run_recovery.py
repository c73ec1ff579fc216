"""What is shown is what runs, for the plans that bring back, look after and prune, on ground as the sweep of kills prepares it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.evidence.agreement import all_witnesses_agree
from tests.evidence.program import PLANS
from tests.evidence.seen import LOGGED, scene_of, taken
from tests.evidence.servers import InContainer
from tests.evidence.stacks import Stack
from tests.fixtures.account import server_account, server_folder
from tests.sweep.cases import CASES
from tests.sweep.ground import Ground, ground, tidied

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.docker, pytest.mark.slow]

OF_THE_SWEEP = (
    *("restore-db-pitr", "restore-rows", "restore-test", "database-corruption"),
    *("prune-backups", "prune-base-backups"),
)
SHOWN = (*OF_THE_SWEEP, "find-change", "rotate-role")
OTHER_WAY = "database-corruption, restored"
"""The person decides otherwise than in the sweep."""


@pytest.fixture(scope="module")
def logged(request: pytest.FixtureRequest, docker_client: DockerClient) -> Iterator[tuple[Ground, Path]]:
    """The ground, whose server tells every statement, in one file however often a plan starts it anew; and that file's folder."""
    with ExitStack() as standing:
        place = standing.enter_context(server_folder(server_account(), "log"))
        kept = ("logging_collector=on", f"log_directory={place}", "log_filename=server.log")
        settings = (*LOGGED, *(word for one in kept for word in ("-c", one)))
        here = request.param == "here"
        yield (
            standing.enter_context(ground(docker_client, there=not here, settings=settings if here else LOGGED)),
            place,
        )


@pytest.mark.parametrize(
    ("logged", "plan"),
    [(where, plan) for where in ("here", "there") for plan in (*SHOWN, OTHER_WAY)],
    indirect=["logged"],
    scope="module",
)
def test_all_witnesses_agree(plan: str, logged: tuple[Ground, Path], tmp_path: Path) -> None:
    found, place = logged
    made = found.made
    tidied(found)
    plan, _, other = plan.partition(", ")

    def log() -> bytes:
        return (
            made.server.container.logs()
            if isinstance(made.server, InContainer)
            else (place / "server.log").read_bytes()
        )

    with ExitStack() as people:
        words: list[str] = []
        answered: tuple[str, ...] = ()
        if plan in OF_THE_SWEEP:
            case = next(case for case in CASES if case.plan == plan)
            if other:
                made.back_up()
            words, answered = case.before(found), ("decide", "-i", "way=restore") if other else case.answer
        elif plan == "find-change":
            words = dropped(made)
        else:
            first_login(made)
            answered = ("deploy",)

        made.archived()

        def answer() -> None:
            if plan == "rotate-role":
                people.enter_context(deployed(made))
            step, *given = answered
            said = made.program.run("confirm", made.program.last, step, *given)
            assert said.code == 0, said.said

        all_witnesses_agree(taken(scene_of(made, log, answer), PLANS / f"{plan}.yaml", tmp_path, *words))


def dropped(made: Stack) -> list[str]:
    """A table that somebody dropped, and the words that say when."""
    made.sql("CREATE TABLE gone AS SELECT 1 AS one")
    since = datetime.now(UTC) - timedelta(seconds=1)
    time.sleep(0.05)
    made.sql("DROP TABLE gone")
    return ["-i", f"since={since.isoformat()}", "-i", f"until={(since + timedelta(hours=1)).isoformat()}"]


def first_login(made: Stack) -> None:
    """The login that is in use before the rotation."""
    for statement in (
        "CREATE ROLE civicq_owner NOLOGIN",
        "CREATE ROLE civicq_a LOGIN PASSWORD 'first-of-all' IN ROLE civicq_owner",
        "ALTER ROLE civicq_a SET role TO civicq_owner",
    ):
        made.sql(statement)


def deployed(made: Stack) -> psycopg.Connection[tuple[object, ...]]:
    """A session of the service by its new login."""
    created = made.program.outputs("create")
    at = psycopg.conninfo.make_conninfo(
        made.server.dsn(made.database), user=created["role"], password=Path(created["file"]).read_text().strip()
    )
    return psycopg.connect(at, autocommit=True)
