"""Rewinding an old primary that has WAL of its own, so that it can follow the new one."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from runbook.action import Action, Done, Effect, Look, Outputs, Scope, current, guard, pinned
from runbook.actions.postgres import cluster, fencing, in_container, rewinding, rewinding_beside, swap
from runbook.actions.postgres.cluster import Paths, Place, Server
from runbook.actions.postgres.follow import found_directory, refuse_primary
from runbook.actions.postgres.following import (
    Follower,
    Following,
    FollowingInputs,
    cannot,
    parted,
    read_follower,
    refuse_apart,
    verified,
)
from runbook.actions.postgres.in_container import Exchange, Inside, exchange_of
from runbook.actions.postgres.instance import is_contained
from runbook.actions.postgres.moment import memory
from runbook.actions.postgres.replication import (
    Node,
    fork_of,
    maintenance,
    need_node,
    read_history,
    shown_lsn,
)
from runbook.actions.postgres.rewinding import Inodes, Parted, Rewinding, Stage, stage_of
from runbook.actions.postgres.rewinding_beside import Beside
from runbook.actions.postgres.server_tools import Tools
from runbook.errors import Refused
from runbook.host import LOCAL
from runbook.operation import Operations, Write, sql
from runbook.placeholder import stand_for
from runbook.system import Postgres

_SIZE = sql("SELECT coalesce(sum(pg_database_size(oid)), 0)::bigint AS bytes FROM pg_database WHERE datconnlimit <> -2")
_GONE = Parted("", 0, "", "")


class RewindInputs(FollowingInputs):
    """Whom it follows, and the room for a copy."""

    space_factor: float = Field(
        default=1.2, ge=0, description="Free space that must be there, times the cluster's size"
    )


@dataclass(frozen=True, slots=True)
class RewindFacts:
    """The cluster, the directory as it was (pinned), and what lies where now. ``parted.why`` '': it has nothing of its own.

    ``inside``: of a server in a container, instead of the places; and then the new primary's timeline and its history.
    """

    system_identifier: str = guard()
    path: str = pinned()
    owner: str = pinned()
    programs: str = pinned()
    options: tuple[str, ...] = pinned()
    original_inode: int = pinned()
    parted: Parted = pinned()
    where: Paths = current()
    data: Place | None = current()
    side: Place | None = current()
    old: Place | None = current()
    partial: bool = current()
    found: Follower = current()
    inside: Inside | None = current()
    leads: int | str = pinned()
    history: str = pinned()

    @property
    def stage(self) -> Stage:
        """How far it is, by :func:`runbook.actions.postgres.rewinding.stage_of`."""
        data, side, old = (place.inode if place else 0 for place in (self.data, self.side, self.old))
        return stage_of(Inodes(data, side, old, self.original_inode), self.where)


class Rewound(Outputs):
    """The standby, and what was given up for it."""

    data_directory: str = Field(description="Where it is")
    kept_as: str = Field(description="The former directory, with what was lost; empty where nothing was")
    fork: str = Field(description="Where its history parted from the new primary's (LSN); empty where it did not")
    discarded_commits: int | None = Field(
        description="Commits that only it had, and that are lost; null: can't be told"
    )
    first_discarded: str = Field(description="When the first of them was made, as its WAL says")
    last_discarded: str = Field(description="When the last of them was made")
    timeline: int = Field(description="The timeline that it follows now")
    advice: str = Field(description="What to do next")


class Rewind(Action[Postgres, RewindInputs, RewindFacts, Rewound]):
    """Bring an old primary back as a standby of the new one, although it has WAL that the new one never received.

    That WAL and its commits are given up; they are counted first, and the former data directory is kept beside the new one, so
    that rows can be taken out of it. `pg_rewind` works on a copy (which shares the blocks where the file system can), never on the
    directory itself: whatever interrupts it, the copy is made anew. A crashed directory's copy is recovered first. Then two renames
    put the copy in its place, with its own configuration, and it is started and awaited until it streams. Needs `wal_log_hints`
    or data checksums, room for a copy, and a fenced server (`postgres.fence`). A directory that did not part is only started.
    """

    effect = Effect.DESTROYS
    needs_programs = ("pg_controldata", "pg_ctl", "pg_rewind", "pg_waldump", "postgres")
    example = """\
- id: rewind
  title: The old primary comes back as a standby
  uses: postgres.rewind
  on: primary
  with: {primary: standby, directory: "{{ steps.fence.data_directory }}"}
  timeout: 4h
  confirm: What only the old primary has is given up; its directory is kept under another name.
"""

    def observe(self, look: Look, system: Postgres, inputs: RewindInputs, scope: Scope) -> RewindFacts:
        """The new primary and its history; the directory, its copy, the kept one."""
        if is_contained(system.host):
            return self._observed_beside(look, system, inputs, scope)
        node = need_node(look, inputs.primary, scope.application)
        known = (look.text(LOCAL, memory(scope)) or "").partition("\n")[0] or inputs.directory
        seen = fencing.see(look, system, scope, known)
        refuse_primary(inputs.primary, node, seen.node)
        refuse_apart(look, system, inputs)
        # between the two renames there is no data directory, and its path is remembered
        path = seen.directory.path if seen.directory else known or found_directory(system, seen).path
        where = cluster.paths(path, swap.own_name(scope))
        data, side, old = (cluster.read_place(look, system.host, each) for each in (where.data, where.side, where.old))
        found = seen.directory or found_directory(system, seen) if data is not None or old is None else None
        parting = _GONE
        if found is not None and data is not None and side is None and old is None:
            parting = self._parting(look, system, inputs, scope, node=node, seen=seen, place=data, where=where)
        if data is not None and side is not None:  # the copy is finished; what is written here now would not be in it
            fencing.refuse_unfenced(system, seen, "")
        return RewindFacts(
            system_identifier=node.identifier,
            path=path,
            owner=found.owner if found else "",
            programs=found.programs if found else "",
            options=found.options if found else (),
            original_inode=data.inode if data else 0,
            parted=parting,
            where=where,
            data=data,
            side=side,
            old=old,
            partial=look.file(system.host, where.partial) is not None,
            found=read_follower(look, system, inputs, seen, scope),
            inside=None,
            leads=0,
            history="",
        )

    def _observed_beside(self, look: Look, system: Postgres, inputs: RewindInputs, scope: Scope) -> RewindFacts:
        """The same of a server in a container, whose control file is read only once it is stopped."""
        node = need_node(look, inputs.primary, scope.application)
        known = (look.text(LOCAL, memory(scope)) or "").partition("\n")[0] or inputs.directory
        seen = fencing.see(look, system, scope, known)
        refuse_primary(inputs.primary, node, seen.node)
        refuse_apart(look, system, inputs)
        path = seen.directory.path if seen.directory else known or found_directory(system, seen).path
        where = in_container.paths(look, system, path, swap.own_name(scope))
        inside = rewinding_beside.read(look, system, where)
        if not inside.new and not inside.ready:  # nothing was done, or all of it
            found_directory(system, seen)
        stage, follower = exchange_of(inside, where), read_follower(look, system, inputs, seen, scope)
        parting = _GONE
        if stage is Exchange.NOTHING and not (follower.streams or (follower.runs and follower.told)):
            fencing.refuse_unfenced(system, seen, "")
            rewinding_beside.refuse(look, system, inputs.primary, path, scope)
            parting = Parted("whether it did is known once its container is down", 0, "", "")
        elif stage is Exchange.READY:  # the copy is finished; what is written here now would not be in it
            fencing.refuse_unfenced(system, seen, "")
        directory = seen.directory
        return RewindFacts(
            system_identifier=node.identifier,
            path=path,
            owner=directory.owner if directory else "",
            programs=directory.programs if directory else system.binaries,
            options=(),
            original_inode=0,
            parted=parting,
            where=where,
            data=None,
            side=None,
            old=None,
            partial=False,
            found=follower,
            inside=inside,
            leads=node.timeline,
            history=read_history(look, inputs.primary, node.timeline, scope.application),
        )

    def _parting(
        self,
        look: Look,
        system: Postgres,
        inputs: RewindInputs,
        scope: Scope,
        *,
        node: Node,
        seen: fencing.Seen,
        place: Place,
        where: Paths,
    ) -> Parted:
        """Whether it parted; refuses what can't be rewound, and a server that takes writes."""
        follower = read_follower(look, system, inputs, seen, scope)
        if follower.streams or (follower.runs and follower.told):
            return _GONE
        fencing.refuse_unfenced(system, seen, "")
        found = found_directory(system, seen)
        control = fencing.read_control(look, where.data, fencing.tools_of(system, found))
        if control.get("Database system identifier") != node.identifier:
            why = f"{where.data} is not of the cluster {node.identifier}, to which the new primary belongs."
            raise Refused(cannot(why, "Check the environment, and `binaries` of the system."))
        history = read_history(look, inputs.primary, node.timeline, scope.application)
        why = parted(control, node, history)
        if not why:
            return _GONE
        timeline = int(control.get("Latest checkpoint's TimeLineID", "0"))
        fork = fork_of(history, timeline)
        if fork is None:
            why = f"{where.data}: {why}; where they part can't be told."
            raise Refused(rewinding.cannot(why, "Rebuild it with a base backup of the new primary (pg_basebackup)."))
        rows = look.query(maintenance(inputs.primary, scope.application), _SIZE)
        # an unfinished copy is removed first, and its space is free then
        begun = look.file(system.host, where.partial) is not None
        needed = 0 if begun else int(int(rows[0]["bytes"] or 0) * inputs.space_factor)
        rewinding.refuse(look, system, control, place, where, needed_bytes=needed)
        return Parted(why, timeline, shown_lsn(fork), control.get("Database cluster state", ""))

    def assume(self, system: Postgres, inputs: RewindInputs, scope: Scope) -> RewindFacts:
        """A crashed primary with WAL of its own."""
        path = inputs.directory or system.data_directory or "/PGDATA"
        there, own = is_contained(system.host), swap.own_name(scope)
        return RewindFacts(
            system_identifier=stand_for("system_identifier") if there else "",
            path=path,
            owner="postgres",
            programs=system.binaries,
            options=(),
            original_inode=1,
            parted=Parted("assumed", stand_for("its timeline"), stand_for("where they part"), "in production"),
            where=rewinding_beside.assumed(path, own) if there else cluster.paths(path, own),
            data=Place(inode=1, device=1, owner="postgres", server=Server.STOPPED, signal=False),
            side=None,
            old=None,
            partial=False,
            found=Follower(runs=False, told=False, streams=False),
            inside=rewinding_beside.ASSUMED if there else None,
            leads=stand_for("its timeline") if there else 0,
            history=stand_for("its history") if there else "",
        )

    def plan(self, system: Postgres, inputs: RewindInputs, facts: RewindFacts, scope: Scope) -> Operations:
        """What the directories leave to do: see the table in :mod:`runbook.actions.postgres.rewinding`."""
        tools = Tools(facts.programs, system.host, facts.owner)
        following = Following(facts.path, facts.options, system, inputs, tools, scope)
        work = Rewinding(facts.where, facts.parted, inputs.primary, inputs, tools, facts.options, following, scope)
        if not facts.parted.why:
            return following.remaining(facts.found)
        remember = Write(name="remember", path=memory(scope), content=f"{facts.path}\n")
        if facts.inside is not None:
            beside = Beside(work, facts.system_identifier, facts.leads, facts.history, inputs.space_factor)
            left = beside.remaining(facts.inside, streams=facts.found.streams)
            return (remember, *left) if exchange_of(facts.inside, facts.where) is Exchange.NOTHING else left
        match facts.stage:
            case Stage.NOTHING:
                return (remember, *work.whole(partial=facts.partial, runs=facts.found.runs))
            case Stage.HALF_SWAPPED:
                return work.second()
            case Stage.SWAPPED:
                if facts.found.runs:
                    return () if facts.found.streams else (following.streaming(),)
                return work.started()
            case Stage.COPIED:
                return (*work.halted(), *work.exchanged()) if facts.found.runs else work.exchanged()

    def recovery(self, system: Postgres, inputs: RewindInputs, facts: RewindFacts, scope: Scope) -> Operations:
        """A server that something has started in the fenced directory meanwhile is stopped, before that is renamed."""
        if facts.inside is not None:
            up = facts.inside.running and exchange_of(facts.inside, facts.where) is not Exchange.MOVED
        else:
            up = facts.found.runs and facts.stage in (Stage.NOTHING, Stage.COPIED)
        if not facts.parted.why or not up:
            return ()
        tools = Tools(facts.programs, system.host, facts.owner)
        return (fencing.stopped(facts.where.data, tools, inputs.stop),)

    def verify(self, look: Look, system: Postgres, inputs: RewindInputs, done: Done[RewindFacts]) -> Rewound:
        """It streams from the new primary, on its timeline."""
        facts, said = done.facts, str(done.results.get("discarded", {}).get("stdout", "")).splitlines()
        node = verified(look, system, inputs)
        count, first, last, fork = (*said, "", "", "", "")[:4]
        kept = facts.where.old if facts.parted.why else ""
        return Rewound(
            data_directory=facts.path,
            kept_as=kept,
            fork=facts.parted.fork or fork,
            discarded_commits=int(count) if count.isdecimal() else None if kept else 0,
            first_discarded=first,
            last_discarded=last,
            timeline=node.timeline,
            advice=_advice(facts, system) if kept else "",
        )


def _advice(facts: RewindFacts, system: Postgres) -> str:
    """Where the rows are that were lost."""
    kept = facts.where.old
    rows = (
        f"What was lost is in {kept}: copy it, take {fencing.MARK} out of the copy, start it with a socket of its own, "
        "and take the rows from there. Remove it when nobody needs them."
    )
    inside = in_container.advice(facts.where, system.host) if facts.inside is not None else ""
    return f"{rows} {inside}".rstrip()
