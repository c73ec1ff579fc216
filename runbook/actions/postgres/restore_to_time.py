"""Recovering a whole cluster to a moment, beside the live one, from a base backup and the WAL archive."""

from __future__ import annotations

import posixpath
from dataclasses import replace

from pydantic import Field

from runbook.action import Action, Attempt, CheckFailed, Done, Effect, Look, Outputs, Scope
from runbook.actions.postgres import cluster, collations, configuration, in_container, recovery, swap, tablespaces
from runbook.actions.postgres.cluster import NOTHING_THERE, Paths, Place, Server, Stage
from runbook.actions.postgres.moment import (
    Found,
    Sought,
    lacking,
    memory,
    not_shown,
    read_live,
    read_log,
    refuse,
)
from runbook.actions.postgres.origin import New, Origin, read_new, read_origin
from runbook.actions.postgres.recovery import CHECKED
from runbook.actions.postgres.recovery_step import RestoreToTimeFacts, RestoreToTimeInputs, Step
from runbook.actions.postgres.replication import waiting
from runbook.actions.postgres.server_tools import Tools
from runbook.actions.postgres.surroundings import read_artifact
from runbook.actions.postgres.target import told
from runbook.actions.postgres.wal import SEGMENT_BYTES, History, parse_name
from runbook.actions.postgres.wal_source import archive_of, local_archive, spool_of
from runbook.actions.postgres.whole_cluster import unarchived, with_all
from runbook.host import LOCAL
from runbook.operation import Operations
from runbook.paste import on_host
from runbook.system import Postgres
from runbook.units import show_instant

ADVICE = "Take a new base backup now (postgres.basebackup): later recoveries begin on the new timeline."


class RestoredToTime(Outputs):
    """The recovered cluster."""

    data_directory: str = Field(description="Where it is")
    kept_as: str = Field(description="Where the former data directory is kept; empty with mode side")
    target: str = Field(description="What was asked for, in words")
    recovery_point: str | None = Field(
        description="Up to which moment everything committed is there (UTC): the target, else the last transaction's, if known"
    )
    last_transaction: str = Field(description="When the last transaction in it was committed (UTC), as the server says")
    lsn: str = Field(description="Up to which position of the WAL it was recovered")
    address: str = Field(description="Mode side: its socket directory on the server's host; empty with mode swap")
    port: int = Field(description="Its port (of the socket's name, with mode side)")
    timeline: int = Field(description="Its timeline")
    connect: str = Field(description="How to connect to it, as a command")
    advice: str = Field(description="What to do next")
    tablespaces: tuple[str, ...] = Field(
        default=(),
        description="Where its tablespaces are, and where the former cluster's are, which are kept: NAME: PLACE",
    )


class RestoreToTime(Action[Postgres, RestoreToTimeInputs, RestoreToTimeFacts, RestoredToTime]):
    """Recover the cluster to a moment, beside the live one; prove that it stands there; then swap the data directories.

    The base backup is unpacked beside the data directory, as far as its manifest says that it goes (if that fails, what came out is
    removed), and every file is checked (`pg_verifybackup`). A side server, with a private socket and no TCP port, replays the
    archive and pauses at the target. Only if it stands there, and not beyond, is it promoted; jobs of a schedule (pg_cron and
    others that are known) are done by the live server alone. With `mode: swap` both servers are stopped, the history of the new
    timeline goes into the archive, and two renames put the recovered directory in the live one's place; the former directory is
    kept beside it. Configuration in the data directory (settings, `pg_hba.conf`, certificates) goes back too, and it is said which
    files differ from the former ones. With `mode: side` it is left running, for taking single tables or rows out of it. The archive
    is a directory (`archive: file://…` of the system) on the server's host; archiving must be on. `undo` puts the former directory
    back.

    Tablespaces of the cluster's own (of a server on this machine) are unpacked into directories beside the live ones, which carry
    the run's name, and stay there: the links to them lie in the data directory and are exchanged with it, so that the former
    cluster keeps its own. One that was made after the base backup is refused, since recovery would take the live one's directory.

    On a new machine, where nothing is, `new: true` recovers straight into the place of the data directory: give `data_directory`
    and `binaries` of the system, and `options` where the configuration lies elsewhere than in the data.

    A server that a service manager watches needs its commands in `stop` and `start`. A server in a container is stopped and started
    with its container; a one-off container of the same image, with its volumes, moves the entries of the data directory into a kept
    one on the same volume and the recovered ones into their place, the control file last: nothing half moved can be started.
    """

    effect = Effect.DESTROYS
    needs_programs = ("pg_controldata", "pg_ctl", "pg_verifybackup", "psql", "zstd")
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
        """A side cluster is made, or one where none was; a swap replaces the live one."""
        return Effect.CREATES if inputs.mode == "side" or inputs.new else Effect.DESTROYS

    def along(self, look: Look, system: Postgres, inputs: RestoreToTimeInputs, scope: Scope) -> str:
        """Every other database of the cluster goes back as well; of a server that is down, what it had not archived is left out."""
        lacks = unarchived(look, system, scope) if inputs.latest and not inputs.new else ""
        return with_all(look, system, scope) + lacks

    def observe(self, look: Look, system: Postgres, inputs: RestoreToTimeInputs, scope: Scope) -> RestoreToTimeFacts:
        """Directories, lock files, the control file; and the server, where it answers."""
        host, contained = system.host, in_container.applies(system, inputs.mode)
        known = in_container.remembered(look, host, memory(scope)) if contained else ""
        live = read_live(look, system, scope)
        named = in_container.paths(look, system, live.directory, swap.own_name(scope)) if contained else None
        where = named or cluster.paths(live.directory, swap.own_name(scope))
        inside = in_container.read(look, host, where, known) if contained else None
        if inside is not None and inside.begun:
            return self._midway(look, system, inputs, scope, where=where, inside=inside)
        data, side, old = (cluster.read_place(look, host, path) for path in (where.data, where.side, where.old))
        origin = self._origin(look, system, inputs, scope, where=where, data=data, old=old)
        copies = self._copies(look, system, inputs, scope, data=where.data if old is None else where.old)
        controldata = Tools(origin.programs, host, origin.owner).program("pg_controldata")
        side = cluster.read_end(look, host, controldata, where.side, side)
        facts = RestoreToTimeFacts(
            system_identifier=origin.control.identifier,
            data_directory=where.data,
            artifact_sha256=read_artifact(look, inputs.artifact, scope),
            target=told(inputs.ends),
            original_inode=origin.inode,
            owner=origin.owner,
            options=origin.options,
            programs=origin.programs,
            log=read_log(look, host, where.data, data),
            first_segment="",
            last_segment="",
            reaches="",
            segment_bytes=origin.control.segment_bytes,
            where=where,
            answers=live.answers,
            data=data,
            side=side,
            old=old,
            partial=look.file(host, where.partial) is not None,
            run=look.file(host, where.run) is not None,
            feeding=look.file(host, spool_of(where.run)) is not None,
            checked=look.file(host, f"{where.run}/{CHECKED}") is not None,
            lacks="",
            timeline=origin.control.timeline,
            inside=inside,
            copies=copies,
            copies_there=tablespaces.there(look, host, copies, where.data),
        )
        if side is None and old is None and not (inputs.new and data is not None):
            sought = Sought(
                inputs.artifact,
                archive_of(system, scope),
                inputs.ends,
                inputs.timeline,
                inputs.space_factor,
                swapping=inputs.mode == "swap",
                commands=tuple(name for name in ("stop", "start") if getattr(inputs, name)),
            )
            reach = refuse(look, system, sought, live, Found(where, data, origin.control, origin.major, copies))
            return replace(
                facts, first_segment=reach.first_name, last_segment=reach.last_name, reaches=reach.begins_last
            )
        swapped = side is None and not contained
        return replace(facts, lacks=lacking(look, host, where.data, archive_of(system, scope))) if swapped else facts

    def _origin(
        self,
        look: Look,
        system: Postgres,
        inputs: RestoreToTimeInputs,
        scope: Scope,
        *,
        where: Paths,
        data: Place | None,
        old: Place | None,
    ) -> Origin:
        if not inputs.new:
            return read_origin(look, system, where, data=data, old=old)
        begun = look.text(LOCAL, memory(scope)) is not None
        new = New(inputs.artifact.manifest, inputs.owner, inputs.options, begun)
        return read_new(look, system, where, data=data, new=new, archive=archive_of(system, scope))

    def _copies(
        self, look: Look, system: Postgres, inputs: RestoreToTimeInputs, scope: Scope, *, data: str
    ) -> tuple[tablespaces.SpaceCopy, ...]:
        """As first chosen and written down: a live tablespace may be dropped while the step runs."""
        manifest = inputs.artifact.manifest
        if manifest is None or not manifest.tablespaces:
            return ()
        known = tablespaces.remembered(look.text(LOCAL, memory(scope)) or "")
        links = {} if known else tablespaces.read_links(look, system.host, data)
        return known or tablespaces.read_copies(look, system.host, manifest, links, swap.own_name(scope))

    def assume(self, system: Postgres, inputs: RestoreToTimeInputs, scope: Scope) -> RestoreToTimeFacts:
        """A running cluster, and nothing left by an earlier attempt."""
        where = cluster.paths(system.data_directory or "/PGDATA", swap.own_name(scope))
        data = Place(inode=1, device=1, owner="postgres", server=Server.RUNNING, signal=False)
        inode = NOTHING_THERE if inputs.new else data.inode
        return RestoreToTimeFacts(
            system_identifier="",
            data_directory=where.data,
            artifact_sha256=inputs.artifact.sha256,
            target=told(inputs.ends),
            original_inode=inode,
            owner=inputs.owner or data.owner,
            options=(),
            programs=system.binaries,
            log="",
            first_segment="",
            last_segment="",
            reaches="",
            segment_bytes=SEGMENT_BYTES,
            where=where,
            answers=not inputs.new,
            data=None if inputs.new else data,
            side=None,
            old=None,
            partial=False,
            run=False,
            feeding=False,
            checked=False,
            lacks="",
            timeline=1,
            copies=tablespaces.copies(inputs.artifact.manifest, {}, swap.own_name(scope)),
            copies_there=(),
            inside=in_container.ASSUMED if in_container.applies(system, inputs.mode) else None,
        )

    def _midway(
        self,
        look: Look,
        system: Postgres,
        inputs: RestoreToTimeInputs,
        scope: Scope,
        *,
        where: Paths,
        inside: in_container.Inside,
    ) -> RestoreToTimeFacts:
        """Facts of an exchange that was begun: the container may be stopped, and what was pinned stands for what it was."""
        return replace(
            self.assume(system, inputs, scope),
            system_identifier=inside.identifier,
            data_directory=where.data,
            artifact_sha256=read_artifact(look, inputs.artifact, scope),
            where=where,
            inside=inside,
        )

    def plan(
        self, system: Postgres, inputs: RestoreToTimeInputs, facts: RestoreToTimeFacts, scope: Scope
    ) -> Operations:
        """What the directories leave to do: see the table in :mod:`runbook.actions.postgres.cluster`."""
        step = Step(system, inputs, facts, scope)
        if facts.inside is not None and facts.inside.begun:
            return step.exchanging.remaining(facts.inside)
        match cluster.stage_of(facts.directories, facts.where):
            case Stage.NOTHING:
                return (*step.swept(), *step.made(), *step.recovered(Server.STOPPED), *step.ended(Server.RUNNING))
            case Stage.RECOVERING:
                server = facts.side.server if facts.side else Server.STOPPED
                return (*step.goal.archive.opened(), *step.recovered(server), *step.ended(Server.RUNNING))
            case Stage.CUT_OFF:
                again = (*step.made(), *step.recovered(Server.STOPPED), *step.ended(Server.RUNNING))
                return (*step.removed(), *again)
            case Stage.PROMOTED:
                server = facts.side.server if facts.side else Server.STOPPED
                fed = step.fed_no_more() if facts.feeding else ()
                return (*step.promotion_over(server), *fed, *step.ended(server))
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
        # a mount point stays the same directory: in a container the table of its files tells that it was exchanged
        same = facts.inside is None and place is not None and place.inode == facts.original_inode
        if place is None or place.signal or place.server is not Server.RUNNING or same:
            raise CheckFailed(not_shown(path, "no promoted server runs there"))
        other = where.old if swapped else where.data
        if both := tablespaces.shared(look, system.host, path, other):
            raise CheckFailed(not_shown(path, f"it has {', '.join(both)} in common with {other}"))
        tools = Tools(facts.programs, system.host, facts.owner)
        control = cluster.read_control(look, system.host, tools.program("pg_controldata"), path)
        if facts.system_identifier and control.identifier != facts.system_identifier:
            raise CheckFailed(not_shown(path, f"it is cluster {control.identifier}, not {facts.system_identifier}"))
        # A promotion writes the new timeline's history at once, and into the control file with the next checkpoint only.
        named = [parse_name(posixpath.basename(one.path)) for one in look.listing(system.host, f"{path}/pg_wal")]
        timeline = max([control.timeline, *(one.timeline for one in named if isinstance(one, History))])
        contained = facts.inside is not None
        lacks = lacking(look, system.host, path, local_archive(system)) if contained else facts.lacks
        if swapped and lacks:
            raise CheckFailed(not_shown(path, f"{lacks}: a later recovery would not find this timeline"))
        reached = str(done.results.get("proof", {}).get("stdout", "")).splitlines()
        last = reached[0] if reached else ""
        places = tuple(one.place for one in facts.copies)
        back = configuration.went_back(look, system.host, path, where.old) if swapped and facts.original_inode else ""
        back += waiting(look, system) + collations.changed(look, system) if swapped else ""
        socket = f"psql -h {where.run} -p {system.port} -U {system.user}"
        return RestoredToTime(
            data_directory=path,
            kept_as=where.old if swapped and facts.original_inode else "",
            target=facts.target,
            recovery_point=show_instant(inputs.target) if inputs.target else last or None,
            last_transaction=last,
            lsn=reached[1] if len(reached) > 1 else "",
            address="" if swapped else where.run,
            port=system.port,
            timeline=timeline,
            connect=on_host(system.host, f"psql -p {system.port} -U {system.user}")
            if swapped
            else f"sudo -u {facts.owner} {socket}",
            advice=in_container.advice(where, system.host) + back + ADVICE
            if swapped
            else f"When it is no longer needed: stop it, then remove {' and '.join((where.side, *places, where.run))}.",
            tablespaces=tuple(
                f"{one.name}: {one.place}{f' (before: {one.live}, kept)' if one.live else ''}" for one in facts.copies
            ),
        )

    def retreat(
        self, system: Postgres, inputs: RestoreToTimeInputs, attempt: Attempt[RestoreToTimeFacts], scope: Scope
    ) -> Operations:
        """What was unpacked before that failed; what fetched WAL for a side server that has ended: the next attempt begins anew."""
        facts = attempt.facts
        left = Step(system, inputs, facts, scope).unpacked_no_more(attempt.begun - attempt.succeeded)
        runs = facts.side is not None and facts.side.server is Server.RUNNING
        unfit = "proof" in attempt.begun - attempt.succeeded and runs
        left += (recovery.stopped_unfit(facts.where, Tools(facts.programs, system.host, facts.owner)),) if unfit else ()
        archive = archive_of(system, scope)
        return (*left, *(archive.fed_no_more("retreat_feeder", facts.where.run) if facts.feeding and not runs else ()))

    def undo(
        self, system: Postgres, inputs: RestoreToTimeInputs, facts: RestoreToTimeFacts, scope: Scope
    ) -> Operations | None:
        """The former directory gets its name and its server back; the recovered one is kept beside it, or removed before a swap."""
        step = Step(system, inputs, facts, scope)
        if facts.inside is not None and facts.inside.begun:
            return step.exchanging.back()
        side = facts.side.server if facts.side else Server.STOPPED
        match cluster.stage_of(facts.directories, facts.where):
            case Stage.NOTHING:
                return (*step.swept(), *step.live_again())
            case Stage.RECOVERING | Stage.CUT_OFF | Stage.PROMOTED:
                return (*step.side_stopped(side), *step.live_again(), *step.removed())
            case Stage.HALF_SWAPPED:
                return (step.out_of_old(), step.live_started())
            case Stage.SWAPPED if step.is_new:
                return (*step.live_stopped(), step.out_of_data())
            case Stage.SWAPPED:
                return (*step.live_stopped(), step.out_of_data(), step.out_of_old(), step.live_started())
