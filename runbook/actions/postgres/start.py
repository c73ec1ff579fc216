"""Starting the server of a cluster, as it was started before."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Look, Outputs, Scope, current, pinned
from runbook.actions.postgres.instance import Manner, answering, held_manner, read_instance, refuse_commands
from runbook.actions.postgres.stop import started
from runbook.errors import Problem
from runbook.operation import Operations
from runbook.system import DurationField, Postgres
from runbook.units import parse_duration


class StartInputs(Inputs):
    """How, and how patiently."""

    start: tuple[str, ...] = Field(
        default=(), description="Command that starts the server; default: pg_ctl, as it was started, or Docker"
    )
    within: DurationField = Field(default="10m", description="How long it may take until the server takes connections")


@dataclass(frozen=True, slots=True)
class StartFacts:
    """``was_down``: as first seen; ``runs``, ``answers``: now."""

    was_down: bool = pinned()
    manner: Manner = current()
    runs: bool = current()
    answers: bool = current()


class StartedServer(Outputs):
    """The server that answers."""

    was_down: bool = Field(description="Whether this step started it")
    data_directory: str = Field(description="Where its data is, on its host")


class Start(Action[Postgres, StartInputs, StartFacts, StartedServer]):
    """Start the server of a cluster, and wait until it takes connections.

    With `releases:` of a `postgres.stop` it is started with the options and the log file that it had. It is started also if it was
    down before: whoever needs it as it was, stopped, leaves this step out. After a crash the server replays its WAL first; `within`
    bounds that. A server that runs is left as it is.
    """

    effect = Effect.CHANGES
    needs_programs = ("pg_ctl",)
    example = """\
- id: start_server
  title: Start the database server
  uses: postgres.start
  on: db
  releases: stop_server
  timeout: 15m
"""

    def observe(self, look: Look, system: Postgres, inputs: StartInputs, scope: Scope) -> StartFacts:
        """The server and its directory."""
        refuse_commands(system, "start", inputs.start)
        known = held_manner(scope.held)
        found = read_instance(look, system, scope, known=known)
        return StartFacts(not found.runs, known or found.manner, found.runs, found.answers)

    def assume(self, system: Postgres, inputs: StartInputs, scope: Scope) -> StartFacts:
        """A server that is down."""
        manner = held_manner(scope.held) or Manner(system.data_directory or "/PGDATA", "postgres", system.binaries)
        return StartFacts(was_down=True, manner=manner, runs=False, answers=False)

    def plan(self, system: Postgres, inputs: StartInputs, facts: StartFacts, scope: Scope) -> Operations:
        """The start, then a wait."""
        if facts.answers:
            return ()
        start = () if facts.runs else started(system, facts.manner, scope, by=inputs.start)
        return (*start, answering(system, scope, parse_duration(inputs.within)))

    def expect(self, system: Postgres, inputs: StartInputs, facts: StartFacts) -> StartedServer | None:
        """Known as soon as the server was looked at."""
        return StartedServer(was_down=facts.was_down, data_directory=facts.manner.directory)

    def recovery(self, system: Postgres, inputs: StartInputs, facts: StartFacts, scope: Scope) -> Operations:
        """A server that ended again since the step was first shown is started all the same."""
        return self.plan(system, inputs, facts, scope)

    def verify(self, look: Look, system: Postgres, inputs: StartInputs, done: Done[StartFacts]) -> StartedServer:
        """It takes connections."""
        if not done.facts.answers:
            detail = f"The server of {done.facts.manner.directory} takes no connections."
            raise CheckFailed(Problem("E692", "the server is not as it should be", detail, "Look at its log."))
        return StartedServer(was_down=done.facts.was_down, data_directory=done.facts.manner.directory)
