"""Stopping the server of a cluster, and remembering how it ran."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Look, Outputs, Scope, current, pinned
from runbook.actions.postgres import cluster, swap
from runbook.actions.postgres.instance import Manner, answering, is_contained, read_instance, refuse_commands
from runbook.actions.postgres.moment import memory
from runbook.actions.postgres.recovery import STOPPED_WITHIN_S, Side, live_started, stopped
from runbook.actions.postgres.server_tools import Tools
from runbook.errors import Problem, Refused
from runbook.operation import Call, Condition, Document, Operations, Service, Test, Wait, Write
from runbook.system import Postgres

ANSWERS_WITHIN_S = 600.0


class StopInputs(Inputs):
    """How, and what becomes of those who are connected."""

    others: Literal["refuse", "end"] = Field(
        default="refuse",
        description="Sessions of others: refuse = they are named and nothing is stopped; end = the stop ends them",
    )
    stop: tuple[str, ...] = Field(default=(), description="Command that stops the server; default: pg_ctl, or Docker")
    timeout_s: int = Field(
        default=300, ge=1, le=3600, description="Seconds that a container may take until it is killed"
    )


@dataclass(frozen=True, slots=True)
class StopFacts:
    """``ran``, ``manner``: as first seen, from which the server is started again; ``bytes``: of the data directory."""

    ran: bool = pinned()
    manner: Manner = pinned()
    identifier: str = pinned()
    bytes: int = pinned()
    runs: bool = current()


class StoppedServer(Outputs):
    """The stopped cluster."""

    ran: bool = Field(description="Whether the server ran before")
    data_directory: str = Field(description="Where its data is, on its host")
    system_identifier: str = Field(description="The cluster's identifier; empty where the server didn't answer")
    bytes: int = Field(description="What the data directory took, as counted while the server ran; 0 = not counted")


class Stop(Action[Postgres, StopInputs, StopFacts, StoppedServer]):
    """Stop the server of a cluster (a fast shutdown), and remember how it was started.

    Whoever else is connected is named, and then nothing is stopped: a service that still writes was forgotten. With `others: end`
    the shutdown ends their sessions. A server in a container is stopped with its container; one that a service manager watches
    needs its command in `stop`. A server that is down already is left as it is. `postgres.start` with `releases:` starts it.
    """

    effect = Effect.CHANGES
    holds = True
    needs_programs = ("pg_ctl",)
    example = """\
- id: stop_server
  title: Stop the database server
  uses: postgres.stop
  on: db
  timeout: 10m
"""

    def observe(self, look: Look, system: Postgres, inputs: StopInputs, scope: Scope) -> StopFacts:
        """The server, its directory, and who else is connected."""
        refuse_commands(system, "stop", inputs.stop)
        found = read_instance(look, system, scope)
        if found.others and inputs.others == "refuse":
            raise Refused(_in_use(system, found.others))
        return StopFacts(found.runs, found.manner, found.identifier, found.bytes, found.runs)

    def assume(self, system: Postgres, inputs: StopInputs, scope: Scope) -> StopFacts:
        """A server that runs."""
        manner = Manner(system.data_directory or "/PGDATA", "postgres", system.binaries)
        return StopFacts(ran=True, manner=manner, identifier="", bytes=0, runs=True)

    def plan(self, system: Postgres, inputs: StopInputs, facts: StopFacts, scope: Scope) -> Operations:
        """One stop, after the place of the data is written down: a stopped server can't be asked for it."""
        if not facts.runs:
            return ()
        remembered = Write(name="remember", path=memory(scope), content=f"{facts.manner.directory}\n")
        return (remembered, *stopping(system, facts.manner, by=inputs.stop, timeout_s=inputs.timeout_s))

    def expect(self, system: Postgres, inputs: StopInputs, facts: StopFacts) -> StoppedServer | None:
        """Known as soon as the server was looked at."""
        return _outputs(facts) if facts.identifier else None

    def recovery(self, system: Postgres, inputs: StopInputs, facts: StopFacts, scope: Scope) -> Operations:
        """A hold that was lost is taken again: somebody has started the server meanwhile."""
        return self.plan(system, inputs, facts, scope)

    def verify(self, look: Look, system: Postgres, inputs: StopInputs, done: Done[StopFacts]) -> StoppedServer:
        """No process, or no running container, is left."""
        if done.facts.runs:
            detail = f"The server of {done.facts.manner.directory} runs still, or again."
            fix = "Find out what starts it (a service manager, a restart policy, a person), and stop that."
            raise CheckFailed(Problem("E692", "the server is not as it should be", detail, fix))
        return _outputs(done.facts)

    def undo(self, system: Postgres, inputs: StopInputs, facts: StopFacts, scope: Scope) -> Operations:
        """Start it, if it ran."""
        if not facts.ran or facts.runs:
            return ()
        return (*started(system, facts.manner, scope), answering(system, scope, ANSWERS_WITHIN_S))


def stopping(db: Postgres, manner: Manner, *, by: tuple[str, ...] = (), timeout_s: int = 300) -> Operations:
    """The stop of a server that runs (a fast shutdown); ``by`` is a service manager's command to use instead."""
    if is_contained(db.host):
        stop = Call(
            name="stop_server",
            service=Service.DOCKER,
            operation="stop",
            arguments=Document((("timeout_s", timeout_s),)),
            host=db.host,
            expect=(Condition("state", Test.ONE_OF, "exited\ncreated\ndead"),),
        )
        return (stop,)
    tools = Tools(manner.programs, db.host, manner.owner)
    given = stopped("stop_server", manner.directory, tools, by=by)
    if not by:
        return (given,)
    status = (tools.program("pg_ctl"), "status", f"--pgdata={manner.directory}")
    gone = Wait(
        name="gone",
        read=tools.run("status", *status, reads=True),
        until=(Condition("exit_code", Test.EQUALS, 3),),
        deadline_s=float(STOPPED_WITHIN_S),
    )
    return (given, gone)


def started(db: Postgres, manner: Manner, scope: Scope, *, by: tuple[str, ...] = ()) -> Operations:
    """The start of a server as it was run before; ``by`` is a service manager's command to use instead."""
    if is_contained(db.host):
        call = Call(
            name="start_server",
            service=Service.DOCKER,
            operation="start",
            arguments=Document(()),
            host=db.host,
        )
        return (call,)
    where = cluster.paths(manner.directory, swap.own_name(scope))
    log = manner.log or f"{manner.directory}/server.log"
    tools = Tools(manner.programs, db.host, manner.owner)
    start = live_started(where, Side(db.port, db.user, manner.options), log, tools, by=by)
    return (replace(start, name="start_server"),)


def _outputs(facts: StopFacts) -> StoppedServer:
    return StoppedServer(
        ran=facts.ran,
        data_directory=facts.manner.directory,
        system_identifier=facts.identifier,
        bytes=facts.bytes,
    )


def _in_use(db: Postgres, others: tuple[str, ...]) -> Problem:
    listed = "\n".join(f"{who}." for who in others)
    return Problem(
        "E689",
        "others are connected to the server",
        f"Nothing was stopped. Connected to {db.key or 'the server'}:\n{listed}",
        "Stop the services that they are (add them to the writers), or give `others: end` if they may be cut off.",
    )
