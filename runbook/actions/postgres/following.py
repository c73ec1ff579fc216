"""Making a server the standby of another: what it is told, how it is started, and whether their histories allow it.

Owns the settings that a standby needs, and the judgement whether a data directory parted from the primary's history
(:func:`parted`). Promises: no password is written anywhere, a password file is named instead; the settings are written while the
server is down, in one rename; the mark (``standby.signal``) is there before the server is started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from runbook.action import CheckFailed, Inputs, Look, Scope, Unreachable
from runbook.actions.postgres import fencing
from runbook.actions.postgres.client import quoted
from runbook.actions.postgres.fencing import CLEAN
from runbook.actions.postgres.instance import is_contained
from runbook.actions.postgres.replication import (
    STREAMING,
    Node,
    fork_of,
    known_lsn,
    maintenance,
    need_node,
    not_as_it_should,
    shown_lsn,
)
from runbook.actions.postgres.server_tools import Tools
from runbook.errors import Problem, Refused
from runbook.host import Compose, Docker
from runbook.operation import Condition, Operation, Operations, Sql, Test, Wait, sql
from runbook.system import Postgres

STREAMS_WITHIN_S = 300.0
NAMELESS = {"bridge", "host", "none"}
"""Networks on which containers don't know one another's names: the engine's own."""

SETTINGS = """\
set -eu; umask 077
conf="$1/postgresql.auto.conf"
[ -e "$conf" ] || : > "$conf"
{ grep -v -E '^[[:space:]]*(primary_conninfo|primary_slot_name)[[:space:]]*=' "$conf" || [ $? -eq 1 ]
  printf '%s\\n' "$2" "$3"
} > "$conf.partial"
chown --reference="$1/PG_VERSION" "$conf.partial"
sync "$conf.partial"
mv "$conf.partial" "$conf"
sync "$1\""""


class FollowingInputs(Inputs):
    """Whom a server is to follow, and how it gets there."""

    primary: Postgres = Field(description="The new primary")
    directory: str = Field(
        default="", description="The data directory, as postgres.fence gives it; default: the system's"
    )
    address: str = Field(
        default="",
        description="The primary's address as seen from there; default: as in the environment, or its container's name",
    )
    port: int = Field(
        default=0, ge=0, le=65535, description="Its port as seen from there; default: as in the environment"
    )
    user: str = Field(default="", description="A role with REPLICATION; default: the primary's user in the environment")
    passfile: str = Field(
        default="",
        description="A .pgpass file there with its password (0600, of the server's account); default: ~/.pgpass",
    )
    sslmode: str = Field(default="", pattern=r"^[a-z-]*$", description="As libpq has it: verify-full, require, …")
    slot: str = Field(default="", pattern=r"^[a-z0-9_]*$", description="A replication slot of the primary; empty: none")
    stop: tuple[str, ...] = Field(
        default=(), description="Command that stops the server; default: pg_ctl, or its container"
    )
    start: tuple[str, ...] = Field(default=(), description="Command that starts it; default: pg_ctl, or its container")

    @property
    def sender(self) -> tuple[str, int]:
        """Where the primary is, as seen from the server that follows it.

        A container's address may be another one after each start; its name, or its service's, stays.
        """
        match self.primary.host:
            case Docker(container):
                named = container
            case Compose(service=service):
                named = service
            case _:
                named = ""
        return self.address or self.primary.address or named, self.port or self.primary.port

    @property
    def conninfo(self) -> str:
        """What the server is told (primary_conninfo), without a password."""
        host, port = self.sender
        given = {
            "host": host,
            "port": str(port),
            "user": self.user or self.primary.user,
            "passfile": self.passfile,
            "sslmode": self.sslmode,
        }
        return " ".join(f"{key}={quoted(value)}" for key, value in given.items() if value)


@dataclass(frozen=True, slots=True)
class Follower:
    """How far a server is on its way to follow: ``runs``, has been ``told`` whom, ``streams`` from there."""

    runs: bool
    told: bool
    streams: bool


def read_follower(look: Look, db: Postgres, inputs: FollowingInputs, seen: fencing.Seen, scope: Scope) -> Follower:
    """Look how far it is. ``told`` counts only after this step has begun: before it, the same words may be left from long ago.

    One that runs and doesn't answer yet, since it has to become consistent first, counts as told.
    """
    runs = seen.directory is not None and seen.directory.runs
    if seen.node is None:
        return Follower(runs, told=runs and scope.resumed, streams=False)
    wanted = sql("SELECT (current_setting('primary_conninfo') = {wanted})::int AS told", wanted=inputs.conninfo)
    try:
        told = bool(look.query(maintenance(db, scope.application), wanted)[0]["told"])
    except Unreachable:
        told = True
    streams = told and streams_there(seen.node, inputs)
    return Follower(runs, told=streams or (told and scope.resumed), streams=streams)


def refuse_apart(look: Look, db: Postgres, inputs: FollowingInputs) -> None:
    """Refuse (exit 4) a primary in a container that is told by its name where that name isn't known."""
    primary = inputs.primary
    if inputs.address or primary.address or not is_contained(primary.host):
        return
    theirs = look.container(primary.host)
    ours = look.container(db.host) if is_contained(db.host) else None
    shared = set(theirs.networks if theirs else ()) & set(ours.networks if ours else ())
    if not shared - NAMELESS:
        who, name = db.key or "the server", inputs.sender[0]
        why = f"{primary.host} is reached by its name, {name}, from a container on a network that both share; {who} is on none."
        raise Refused(cannot(why, "Give the step `address` and `port`: where it is reached from there."))


def streams_there(node: Node, inputs: FollowingInputs) -> bool:
    """Whether a server streams from where it shall."""
    (host, port), (seen_host, seen_port) = inputs.sender, node.sender
    there = host in ("", seen_host) and port == seen_port
    return node.in_recovery and there and node.receiver == STREAMING


def verified(look: Look, db: Postgres, inputs: FollowingInputs) -> Node:
    """The server, asked once more: a wait that only read changed nothing of what was observed before it."""
    node = need_node(look, db, "runbook")
    if not streams_there(node, inputs):
        who = db.key or "the server"
        why = f"{who}: WAL receiver {node.receiver or 'not running'}, from {node.sender[0]}:{node.sender[1]}."
        raise CheckFailed(not_as_it_should(why, "Look at its log, and at the new primary's."))
    return node


@dataclass(frozen=True, slots=True)
class Following:
    """The operations by which the server of ``directory`` becomes a standby, for one step."""

    directory: str
    options: tuple[str, ...]
    system: Postgres
    inputs: FollowingInputs
    tools: Tools
    scope: Scope

    def remaining(self, found: Follower) -> Operations:
        """What remains until it streams: nothing, a wait, or all of it."""
        if found.streams:
            return ()
        if found.runs and found.told:
            return (self.streaming(),)
        stop = (fencing.stopped(self.directory, self.tools, self.inputs.stop),) if found.runs else ()
        return (*stop, self.told(self.directory), *self.begun())

    def told(self, directory: str) -> Operation:
        """Whom it follows, in the configuration of ``directory``."""
        given, slot = _setting(self.inputs.conninfo), _setting(self.inputs.slot)
        lines = (f"primary_conninfo = {given}", f"primary_slot_name = {slot}")
        return fencing.at_rest("settings", SETTINGS, (directory, *lines), self.tools, self.scope)

    def begun(self) -> Operations:
        """The server, read-only, until it streams."""
        start = fencing.started(self.directory, self.options, self.tools, self.inputs.start)
        return (start, self.streaming())

    def streaming(self) -> Operation:
        """Wait until the WAL receiver streams."""
        status = sql(
            "SELECT coalesce((SELECT status FROM pg_stat_wal_receiver), 'no WAL receiver; see the log') AS status, "
            "pg_is_in_recovery()::int AS in_recovery"
        )
        at = maintenance(self.system, self.scope.application)
        return Wait(
            name="streaming",
            read=Sql(name="receiver", connection=at, statements=(status,), reads=True),
            until=(Condition("in_recovery", Test.EQUALS, 1), Condition("status", Test.EQUALS, STREAMING)),
            deadline_s=STREAMS_WITHIN_S,
        )


def parted(control: Mapping[str, str], primary: Node, history: str) -> str:
    """Why this data directory can't follow the primary as it is: it has WAL that the primary's history hasn't. '' = it can.

    ``control``: what its control file says. ``history``: of the primary's timeline.
    """
    timeline = control.get("Latest checkpoint's TimeLineID", "")
    checkpoint = known_lsn(control.get("Latest checkpoint location", ""))
    state = control.get("Database cluster state", "")
    if not timeline.isdecimal() or checkpoint is None:
        return "its control file can't be read"
    if int(timeline) == primary.timeline:
        return "" if state in CLEAN or state == "in archive recovery" else f"it ended without a shutdown ({state})"
    fork = fork_of(history, int(timeline))
    if fork is None:
        return f"its timeline {timeline} is not in the history of the primary's timeline {primary.timeline}"
    end = max(checkpoint + 1, known_lsn(control.get("Minimum recovery ending location", "")) or 0)
    if end > fork:
        left = f"the primary's history left timeline {timeline} at {shown_lsn(fork)}"
        return f"its WAL goes on at {shown_lsn(checkpoint)}, and {left}"
    return "" if state in CLEAN else f"it ended without a shutdown ({state}), so where its WAL ends isn't known"


def is_standby(control: Mapping[str, str]) -> bool:
    """Whether the server last ran in recovery, orderly ended or not."""
    return control.get("Database cluster state", "") in ("in archive recovery", "shut down in recovery")


def cannot(why: str, fix: str) -> Problem:
    """The server can't be made a standby of that primary."""
    return Problem("E699", "the server can't follow this primary", why, fix)


def _setting(text: str) -> str:
    """A value as configuration files have it, where a backslash escapes as well (manual, "Parameter Names and Values")."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
