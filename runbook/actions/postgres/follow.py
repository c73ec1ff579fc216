"""Making a fenced server a standby of the new primary, where it has nothing that the new one lacks."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from runbook.action import Action, Done, Effect, Look, Outputs, Scope, current, guard, pinned
from runbook.actions.postgres import fencing
from runbook.actions.postgres.cluster import Server
from runbook.actions.postgres.fencing import Directory, Seen
from runbook.actions.postgres.following import (
    Follower,
    Following,
    FollowingInputs,
    cannot,
    is_standby,
    parted,
    read_follower,
    refuse_apart,
    verified,
)
from runbook.actions.postgres.instance import is_contained
from runbook.actions.postgres.replication import Node, known_lsn, need_node, parent_of, read_history
from runbook.actions.postgres.server_tools import Tools
from runbook.errors import Refused
from runbook.operation import Operations
from runbook.placeholder import Foreseeable
from runbook.system import Postgres


class FollowInputs(FollowingInputs):
    """Whom it follows."""

    end: Foreseeable[str] = Field(
        default="",
        description="Where its own WAL ends (LSN, as postgres.fence gives it): for a container, whose files can't be read",
    )


@dataclass(frozen=True, slots=True)
class FollowFacts:
    """The cluster, the server as it was (pinned), and how far it is.

    ``apart``: why its directory can't follow as it is now, '' where it can. ``whole``: at the first look it could. A standby that
    this step started and that was killed before it was through looks as if it were apart: where it stopped isn't known, but it only
    replayed what it was sent (``standby``).
    """

    system_identifier: str = guard()
    path: str = pinned()
    owner: str = pinned()
    programs: str = pinned()
    options: tuple[str, ...] = pinned()
    whole: bool = pinned()
    apart: str = current()
    standby: bool = current()
    found: Follower = current()


class Followed(Outputs):
    """The standby."""

    data_directory: str = Field(description="Its data directory")
    conninfo: str = Field(description="What it was told (primary_conninfo), without a password")
    timeline: int = Field(description="The timeline that it follows")


class Follow(Action[Postgres, FollowInputs, FollowFacts, Followed]):
    """Make a fenced server a standby of the new primary: tell it whom to follow, start it, wait until it streams.

    For the old primary after a switchover, and for one that comes back with nothing of its own. Its control file is held against
    the new primary's history first: a server that wrote WAL which the new primary hasn't is refused (`postgres.rewind`), since it
    would never find its way back. No password is written: name a `passfile`, or let the server's account have a .pgpass.
    """

    effect = Effect.CHANGES
    needs_programs = ("pg_ctl",)
    example = """\
- id: follow
  title: The old primary becomes the standby
  uses: postgres.follow
  on: primary
  with: {primary: standby, directory: "{{ steps.fence.data_directory }}", user: replicator}
  timeout: 30m
"""

    def observe(self, look: Look, system: Postgres, inputs: FollowInputs, scope: Scope) -> FollowFacts:
        """The new primary, its history, and the server's files."""
        node = need_node(look, inputs.primary, scope.application)
        seen = fencing.see(look, system, scope, inputs.directory)
        found = found_directory(system, seen)
        refuse_primary(inputs.primary, node, seen.node)
        refuse_apart(look, system, inputs)
        follower = read_follower(look, system, inputs, seen, scope)
        apart, standby = "", False
        if not follower.told:
            fencing.refuse_unfenced(system, seen, "")
            apart, standby = _apart(look, system, inputs, node, found, scope)
        server = (node.identifier, found.path, found.owner, found.programs, found.options)
        return FollowFacts(*server, whole=not apart, apart=apart, standby=standby, found=follower)

    def assume(self, system: Postgres, inputs: FollowInputs, scope: Scope) -> FollowFacts:
        """A server that is down."""
        path = inputs.directory or system.data_directory or "/PGDATA"
        found = Directory(path, "postgres", system.binaries, (), Server.STOPPED, marked=True)
        down = Follower(runs=False, told=False, streams=False)
        return FollowFacts("", path, found.owner, found.programs, (), whole=True, apart="", standby=False, found=down)

    def plan(self, system: Postgres, inputs: FollowInputs, facts: FollowFacts, scope: Scope) -> Operations:
        """Nothing where it streams already; a wait where it was told; else the settings and a start. Refuses what is apart."""
        if facts.apart and not (facts.whole and facts.standby):
            fix = "postgres.rewind keeps what it has of its own, and brings it back."
            raise Refused(cannot(f"{facts.path}: {facts.apart}.", fix))
        tools = Tools(facts.programs, system.host, facts.owner)
        return Following(facts.path, facts.options, system, inputs, tools, scope).remaining(facts.found)

    def verify(self, look: Look, system: Postgres, inputs: FollowInputs, done: Done[FollowFacts]) -> Followed:
        """It streams from the new primary."""
        node = verified(look, system, inputs)
        return Followed(data_directory=done.facts.path, conninfo=inputs.conninfo, timeline=node.timeline)


def found_directory(system: Postgres, seen: Seen) -> Directory:
    """The data directory; refused where it can't be seen."""
    if seen.directory is None:
        why = f"The data directory of {system.key or 'the server'} can't be seen on {system.host}."
        raise Refused(cannot(why, "Write `data_directory` of the system in the environment."))
    return seen.directory


def refuse_primary(db: Postgres, node: Node, follower: Node | None) -> None:
    """Refuse (exit 4) to follow a server that is no primary, or one of another cluster."""
    who = db.key or "the new primary"
    if node.in_recovery:
        raise Refused(cannot(f"{who} is in recovery itself.", "Promote it first (postgres.promote)."))
    if follower is not None and follower.identifier != node.identifier:
        why = f"{who} is of cluster {node.identifier}, this server of {follower.identifier}."
        raise Refused(cannot(why, "Check the environment."))


def _apart(
    look: Look, system: Postgres, inputs: FollowInputs, node: Node, found: Directory, scope: Scope
) -> tuple[str, bool]:
    """Why it can't follow as it is, '' where it can; and whether it ended as a standby. Refuses what no look can tell."""
    history = read_history(look, inputs.primary, node.timeline, scope.application)
    if is_contained(system.host):
        fork, end = parent_of(history), known_lsn(inputs.end)
        if end is None:
            why = "In a container that is down its control file can't be read, and `end` is not given."
            raise Refused(cannot(why, 'Give it what postgres.fence gave: end: "{{ steps.fence.end }}"'))
        return f"it has WAL of its own from {inputs.end} on" if fork is not None and end >= fork else "", False
    control = fencing.read_control(look, found.path, fencing.tools_of(system, found))
    identifier = control.get("Database system identifier", "")
    if identifier != node.identifier:
        why = f"{found.path} is of cluster {identifier or 'unknown'}, the primary of {node.identifier}."
        raise Refused(cannot(why, "Check the environment, and `binaries` of the system."))
    return parted(control, node, history), found.marked and is_standby(control)
