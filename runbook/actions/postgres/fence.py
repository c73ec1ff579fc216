"""Fencing an old primary: it takes no writes any more, and neither does a server that somebody starts in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Look, Outputs, Scope, current, pinned
from runbook.actions.postgres import fencing
from runbook.actions.postgres.cluster import Server
from runbook.actions.postgres.fencing import CLEAN, UNMARKED, Directory, Seen
from runbook.actions.postgres.moment import memory
from runbook.actions.postgres.replication import known_lsn, not_as_it_should
from runbook.actions.postgres.server_tools import Tools
from runbook.errors import Problem, Refused
from runbook.host import LOCAL
from runbook.operation import Operation, Operations, Write
from runbook.placeholder import Foreseeable, stand_for
from runbook.system import Postgres

NOBODY = Seen(None, None)


class FenceInputs(Inputs):
    """How it is stopped, and who vouches for a machine that can't be reached."""

    attested: str = Field(
        default="", description="Where its machine can't be reached: who has made sure that it is off, and how"
    )
    clean: bool = Field(default=False, description="Fail unless it was shut down in an orderly way: for a switchover")
    mode: Literal["fast", "immediate"] = Field(
        default="fast", description="How pg_ctl stops it; immediate: one that hangs, without sending what standbys lack"
    )
    stop: tuple[str, ...] = Field(
        default=(), description="Command that stops the server; default: pg_ctl, or its container"
    )
    start: tuple[str, ...] = Field(default=(), description="Command that starts it, for `undo`; default: pg_ctl")


@dataclass(frozen=True, slots=True)
class FenceFacts:
    """The server as it was (pinned) and as it is. ``path`` is '' where its files can't be seen."""

    path: str = pinned()
    owner: str = pinned()
    programs: str = pinned()
    options: tuple[str, ...] = pinned()
    seen: Seen = current()


class Fenced(Outputs):
    """How it is kept from taking writes."""

    data_directory: str = Field(description="Its data directory; empty where it could not be seen")
    how: Foreseeable[str] = Field(description="marked and stopped, read-only, or attested")
    attested: str = Field(description="Who vouched for it, where it could not be seen")
    state: Foreseeable[str] = Field(description="What its control file says: shut down, or in production after a crash")
    clean: Foreseeable[bool] = Field(description="Whether it was shut down in an orderly way")
    end: Foreseeable[str] = Field(
        description="Where its WAL ends (LSN of the shutdown checkpoint, its last record); empty where that isn't known"
    )


class Fence(Action[Postgres, FenceInputs, FenceFacts, Fenced]):
    """Keep an old primary from taking writes before a standby is promoted, so that there are never two.

    `standby.signal` is written into its data directory first, then the server is stopped (fast: what standbys that are connected
    lack is sent to them). From then on whoever starts it, a service manager or a restart policy too, gets a server that is
    read-only. A server that crashed is only marked. Where its machine can't be reached, nothing can be done from here, and nothing
    be known: the step is refused unless `attested` says who has made sure that it is off, and how. `undo` takes the mark away and
    starts the server.
    """

    effect = Effect.CHANGES
    needs_programs = ("pg_controldata", "pg_ctl")
    example = """\
- id: fence
  title: Keep the old primary from taking writes
  uses: postgres.fence
  on: primary
  with: {attested: "{{ inputs.attested }}"}
  timeout: 15m
"""

    def observe(self, look: Look, system: Postgres, inputs: FenceInputs, scope: Scope) -> FenceFacts:
        """Whether it answers, its directory, its lock file, and the mark."""
        known = (look.text(LOCAL, memory(scope)) or "").partition("\n")[0]
        seen = fencing.see(look, system, scope, known)
        if seen.directory is None and (seen.node is not None or seen.refuses or not inputs.attested):
            _refuse_unseen(system, seen)
        found = seen.directory
        if found is None:
            return FenceFacts("", "", "", (), seen)
        return FenceFacts(found.path, found.owner, found.programs, found.options, seen)

    def assume(self, system: Postgres, inputs: FenceInputs, scope: Scope) -> FenceFacts:
        """A primary that runs."""
        path = system.data_directory or "/PGDATA"
        found = Directory(path, "postgres", system.binaries, (), Server.RUNNING, marked=False)
        return FenceFacts(path, found.owner, found.programs, (), Seen(None, found))

    def plan(self, system: Postgres, inputs: FenceInputs, facts: FenceFacts, scope: Scope) -> Operations:
        """The mark, then the stop; each state in between is safe to be killed in."""
        found = facts.seen.directory
        if found is None:
            return ()
        tools = Tools(facts.programs, system.host, facts.owner)
        control = fencing.controldata(facts.path, tools, scope)
        if facts.seen.fenced:
            return () if found.runs else (control,)
        remember = Write(name="remember", path=memory(scope), content=f"{facts.path}\n")
        mark: tuple[Operation, ...] = () if found.marked else (fencing.marked(found, tools, scope),)
        stop: tuple[Operation, ...] = (
            (fencing.stopped(facts.path, tools, inputs.stop, inputs.mode),) if found.runs else ()
        )
        # one that dies again and again can't be entered, and takes no writes: it is stopped first
        ordered = (*mark, *stop) if found.entered else (*stop, *mark)
        return (remember, *ordered, control)

    def recovery(self, system: Postgres, inputs: FenceInputs, facts: FenceFacts, scope: Scope) -> Operations:
        """A server that ended since the step was first shown, or came back, is marked and stopped all the same."""
        return self.plan(system, inputs, facts, scope)

    def foresee(self, system: Postgres, inputs: FenceInputs, facts: FenceFacts, scope: Scope) -> Fenced:
        """Where it is; how it ended shows only then."""
        late = {name: stand_for(f"steps.{scope.step}.{name}") for name in ("how", "state", "clean", "end")}
        return Fenced.model_validate({"data_directory": facts.path, "attested": inputs.attested, **late})

    def verify(self, look: Look, system: Postgres, inputs: FenceInputs, done: Done[FenceFacts]) -> Fenced:
        """Nothing answers that takes writes, and nothing that is started there would."""
        seen, facts = done.facts.seen, done.facts
        if seen.writable or (seen.directory is not None and not seen.fenced):
            who = system.key or "the old primary"
            raise CheckFailed(not_as_it_should(f"{who} still takes writes.", "Find out what started it again."))
        control = fencing.parse_control(done.results)
        state = control.get("Database cluster state", "")
        clean = state in CLEAN
        if inputs.clean and not clean:
            why = (
                f"{facts.path}: its control file says {state or 'nothing'}, so its last commits may not have been sent."
            )
            fix = "Take the mark away, start it, let it recover, and switch over again; or use the failover plan."
            raise CheckFailed(not_as_it_should(why, fix))
        runs = seen.directory is not None and seen.directory.runs
        return Fenced(
            data_directory=facts.path,
            how="attested" if seen.directory is None else "read-only" if runs else "marked and stopped",
            attested=inputs.attested if seen.directory is None else "",
            state=state,
            clean=clean,
            end=_position(control.get("Latest checkpoint location", "")) if clean else "",
        )

    def undo(self, system: Postgres, inputs: FenceInputs, facts: FenceFacts, scope: Scope) -> Operations | None:
        """The mark goes, and the server is started."""
        found = facts.seen.directory
        if found is None:
            return None
        tools = Tools(facts.programs, system.host, facts.owner)
        stop = (fencing.stopped(facts.path, tools, inputs.stop),) if found.runs else ()
        unmark = fencing.at_rest("unmark", UNMARKED, (facts.path,), tools, scope)
        return (*stop, unmark, fencing.started(facts.path, facts.options, tools, inputs.start))


def _position(text: str) -> str:
    return text if known_lsn(text) is not None else ""


def _refuse_unseen(system: Postgres, seen: Seen) -> None:
    who = system.key or "the old primary"
    if seen.node is not None:
        why = f"{who} answers, but its data directory {seen.node.directory} can't be seen on {system.host}."
        fix = "Run this on that server's machine, or stop it there and keep it from starting again."
    elif seen.refuses:
        why, fix = (
            fencing.NOT_LET_IN.format(who=who),
            "Correct its user, password and `data_directory` in the environment.",
        )
    else:
        why = (
            f"{who} doesn't answer, and its files can't be seen on {system.host}: it may be cut off from us alone, and take "
            "writes from others."
        )
        fix = (
            "Make sure that it is off (power, network, provider), then give the input: attested: WHO, AND HOW. "
            "If it is on this host, write `data_directory` of the system."
        )
    raise Refused(Problem("E696", "the old primary is not fenced", why, fix))
