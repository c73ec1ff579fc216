"""Processes in a container whose PID 1 is the database server itself, as the official image has it without ``init: true``.

Whatever loses its parent there becomes a child of the postmaster, and a child that a signal ended (or that exits with another
code than 0 and 1) is a crashed backend to it: it ends every session and recovers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from runbook.host import Docker
from runbook.operation import Process
from runbook.transports.outcome import Failed, Lost, Outcome, Succeeded
from runbook.transports.world import World
from tests.fixtures.containers import PostgresContainer, exec_in
from tests.fixtures.patience import PATIENCE_S, eventually
from tests.transports.conftest import Uses

pytestmark = pytest.mark.docker
RESET = ("terminating any other active server processes", "database system was not properly shut down")


@dataclass
class Beside:
    """A server in a container, and a client's session that is open all the while."""

    pg: PostgresContainer
    session: psycopg.Connection[tuple[Any, ...]]

    def process(self, script: str) -> Process:
        return Process(name="p", argv=("sh", "-c", script), host=Docker(str(self.pg.container.name)))

    def processes(self) -> list[tuple[str, str, str]]:
        """Pid, parent and words of what runs in the container and is not the server's."""
        rows = [line.split(None, 2) for line in self.ran("ps", "-eo", "pid=,ppid=,args=").splitlines()]
        own = ("postgres", "ps -eo", "pg_isready")
        return [(row[0], row[1], row[2]) for row in rows if not any(word in row[2] for word in own)]

    def ran(self, *argv: str) -> str:
        code, output = exec_in(self.pg.container, argv)
        assert code == 0, output
        return output.decode()

    def assert_untouched(self) -> None:
        """The postmaster saw no crash, and the session that was there before still answers."""
        log = self.pg.container.logs().decode(errors="replace")
        assert not [line for line in log.splitlines() if any(word in line for word in RESET)], log[-3000:]
        row = self.session.execute("SELECT pg_backend_pid(), pg_postmaster_start_time()::text").fetchone()
        assert row == (self.session.info.backend_pid, self.started)

    @property
    def started(self) -> str:
        return self.pg.psql("SELECT pg_postmaster_start_time()::text")


@pytest.fixture
def beside(pg_container: PostgresContainer) -> Iterator[Beside]:
    with psycopg.connect(pg_container.dsn(), autocommit=True) as session:
        session.execute("SET timezone = 'UTC'")
        yield Beside(pg_container, session)


def out_of_time(beside: Beside, world: World, uses: Uses, script: str) -> Outcome:
    """What comes of it where its time is over after it has begun there: an engine that is busy gets more of it."""
    for number, within_s in enumerate((2.0, 10.0, 60.0)):
        outcome = world.perform(beside.process(script), uses(f"step/1/{number}/op", within_s=within_s))
        if isinstance(outcome, Lost):
            break
    return outcome


def test_pid_1_is_the_server(beside: Beside) -> None:
    assert beside.ran("cat", "/proc/1/comm") == "postgres\n"


@pytest.mark.parametrize(
    "script",
    [
        "sleep 100 | sleep 101 | sleep 102",
        "trap '' TERM; sleep 100 & sleep 101; sleep 102",
        "(setsid sh -c 'sleep 100; exit 3' &); exec sleep 101",
        "psql -U civicq -c 'SELECT pg_sleep(100)'; sleep 101",
    ],
    ids=["pipeline", "stubborn", "daemon", "client"],
)
def test_a_process_that_is_out_of_time_ends_no_session(beside: Beside, world: World, uses: Uses, script: str) -> None:
    outcome = out_of_time(beside, world, uses, script)
    assert isinstance(outcome, Lost), outcome
    eventually(lambda: not beside.processes())
    beside.assert_untouched()


def test_the_same_where_no_interpreter_is_at_hand(beside: Beside, world: World, uses: Uses) -> None:
    beside.ran("mv", "/usr/bin/perl", "/usr/bin/perl.away")
    outcome = out_of_time(beside, world, uses, "sleep 100 | sleep 101 | sleep 102")
    assert isinstance(outcome, Lost), outcome
    assert "init: true" not in outcome.problem.detail
    eventually(lambda: not beside.processes())
    beside.assert_untouched()


def test_what_a_process_leaves_running_ends_no_session_later(beside: Beside, world: World, uses: Uses) -> None:
    stays = "until [ -e /tmp/go ]; do sleep 0.1; done; exit 3"
    leaves = beside.process(f"setsid sh -c '{stays}' >/dev/null 2>&1 </dev/null & exit 0")
    outcome = world.perform(leaves, uses(within_s=PATIENCE_S))
    assert isinstance(outcome, Succeeded), "a process that leaves another behind is not waited for"
    assert [words for _, _, words in beside.processes() if "/tmp/go" in words]
    beside.ran("touch", "/tmp/go")
    eventually(lambda: not beside.processes())
    beside.assert_untouched()


def test_input_output_and_exit_code_are_as_ever(beside: Beside, world: World, uses: Uses) -> None:
    given = Process(
        name="p",
        argv=("sh", "-c", "cat; echo err >&2; exit 5"),
        host=Docker(str(beside.pg.container.name)),
        stdin="in\n",
        ok_codes=(5,),
    )
    outcome = world.perform(given, uses())
    assert isinstance(outcome, Succeeded), outcome
    assert (outcome.fields["exit_code"], outcome.fields["stdout"], outcome.fields["stderr"]) == (5, "in\n", "err\n")
    failed = world.perform(beside.process("exit 3"), uses("step/1/2/op"))
    assert isinstance(failed, Failed), failed
    eventually(lambda: not beside.processes())
    beside.assert_untouched()
