"""Recovering a whole cluster to a moment, beside the live one, from a base backup and the WAL archive."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Literal

from pydantic import AwareDatetime, Field, field_validator

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Look, Outputs, Scope, current, guard, pinned
from runbook.actions.backup.layout import directory_of
from runbook.actions.postgres import cluster, load, recovery, swap
from runbook.actions.postgres.client import MAINTENANCE_DATABASE
from runbook.actions.postgres.cluster import Directories, Paths, Place, Server, Stage
from runbook.actions.postgres.moment import (
    Found,
    Sought,
    archive_of,
    memory,
    no_cluster,
    not_shown,
    read_live,
    read_log,
    refuse,
)
from runbook.actions.postgres.recovery import Goal, Side, Tools
from runbook.actions.postgres.surroundings import read_artifact
from runbook.artifact import Artifact
from runbook.errors import Refused
from runbook.operation import Operation, Operations, Write
from runbook.system import Postgres
from runbook.units import parse_duration, show_instant

ADVICE = "Take a new base backup now (postgres.basebackup): later recoveries begin on the new timeline."


class RestoreToTimeInputs(Inputs):
    """From which base backup, to which moment, and what becomes of the copy."""

    artifact: Artifact = Field(description="A base backup (postgres.basebackup) that ended before the target")
    target: AwareDatetime = Field(description="The moment, with its zone: what was committed until then is there")
    mode: Literal["swap", "side"] = Field(
        default="swap", description="swap: it takes the live cluster's place; side: it is left running beside it"
    )
    timeline: str = Field(
        default="latest", pattern=r"^(latest|current|[0-9]+)$", description="Which timeline recovery follows"
    )
    within: str = Field(default="6h", description="How long the recovery may take")
    space_factor: float = Field(
        default=1.2, ge=0, description="Free space that must be there, times the cluster's size"
    )
    stop: tuple[str, ...] = Field(default=(), description="Command that stops the live server; default: pg_ctl")
    start: tuple[str, ...] = Field(default=(), description="Command that starts it; default: pg_ctl, as it was started")

    @field_validator("within")
    @classmethod
    def _duration(cls, value: str) -> str:
        parse_duration(value)
        return value


@dataclass(frozen=True, slots=True)
class RestoreToTimeFacts:
    """The cluster, the directories and the artifact. ``options`` and ``log`` are those that the live server had."""

    system_identifier: str = guard()
    data_directory: str = guard()
    artifact_sha256: str = guard()
    target: str = guard()
    original_inode: int = pinned()
    owner: str = pinned()
    options: tuple[str, ...] = pinned()
    programs: str = pinned()
    log: str = pinned()
    where: Paths = current()
    answers: bool = current()
    data: Place | None = current()
    side: Place | None = current()
    old: Place | None = current()
    partial: bool = current()
    run: bool = current()
    timeline: int = current()

    @property
    def directories(self) -> Directories:
        """For :func:`runbook.actions.postgres.cluster.stage_of`."""
        return Directories(self.data, self.side, self.old, self.partial, self.run, self.original_inode)


class RestoredToTime(Outputs):
    """The recovered cluster."""

    data_directory: str = Field(description="Where it is")
    kept_as: str = Field(description="Where the former data directory is kept; empty with mode side")
    recovery_point: str = Field(
        description="The moment that was asked for (UTC): what was committed until then is there"
    )
    last_transaction: str = Field(description="When the last transaction in it was committed, as the server says")
    timeline: int = Field(description="Its timeline")
    connect: str = Field(description="How to connect to it, as a command")
    advice: str = Field(description="What to do next")


class RestoreToTime(Action[Postgres, RestoreToTimeInputs, RestoreToTimeFacts, RestoredToTime]):
    """Recover the cluster to a moment, beside the live one; prove that it stands there; then swap the data directories.

    The base backup is unpacked beside the data directory, and every file is checked (`pg_verifybackup`). A side server, with a
    private socket and no TCP port, replays the archive and pauses at the target. Only if it stands there, and not beyond, is it
    promoted. With `mode: swap` both servers are stopped, the history of the new timeline goes into the archive, and two renames
    put the recovered directory in the live one's place; the former directory is kept beside it. With `mode: side` it is left
    running, for taking single tables or rows out of it. The archive is a directory (`archive: file://…` of the system) on the
    server's host; archiving must be on. `undo` puts the former directory back.

    A server in a container is its first process, and stopping it stops the container: there only `mode: side` is done. A server
    that a service manager watches needs its commands in `stop` and `start`.
    """

    effect = Effect.DESTROYS
    example = """\
- id: recover
  title: Recover the cluster to the minute before the accident
  uses: postgres.restore_to_time
  on: db
  with: {artifact: "{{ steps.pick.artifact }}", target: "2026-02-14T11:58:00Z"}
  timeout: 6h
  confirm: The present data directory is kept under another name.
"""

    def effect_of(self, inputs: RestoreToTimeInputs) -> Effect:
        """A side cluster is made; a swap replaces the live one."""
        return Effect.CREATES if inputs.mode == "side" else Effect.DESTROYS

    def observe(self, look: Look, system: Postgres, inputs: RestoreToTimeInputs, scope: Scope) -> RestoreToTimeFacts:
        """Directories, lock files, the control file; and the server, where it answers."""
        live = read_live(look, system, scope)
        host, where = system.host, cluster.paths(live.directory, swap.own_name(scope))
        data, side, old = (cluster.read_place(look, host, path) for path in (where.data, where.side, where.old))
        original, at = (old, where.old) if old is not None else (data, where.data)
        if original is None:
            raise Refused(no_cluster(where.data))
        program, options = cluster.read_options(look, host, at)
        folder = system.binaries or posixpath.dirname(program)
        tools = Tools(folder, host, original.owner)
        controldata = tools.program("pg_controldata")
        control = cluster.read_control(look, host, controldata, where.data if data else where.old)
        side = cluster.read_end(look, host, controldata, where.side, side)
        facts = RestoreToTimeFacts(
            system_identifier=control.identifier,
            data_directory=where.data,
            artifact_sha256=read_artifact(look, inputs.artifact, scope),
            target=show_instant(inputs.target),
            original_inode=original.inode,
            owner=original.owner,
            options=options,
            programs=folder,
            log=read_log(look, host, where.data, data),
            where=where,
            answers=live.answers,
            data=data,
            side=side,
            old=old,
            partial=look.file(host, where.partial) is not None,
            run=look.file(host, where.run) is not None,
            timeline=control.timeline,
        )
        if side is None and old is None:
            sought = Sought(inputs.artifact, inputs.target, inputs.space_factor, swapping=inputs.mode == "swap")
            refuse(look, system, sought, live, Found(where, original, control))
        return facts

    def assume(self, system: Postgres, inputs: RestoreToTimeInputs, scope: Scope) -> RestoreToTimeFacts:
        """A running cluster, and nothing left by an earlier attempt."""
        where = cluster.paths(system.data_directory or "/PGDATA", swap.own_name(scope))
        data = Place(inode=1, device=1, owner="postgres", server=Server.RUNNING, signal=False)
        return RestoreToTimeFacts(
            system_identifier="",
            data_directory=where.data,
            artifact_sha256=inputs.artifact.sha256,
            target=show_instant(inputs.target),
            original_inode=data.inode,
            owner=data.owner,
            options=(),
            programs=system.binaries,
            log="",
            where=where,
            answers=True,
            data=data,
            side=None,
            old=None,
            partial=False,
            run=False,
            timeline=1,
        )

    def plan(
        self, system: Postgres, inputs: RestoreToTimeInputs, facts: RestoreToTimeFacts, scope: Scope
    ) -> Operations:
        """What the directories leave to do: see the table in :mod:`runbook.actions.postgres.cluster`."""
        step = _Step(system, inputs, facts, scope)
        match cluster.stage_of(facts.directories, facts.where):
            case Stage.NOTHING:
                return (*step.swept(), *step.made(), *step.recovered(Server.STOPPED), *step.ended(Server.RUNNING))
            case Stage.RECOVERING:
                server = facts.side.server if facts.side else Server.STOPPED
                return (*step.recovered(server), *step.ended(Server.RUNNING))
            case Stage.CUT_OFF:
                again = (*step.made(), *step.recovered(Server.STOPPED), *step.ended(Server.RUNNING))
                return (*step.removed(), *again)
            case Stage.PROMOTED:
                server = facts.side.server if facts.side else Server.STOPPED
                return (*step.promotion_over(server), *step.ended(server))
            case Stage.HALF_SWAPPED:
                return (step.into_place(), step.live_started(), *step.cleaned())
            case Stage.SWAPPED:
                runs = facts.data is not None and facts.data.server is Server.RUNNING
                return (*(() if runs else (step.live_started(),)), *(step.cleaned() if facts.run else ()))

    def verify(
        self, look: Look, system: Postgres, inputs: RestoreToTimeInputs, done: Done[RestoreToTimeFacts]
    ) -> RestoredToTime:
        """A server runs in the recovered directory, is no standby, and its history is in the archive."""
        facts, where = done.facts, done.facts.where
        swapped = inputs.mode == "swap"
        path = where.data if swapped else where.side
        place = cluster.read_place(look, system.host, path)
        if place is None or place.signal or place.server is not Server.RUNNING or place.inode == facts.original_inode:
            raise CheckFailed(not_shown(path, "no promoted server runs there"))
        tools = Tools(facts.programs, system.host, facts.owner)
        control = cluster.read_control(look, system.host, tools.program("pg_controldata"), path)
        history = f"{archive_of(system)}/{control.timeline:08X}.history"
        if swapped and look.file(system.host, history) is None:
            raise CheckFailed(not_shown(path, f"{history} is missing: a later recovery would not find this timeline"))
        socket = f"psql -h {where.run} -p {system.port} -U {system.user}"
        return RestoredToTime(
            data_directory=path,
            kept_as=where.old if swapped else "",
            recovery_point=facts.target,
            last_transaction=str(done.results.get("proof", {}).get("stdout", "")).strip(),
            timeline=control.timeline,
            connect=f"psql -p {system.port} -U {system.user}" if swapped else f"sudo -u {facts.owner} {socket}",
            advice=ADVICE
            if swapped
            else f"When it is no longer needed: stop it, then remove {where.side} and {where.run}.",
        )

    def undo(
        self, system: Postgres, inputs: RestoreToTimeInputs, facts: RestoreToTimeFacts, scope: Scope
    ) -> Operations | None:
        """The former directory gets its name and its server back; the recovered one is kept beside it, or removed before a swap."""
        step = _Step(system, inputs, facts, scope)
        side = facts.side.server if facts.side else Server.STOPPED
        match cluster.stage_of(facts.directories, facts.where):
            case Stage.NOTHING:
                return (*step.swept(), *step.live_again())
            case Stage.RECOVERING | Stage.CUT_OFF | Stage.PROMOTED:
                return (*step.side_stopped(side), *step.live_again(), *step.removed())
            case Stage.HALF_SWAPPED:
                return (step.out_of_old(), step.live_started())
            case Stage.SWAPPED:
                return (*step.live_stopped(), step.out_of_data(), step.out_of_old(), step.live_started())


@dataclass(frozen=True, slots=True)
class _Step:
    """The operations of one step, with the names and tools that its facts give."""

    system: Postgres
    inputs: RestoreToTimeInputs
    facts: RestoreToTimeFacts
    scope: Scope

    @property
    def tools(self) -> Tools:
        return Tools(self.facts.programs, self.system.host, self.facts.owner)

    @property
    def own(self) -> str:
        return swap.own_name(self.scope)

    @property
    def goal(self) -> Goal:
        archive, within_s = archive_of(self.system), parse_duration(self.inputs.within)
        # recovery_target_time takes an offset, but no Z.
        target = self.facts.target.replace("T", " ").replace("Z", "+00")
        return Goal(target, self.inputs.timeline, archive, within_s)

    @property
    def side(self) -> Side:
        return Side(self.system.port, self.system.user, self.facts.options)

    def swept(self) -> Operations:
        where, found = self.facts.where, self.facts
        partial = (recovery.removed("sweep_side", where.partial, self.own, self.tools),) if found.partial else ()
        run = (recovery.removed("sweep_run", where.run, self.own, self.tools),) if found.run else ()
        return (*partial, *run)

    def made(self) -> Operations:
        artifact = self.inputs.artifact
        directory = directory_of(load.store_of(artifact, self.scope))
        pieces = artifact.manifest.pieces if artifact.manifest else ()
        sha256 = next((piece.sha256 for piece in pieces if piece.path == artifact.name), "")
        at = self.system.connection(application=self.scope.application, database=MAINTENANCE_DATABASE)
        switched = recovery.switched(at, self.goal, self.tools) if self.facts.answers else ()
        remembered = Write(name="remember", path=memory(self.scope), content=f"{self.facts.where.data}\n")
        return (
            remembered,
            *switched,
            *recovery.extracted(f"{directory}/{artifact.name}", sha256, self.facts.where, self.tools),
        )

    def recovered(self, server: Server) -> Operations:
        where = self.facts.where
        unlocked = (recovery.unlocked(where.side, self.own, self.tools),) if server is Server.STALE else ()
        started = () if server is Server.RUNNING else recovery.started(where, self.side, self.goal, self.tools)
        awaited = recovery.reached(where, self.side, self.goal, self.tools)
        return (*unlocked, *started, *awaited, recovery.promoted(where, self.tools))

    def promotion_over(self, server: Server) -> Operations:
        """The signal is gone; a server that runs may still be writing the end of its recovery, and may not be stopped in that."""
        waits = server is Server.RUNNING and self.inputs.mode == "swap"
        return (recovery.promotion_over(self.facts.where, self.tools),) if waits else ()

    def ended(self, server: Server) -> Operations:
        """After the promotion: the swap, or a side server that runs."""
        where = self.facts.where
        if self.inputs.mode == "side":
            if server is Server.RUNNING:
                return ()
            unlocked = (recovery.unlocked(where.side, self.own, self.tools),) if server is Server.STALE else ()
            return (*unlocked, *recovery.started(where, self.side, self.goal, self.tools))
        return (
            *self.side_stopped(server),
            *self.live_stopped(),
            recovery.history_archived(where.side, self.goal, self.own, self.tools),
            recovery.renamed("set_aside", where.data, where.old, self.tools),
            self.into_place(),
            self.live_started(),
            *self.cleaned(),
        )

    def side_stopped(self, server: Server) -> Operations:
        if server is Server.RUNNING:
            return (recovery.stopped("stop_side", self.facts.where.side, self.tools),)
        return (recovery.unlocked(self.facts.where.side, self.own, self.tools),) if server is Server.STALE else ()

    def live_stopped(self) -> Operations:
        if self.facts.data is None or self.facts.data.server is not Server.RUNNING:
            return ()
        return (recovery.stopped("stop_live", self.facts.where.data, self.tools, by=self.inputs.stop),)

    def live_started(self) -> Operation:
        log = self.facts.log or f"{self.facts.where.data}/server.log"
        return recovery.live_started(self.facts.where, self.side, log, self.tools, by=self.inputs.start)

    def live_again(self) -> Operations:
        runs = self.facts.data is not None and self.facts.data.server is Server.RUNNING
        return () if runs else (self.live_started(),)

    def into_place(self) -> Operation:
        return recovery.renamed("into_place", self.facts.where.side, self.facts.where.data, self.tools)

    def out_of_data(self) -> Operation:
        return recovery.renamed("out_of_place", self.facts.where.data, self.facts.where.side, self.tools)

    def out_of_old(self) -> Operation:
        return recovery.renamed("put_back", self.facts.where.old, self.facts.where.data, self.tools)

    def cleaned(self) -> Operations:
        return (recovery.removed("clean", self.facts.where.run, self.own, self.tools),)

    def removed(self) -> Operations:
        return (
            recovery.removed("remove_side", self.facts.where.side, self.own, self.tools),
            *self.swept(),
        )
