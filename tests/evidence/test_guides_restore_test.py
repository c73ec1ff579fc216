"""Both guides' stacks, tested as every month: with the plan and the environments that ship, passed, failed and killed."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest

from tests.evidence.kills import Victim, kill
from tests.evidence.stacks import CIVICQ, CONTRACT_LUCIDITY, GUIDES, Guide, Stack
from tests.evidence.telephone import OnCall, on_call
from tests.evidence.witness import databases, picture, until
from tests.fixtures.seed import SEED

pytestmark = [pytest.mark.docker, pytest.mark.slow]

KILLS = 3
WITHIN_S = 200
EMBEDDED = (
    "CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 40) n",
    "CREATE TABLE document_metadata AS SELECT id, jsonb_build_object('pages', id % 30) AS facts FROM documents",
    "CREATE TABLE document_embeddings AS SELECT id AS document_id, "
    "(SELECT array_agg(random()::real) FROM generate_series(1, 32)) AS embedding FROM documents WHERE id % 2 = 0",
)
"""What the guide's checks name; the vector type itself is an extension's, and is not installed everywhere."""


def ready(made: Stack, people: OnCall) -> Stack:
    """The stack with two backups and a channel."""
    for statement in EMBEDDED if made.guide is CONTRACT_LUCIDITY else ():
        made.sql(statement)
    made.program.extra["ON_CALL_URL"] = people.url
    made.back_up()
    time.sleep(1.1)  # a backup is named by its second
    made.sql("CREATE TABLE written AS SELECT now() AS at")
    made.back_up()
    return made


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: str(guide.key))
def test_every_month(guide: Guide, stand: Callable[..., Stack]) -> None:
    with on_call() as people:
        made = ready(stand(guide), people)
        before, there, services = picture(made.server, made.database), databases(made.server), made.states()
        ran = made.program.run("apply", *made.arguments("restore-test")[:3])
        assert ran.code == 0, ran.said
        tested = {step: made.program.outputs(step) for step in ("newest", "older", "pick_older", "sample_older")}
        assert tested["newest"]["tables_counted"] == tested["older"]["tables_counted"] + 1, "two different backups"
        assert tested["newest"]["rows"] == tested["older"]["rows"] + 1
        assert (tested["pick_older"]["among"], tested["sample_older"]["values"]) == (1, ["200"])
        assert "docker exec -it" in tested["newest"]["connect"]
        finished = made.program.finished()
        assert finished["rto"]["met"] and finished["rpo"]["met"]
        assert "succeeded" in people.told[-1]

        table = made.sql(f"SELECT count(*) FROM {guide.probe}")[0][0]
        assert table > 0
        failed = made.program.run("apply", *made.arguments("restore-test")[:3], "-i", "sample_of=signed_by_nobody")
        assert failed.code == 1
        assert "sample_newest" in people.told[-1] and "failed" in people.told[-1]
        assert picture(made.server, made.database) == before, "the live database is as it was"
        assert databases(made.server) == there, "no copy is left"
        assert made.states() == services, "and no service was touched"


def answers(made: Stack) -> bool:
    """A child that PostgreSQL's first process does not know, and that a signal ended, makes it restart."""
    try:
        return bool(made.sql("SELECT 1", "postgres"))
    except psycopg.OperationalError:
        return False


def begun(made: Stack) -> list[dict[str, Any]]:
    """What the newest run has done so far; nothing where it has no journal yet."""
    try:
        return made.program.events()
    except (OSError, IndexError):
        return []


def more_runs(made: Stack, than: int) -> bool:
    """Whether the next run is there."""
    return len(made.program.runs) > than


@pytest.mark.parametrize("local", [True, False], ids=["here", "in a container"])
def test_killed_or_interrupted_and_resumed_no_copy_is_left(stand: Callable[..., Stack], local: bool) -> None:
    chance = random.Random(SEED)
    print(f"RUNBOOK_SEED={SEED}")
    with on_call() as people:
        made = ready(stand(CIVICQ, local=local), people)
        there, before = databases(made.server), picture(made.server, made.database)
        whole = made.program.run("apply", *made.arguments("restore-test")[:3])
        assert whole.code == 0, whole.said
        clean_s = made.program.finished()["duration_s"]
        for part in range(KILLS):
            known = len(made.program.runs)
            engine = made.program.start("apply", *made.arguments("restore-test")[:3])
            until(partial(more_runs, made, known), WITHIN_S, "the run is there")
            until(lambda: any(event["event"] == "step.started" for event in begun(made)), WITHIN_S, "the run begins")
            time.sleep(clean_s * (part + chance.random()) / KILLS)
            if part == 0:
                kill(Victim.EVERYTHING, engine, made.program.directory(), made)
                until(lambda: answers(made), WITHIN_S, "the server answers")
            else:
                # the second interrupt ends what runs; one that meets the end of the run finds nothing to interrupt
                for _ in range(2 if part == 1 else 1):
                    engine.send_signal(signal.SIGINT)
                    time.sleep(0.1)
                assert engine.wait(3 * WITHIN_S) in (
                    0,
                    130,
                    -signal.SIGINT,
                )  # the last: of an interpreter that is on its way out
            if not any(event["event"] == "run.finished" for event in made.program.events()):
                resumed = made.program.run("resume", made.program.last)
                assert resumed.code == 0, resumed.said
            assert databases(made.server) == there, "no copy is left"
            assert "succeeded" in people.told[-1]
        assert picture(made.server, made.database) == before
