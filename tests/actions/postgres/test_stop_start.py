"""Stopping and starting a server: what is seen, and the operations that follow; nothing where nothing is to be done."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from runbook.action import CheckFailed, Done, Effect, Role, Scope, roles
from runbook.actions.postgres.instance import Manner, held_manner
from runbook.actions.postgres.start import Start, StartFacts, StartInputs
from runbook.actions.postgres.stop import Stop, StopFacts, StopInputs
from runbook.errors import Refused
from runbook.host import Compose, Docker, Local, Ssh
from runbook.operation import Call, Process, Wait, Write
from runbook.system import Postgres

SCOPE = Scope("r1", "stop", datetime(2026, 2, 14, tzinfo=UTC), "/run/r1", "here", False, {})
HERE = Postgres(type="postgres", key="db", user="civicq", database="civicq")
THERE = HERE.model_copy(update={"host": Docker("civicq-postgres-prod")})
SERVICE = HERE.model_copy(update={"host": Compose("civicq", "postgres")})
FAR = HERE.model_copy(update={"host": Ssh("db.example.org")})
MANNER = Manner("/var/lib/pg", "postgres", "/usr/lib/postgresql/15/bin", ("-c", "port=5433"), "/var/log/pg.log")
RUNS = StopFacts(ran=True, manner=MANNER, identifier="73", bytes=10, runs=True)
DOWN = StartFacts(was_down=True, manner=MANNER, runs=False, answers=False)


def names(operations: tuple[object, ...]) -> list[str]:
    return [str(getattr(one, "name", "")) for one in operations]


@pytest.mark.parametrize("db", [HERE, THERE, SERVICE, FAR])
def test_a_server_that_is_down_is_left_so(db: Postgres) -> None:
    assert Stop().plan(db, StopInputs(), replace(RUNS, runs=False), SCOPE) == ()


def test_here_it_is_a_fast_shutdown_by_the_owner() -> None:
    remember, stop = Stop().plan(HERE, StopInputs(), RUNS, SCOPE)
    assert isinstance(remember, Write)
    assert remember.content == "/var/lib/pg\n"
    assert remember.path.startswith("/run/r1/")
    assert isinstance(stop, Process)
    assert (stop.user, stop.host) == ("postgres", Local())
    assert stop.argv[:2] == ("/usr/lib/postgresql/15/bin/pg_ctl", "stop")
    assert {"--pgdata=/var/lib/pg", "--mode=fast", "--wait"} <= set(stop.argv)


@pytest.mark.parametrize("db", [THERE, SERVICE])
def test_a_container_is_stopped_with_its_server(db: Postgres) -> None:
    stop = Stop().plan(db, StopInputs(timeout_s=120), RUNS, SCOPE)[-1]
    assert isinstance(stop, Call)
    assert (stop.operation, stop.host) == ("stop", db.host)
    assert dict(stop.arguments.items) == {"timeout_s": 120}
    assert stop.expect[0].value == "exited\ncreated\ndead"


def test_a_service_managers_command_is_waited_for() -> None:
    inputs = StopInputs(stop=("systemctl", "stop", "postgresql"))
    operations = Stop().plan(HERE, inputs, RUNS, SCOPE)
    assert names(operations) == ["remember", "stop_server", "gone"]
    assert isinstance(operations[1], Process)
    assert operations[1].argv == ("systemctl", "stop", "postgresql")
    assert isinstance(operations[2], Wait)
    assert operations[2].until[0].value == 3, "pg_ctl status: no server runs"


def test_what_is_kept_for_the_release() -> None:
    kept = roles(RUNS, Role.PINNED)
    assert set(kept) == {"ran", "manner", "identifier", "bytes"}
    assert held_manner(kept) == MANNER
    assert held_manner({}) is None
    assert held_manner(None) is None
    assert held_manner({"running": []}) is None


def test_a_server_that_came_back_fails_the_stop() -> None:
    with pytest.raises(CheckFailed) as failed:
        Stop().verify(None, HERE, StopInputs(), Done(RUNS, {}))  # type: ignore[arg-type]
    assert failed.value.problems[0].code == "E692"
    out = Stop().verify(None, HERE, StopInputs(), Done(replace(RUNS, runs=False), {}))  # type: ignore[arg-type]
    assert (out.data_directory, out.system_identifier, out.bytes, out.ran) == ("/var/lib/pg", "73", 10, True)
    assert Stop().expect(HERE, StopInputs(), RUNS) == out
    assert Stop().expect(HERE, StopInputs(), Stop().assume(HERE, StopInputs(), SCOPE)) is None


def test_the_way_back_of_a_stop() -> None:
    stopped = replace(RUNS, runs=False)
    assert names(Stop().undo(HERE, StopInputs(), stopped, SCOPE)) == ["start_server", "answers"]
    assert Stop().undo(HERE, StopInputs(), replace(stopped, ran=False), SCOPE) == ()
    assert Stop().undo(HERE, StopInputs(), RUNS, SCOPE) == ()


def test_here_it_is_started_as_it_was() -> None:
    start, answers = Start().plan(HERE, StartInputs(within="2m"), DOWN, SCOPE)
    assert isinstance(start, Process)
    assert (start.user, start.daemon) == ("postgres", True)
    assert {"--options=-c port=5433", "/var/log/pg.log", "--pgdata=/var/lib/pg"} <= set(start.argv)
    assert isinstance(answers, Wait)
    assert answers.deadline_s == 120


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (DOWN, ["start_server", "answers"]),
        (replace(DOWN, runs=True), ["answers"]),
        (replace(DOWN, runs=True, answers=True), []),
    ],
)
@pytest.mark.parametrize("db", [HERE, THERE])
def test_only_what_is_missing_is_done(db: Postgres, facts: StartFacts, expected: list[str]) -> None:
    assert names(Start().plan(db, StartInputs(), facts, SCOPE)) == expected


def test_a_service_managers_command_starts_it() -> None:
    start = Start().plan(HERE, StartInputs(start=("systemctl", "start", "postgresql")), DOWN, SCOPE)[0]
    assert isinstance(start, Process)
    assert start.argv == ("systemctl", "start", "postgresql")


def test_a_container_has_no_commands_of_its_own() -> None:
    command = ("systemctl", "stop", "postgresql")
    with pytest.raises(Refused, match="no commands of its own"):
        Stop().observe(None, THERE, StopInputs(stop=command), SCOPE)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="no commands of its own"):
        Start().observe(None, THERE, StartInputs(start=command), SCOPE)  # type: ignore[arg-type]


def test_a_server_that_does_not_answer_fails_the_start() -> None:
    with pytest.raises(CheckFailed) as failed:
        Start().verify(None, HERE, StartInputs(), Done(DOWN, {}))  # type: ignore[arg-type]
    assert failed.value.problems[0].code == "E692"
    out = Start().verify(None, HERE, StartInputs(), Done(replace(DOWN, answers=True), {}))  # type: ignore[arg-type]
    assert (out.was_down, out.data_directory) == (True, "/var/lib/pg")


def test_times_are_durations() -> None:
    with pytest.raises(ValueError, match="duration"):
        StartInputs(within="soon")


def test_what_they_are() -> None:
    assert Stop.holds
    assert (Stop.effect, Start.effect) == (Effect.CHANGES, Effect.CHANGES)
    assert (Stop.name, Start.name) == ("postgres.stop", "postgres.start")
