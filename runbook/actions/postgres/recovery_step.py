"""One recovery to a moment: its inputs, its facts, and its operations in their groups.

Owns what ``postgres.restore_to_time`` puts together by its tables: each group of operations is complete in itself and ends in a
state that the next look tells from the one before. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import AwareDatetime, Field, model_validator

from runbook.action import Inputs, Scope, current, guard, pinned
from runbook.actions.backup.layout import directory_of
from runbook.actions.postgres import basebackup_files, in_container, load, recovery, swap, tablespace_copies
from runbook.actions.postgres.assertion import Check
from runbook.actions.postgres.client import MAINTENANCE_DATABASE
from runbook.actions.postgres.closed_segment import SEGMENT
from runbook.actions.postgres.cluster import NOTHING_THERE, Directories, Paths, Place, Server
from runbook.actions.postgres.moment import memory
from runbook.actions.postgres.packing import most_of
from runbook.actions.postgres.recovery import Goal, Side
from runbook.actions.postgres.server_tools import Tools
from runbook.actions.postgres.tablespaces import SpaceCopy, noted
from runbook.actions.postgres.target import CommitOf, EndOfArchive, Moment, Position, RestorePoint, Target
from runbook.actions.postgres.wal_source import archive_of
from runbook.artifact import Artifact
from runbook.operation import Operation, Operations, Write
from runbook.system import DurationField, Postgres
from runbook.units import parse_duration


class RestoreToTimeInputs(Inputs):
    """From which base backup, to where (exactly one of target, lsn, xid, name and latest), and what becomes of the copy."""

    artifact: Artifact = Field(description="A base backup (postgres.basebackup) that ended before the target")
    target: AwareDatetime | None = Field(
        default=None, description="The moment, with its zone: what was committed until then is there"
    )
    lsn: str | None = Field(
        default=None,
        pattern=r"^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$",
        description="A position in the WAL: 0/3000148; of one that pg_current_wal_lsn() gave, inclusive: false is exact",
    )
    xid: int | None = Field(default=None, ge=3, lt=2**64, description="A transaction's id: up to its commit")
    name: str | None = Field(
        default=None,
        pattern=r'^[^\x00-\x1f"\\]{1,63}$',
        description="A restore point (pg_create_restore_point); the first of that name after the base backup",
    )
    latest: bool = Field(default=False, description="To the end of the archive: all that was archived")
    inclusive: bool = Field(
        default=True,
        description="false: stop just before (no commit at that moment, nothing at that position, not that transaction)",
    )
    checks: tuple[Check, ...] = Field(
        default=(),
        description="Queries with what they have to give, asked of the promoted copy before it takes the live one's place",
    )
    database: str = Field(default="", description="The database that the checks ask; default: the system's own")
    mode: Literal["swap", "side"] = Field(
        default="swap", description="swap: it takes the live cluster's place; side: it is left running beside it"
    )
    timeline: str = Field(
        default="latest", pattern=r"^(latest|current|[0-9]+)$", description="Which timeline recovery follows"
    )
    new: bool = Field(
        default=False, description="There is no cluster yet (a new machine): recover straight into its place"
    )
    owner: str = Field(
        default="", description="With new: whose the data shall be; default: the owner of the directory above"
    )
    options: tuple[str, ...] = Field(
        default=(), description="With new: the server's options, such as -c, config_file=/etc/…"
    )
    within: DurationField = Field(default="6h", description="How long the recovery may take")
    space_factor: float = Field(
        default=1.2, ge=0, description="Free space that must be there, times the cluster's size"
    )
    stop: tuple[str, ...] = Field(
        default=(), description="Command that stops the live server (none in containers); default: pg_ctl"
    )
    start: tuple[str, ...] = Field(default=(), description="Command that starts it; default: pg_ctl, as it was started")

    @model_validator(mode="after")
    def _one_target(self) -> RestoreToTimeInputs:
        given = [name for name in ("target", "lsn", "xid", "name") if getattr(self, name) is not None]
        given += ["latest"] if self.latest else []
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of target, lsn, xid, name and latest (given: {' and '.join(given) or 'none'})"
            )
        if (self.owner or self.options) and not self.new:
            raise ValueError("owner and options are for new: true; else they are as they were")
        if not self.inclusive and (self.latest or self.name is not None):
            raise ValueError(f"inclusive: false means nothing with {given[0]}; use target, lsn or xid")
        return self

    @property
    def ends(self) -> Target:
        """Where recovery is to end."""
        if self.target is not None:
            return Moment(self.target, self.inclusive)
        if self.lsn is not None:
            return Position(self.lsn.upper(), self.inclusive)
        if self.xid is not None:
            return CommitOf(self.xid, self.inclusive)
        return EndOfArchive() if self.name is None else RestorePoint(self.name)


@dataclass(frozen=True, slots=True)
class RestoreToTimeFacts:
    """The cluster, the directories and the artifact. ``options`` and ``log`` are those that the live server had.

    ``lacks``: what the archive has not got of a cluster in its place. ``copies``: the tablespaces of its own, and where the copy's
    go; ``copies_there``: those of these places that exist, and that the cluster in its place does not use.
    ``first_segment``: the first that is needed from the archive; ``last_segment``: its last, and ``reaches``: where that begins, as
    first seen.
    """

    system_identifier: str = guard()
    data_directory: str = guard()
    artifact_sha256: str = guard()
    target: str = guard()
    original_inode: int = pinned()
    owner: str = pinned()
    options: tuple[str, ...] = pinned()
    programs: str = pinned()
    log: str = pinned()
    first_segment: str = pinned()
    last_segment: str = pinned()
    reaches: str = pinned()
    segment_bytes: int = pinned()
    copies: tuple[SpaceCopy, ...] = pinned()
    where: Paths = current()
    answers: bool = current()
    data: Place | None = current()
    side: Place | None = current()
    old: Place | None = current()
    partial: bool = current()
    run: bool = current()
    feeding: bool = current()
    checked: bool = current()
    lacks: str = current()
    timeline: int = current()
    inside: in_container.Inside | None = current()
    copies_there: tuple[str, ...] = current()

    @property
    def directories(self) -> Directories:
        """For :func:`runbook.actions.postgres.cluster.stage_of`."""
        return Directories(self.data, self.side, self.old, self.partial, self.run, self.original_inode)


@dataclass(frozen=True, slots=True)
class Step:
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
        archive, within_s = archive_of(self.system, self.scope), parse_duration(self.inputs.within)
        ends = self.inputs.ends
        sought = EndOfArchive(self.facts.reaches) if isinstance(ends, EndOfArchive) else ends
        return Goal(sought, self.inputs.timeline, archive, within_s, self.facts.first_segment, self.facts.segment_bytes)

    @property
    def side(self) -> Side:
        return Side(self.system.port, self.system.user, self.facts.options)

    @property
    def exchanging(self) -> in_container.Exchanging:
        return in_container.Exchanging(self.system, self.scope, self.facts.where, self.tools, self.goal)

    def swept(self) -> Operations:
        where, found = self.facts.where, self.facts
        partial = (recovery.removed("sweep_side", where.partial, self.own, self.tools),) if found.partial else ()
        run = (recovery.removed("sweep_run", where.run, self.own, self.tools),) if found.run else ()
        fed = self.goal.archive.fed_no_more("sweep_feeder", where.run) if found.feeding else ()
        spaces = tablespace_copies.dropped(found.copies_there, self.own, self.system.host)
        return (*partial, *spaces, *fed, *run)

    def fed_no_more(self) -> Operations:
        """A promoted server needs nothing from the archive any more, and a side server's keys neither."""
        archive = self.goal.archive
        keys = archive.forgotten() if self.inputs.mode == "side" else ()
        return (*keys, *archive.fed_no_more("end_feeding", self.facts.where.run))

    def made(self) -> Operations:
        artifact = self.inputs.artifact
        directory = directory_of(load.store_of(artifact, self.scope))
        pieces = artifact.manifest.pieces if artifact.manifest else ()
        base = basebackup_files.base_of(artifact.manifest) if artifact.manifest else artifact.name
        sha256 = next((piece.sha256 for piece in pieces if piece.path == base), "")
        at = self.system.connection(application=self.scope.application, database=MAINTENANCE_DATABASE)
        switched = recovery.switched(at, self.goal, self.tools) if self.facts.answers else ()
        remembered = Write(
            name="remember",
            path=memory(self.scope),
            content=f"{self.facts.where.data}\n{self.facts.system_identifier}\n{noted(self.facts.copies)}",
        )
        return (
            *self.goal.archive.opened(),
            recovery.readable(self.goal, self.tools),
            remembered,
            *switched,
            *self.last_whole(),
            *recovery.extracted(
                f"{directory}/{base}",
                sha256,
                self.facts.where,
                self.goal,
                self.tools,
                most_bytes=most_of(artifact.manifest, base),
                spaces=self.spaces(directory),
            ),
        )

    def unpacked_no_more(self, unfinished: frozenset[str]) -> Operations:
        """What an unpacking that failed has left behind: it may have filled the disk."""
        if not any(name.startswith(recovery.EXTRACT) for name in unfinished):
            return ()
        places = [one.place for one in self.facts.copies]
        spaces = tablespace_copies.dropped(places, self.own, self.system.host)
        return (recovery.removed("remove_unpacked", self.facts.where.partial, self.own, self.tools), *spaces)

    def spaces(self, directory: str) -> Operations:
        """The tablespaces of the copy; nothing of them is the live cluster's before anything starts in it."""
        found, partial, manifest = self.facts, self.facts.where.partial, self.inputs.artifact.manifest
        unpacked = tablespace_copies.unpacked_apart(
            manifest, directory, found.copies, partial, host=self.system.host, owner=found.owner
        )
        return (*unpacked, *self.apart("is_apart", partial))

    def apart(self, name: str, copy: str) -> Operations:
        """A copy shares no tablespace with the live cluster."""
        live = "" if self.is_new else self.facts.where.data
        return tablespace_copies.apart(name, copy, live, self.facts.copies, self.system.host)

    def last_whole(self) -> Operations:
        """Only the archive's end needs it: any other target says itself that it was reached."""
        if not isinstance(self.inputs.ends, EndOfArchive):
            return ()
        segment = SEGMENT if self.facts.answers else self.facts.last_segment
        return (recovery.whole(segment, self.goal, self.tools),) if segment else ()

    def recovered(self, server: Server) -> Operations:
        where = self.facts.where
        awaited = recovery.reached(where, self.side, self.goal, self.tools)
        fed = self.goal.archive.fed(where.run, self.goal.segment_bytes, self.tools)
        return (
            *(fed if server is Server.RUNNING else self.started_again(server, feeding=True)),
            *awaited,
            *self.apart("still_apart", where.side),
            recovery.promoted(where, self.tools),
            *self.fed_no_more(),
        )

    def checked(self, server: Server) -> Operations:
        """The caller's queries, of a promoted side server that is started if it has been stopped since; once they held, nothing."""
        # the statement's braces are doubled, since it may hold late values
        asked = tuple((one.statement().text.format(), one.conditions()) for one in self.inputs.checks)
        if not asked or self.facts.checked:
            return ()
        database = self.inputs.database or self.system.database
        return (
            *self.started_again(server),
            *recovery.checked(self.facts.where, self.side, asked, database, self.tools),
        )

    def started_again(self, server: Server, *, feeding: bool = False) -> Operations:
        """The side server, unless it runs. ``feeding``: it recovers, and needs the archive."""
        if server is Server.RUNNING:
            return ()
        where = self.facts.where
        unlocked = (recovery.unlocked(where.side, self.own, self.tools),) if server is Server.STALE else ()
        return (*unlocked, *recovery.started(where, self.side, self.goal, self.tools, feeding=feeding))

    def promotion_over(self, server: Server) -> Operations:
        """The signal is gone; a server that runs may still be writing the end of its recovery, and may not be stopped in that."""
        waits = server is Server.RUNNING and self.inputs.mode == "swap"
        return (recovery.promotion_over(self.facts.where, self.tools),) if waits else ()

    def ended(self, server: Server) -> Operations:
        """After the promotion: the checks; then the swap, or a side server that runs."""
        where, checked = self.facts.where, self.checked(server)
        server = Server.RUNNING if checked else server
        if self.inputs.mode == "side":
            return (*checked, *self.started_again(server))
        if self.facts.inside is not None:
            return (*checked, *self.side_stopped(server), *self.exchanging.whole())
        return (
            *checked,
            *self.side_stopped(server),
            *self.live_stopped(),
            recovery.history_archived(where.side, self.goal, self.own, self.tools),
            *self.set_aside(),
            self.into_place(),
            self.live_started(),
            *self.cleaned(),
        )

    def set_aside(self) -> Operations:
        where = self.facts.where
        return () if self.is_new else (recovery.renamed("set_aside", where.data, where.old, self.tools),)

    @property
    def is_new(self) -> bool:
        """Whether there was nothing."""
        return self.facts.original_inode == NOTHING_THERE

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
        return () if runs or self.is_new else (self.live_started(),)

    def into_place(self) -> Operation:
        return recovery.renamed("into_place", self.facts.where.side, self.facts.where.data, self.tools)

    def out_of_data(self) -> Operation:
        return recovery.renamed("out_of_place", self.facts.where.data, self.facts.where.side, self.tools)

    def out_of_old(self) -> Operation:
        return recovery.renamed("put_back", self.facts.where.old, self.facts.where.data, self.tools)

    def cleaned(self) -> Operations:
        keys = self.goal.archive.forgotten()
        return (*keys, recovery.removed("clean", self.facts.where.run, self.own, self.tools))

    def removed(self) -> Operations:
        return (
            recovery.removed("remove_side", self.facts.where.side, self.own, self.tools),
            *self.swept(),
        )
