"""Two servers of one cluster: what each says of itself, where they stand in the WAL, and where their histories part.

Owns the question that ``postgres.standby_status`` and its kin put to a server, and where two histories part. Promises: one
bounded query a server; a server that does not answer is None, which is never taken for one that is down; a position that isn't
known is None, and '' where it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runbook.action import Look, Unreachable
from runbook.actions.postgres.client import MAINTENANCE_DATABASE
from runbook.actions.postgres.wal import Switch, parse_history, parse_lsn, show_lsn
from runbook.errors import Problem, Refused
from runbook.operation import Connection, Scalar, sql
from runbook.system import Postgres

STREAMING = "streaming"

# Functions that only a standby or only a primary may call stand in a CASE, which evaluates one branch alone.
_NODE = sql("""\
SELECT node.in_recovery::int AS in_recovery,
  (SELECT system_identifier::text FROM pg_control_system()) AS identifier,
  (SELECT timeline_id FROM pg_control_checkpoint())::int AS checkpoint_timeline,
  coalesce((SELECT received_tli FROM pg_stat_wal_receiver), 0) AS received_timeline,
  CASE WHEN node.in_recovery THEN '' ELSE pg_walfile_name(pg_current_wal_flush_lsn()) END AS segment,
  coalesce(CASE WHEN node.in_recovery THEN NULL ELSE pg_current_wal_flush_lsn() END::text, '') AS flushed,
  coalesce(CASE WHEN node.in_recovery THEN pg_last_wal_receive_lsn() END::text, '') AS received,
  coalesce(CASE WHEN node.in_recovery THEN pg_last_wal_replay_lsn() END::text, '') AS replayed,
  CASE WHEN node.in_recovery THEN pg_is_wal_replay_paused() ELSE false END::int AS paused,
  coalesce(to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '') AS last_commit,
  extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS age_s,
  coalesce((SELECT status FROM pg_stat_wal_receiver), '') AS receiver,
  coalesce((SELECT sender_host FROM pg_stat_wal_receiver), '') AS sender_host,
  coalesce((SELECT sender_port FROM pg_stat_wal_receiver), 0) AS sender_port,
  current_setting('data_directory') AS directory,
  current_setting('server_version_num')::int AS version
FROM (SELECT pg_is_in_recovery() AS in_recovery) AS node""")


@dataclass(frozen=True, slots=True)
class Node:
    """A server that answered. Positions are bytes, None where it has none: ``flushed`` a primary's, the others a standby's.

    ``timeline``: the one that it writes; of a standby, the one that it receives, else its last checkpoint's. ``receiver``: the
    WAL receiver's status, '' = none runs. ``age_s``: since the last commit that was replayed.
    """

    in_recovery: bool
    identifier: str
    timeline: int
    checkpoint_timeline: int
    flushed: int | None
    received: int | None
    replayed: int | None
    paused: bool
    last_commit: str
    age_s: float | None
    receiver: str
    sender: tuple[str, int]
    directory: str
    version: int

    @property
    def held(self) -> int:
        """Up to where the standby has the WAL: what it replayed from an archive was never received."""
        return max(self.received or 0, self.replayed or 0)


def maintenance(db: Postgres, application: str) -> Connection:
    """A connection to the database that every cluster has."""
    return db.connection(application=application, database=MAINTENANCE_DATABASE)


def read_node(look: Look, db: Postgres, application: str) -> Node | None:
    """Ask the server; None where it does not answer."""
    try:
        rows = look.query(maintenance(db, application), _NODE)
    except Unreachable:
        return None
    return _node(rows[0])


def need_node(look: Look, db: Postgres, application: str) -> Node:
    """The same; raises :class:`Unreachable` where it does not answer."""
    return _node(look.query(maintenance(db, application), _NODE)[0])


def _node(row: Mapping[str, Scalar]) -> Node:
    checkpoint, segment = int(row["checkpoint_timeline"] or 0), str(row["segment"])
    return Node(
        in_recovery=bool(row["in_recovery"]),
        identifier=str(row["identifier"]),
        timeline=int(segment[:8], 16) if segment else max(checkpoint, int(row["received_timeline"] or 0)),
        checkpoint_timeline=checkpoint,
        flushed=known_lsn(str(row["flushed"])),
        received=known_lsn(str(row["received"])),
        replayed=known_lsn(str(row["replayed"])),
        paused=bool(row["paused"]),
        last_commit=str(row["last_commit"]),
        age_s=None if row["age_s"] is None else float(row["age_s"]),
        receiver=str(row["receiver"]),
        sender=(str(row["sender_host"]), int(row["sender_port"] or 0)),
        directory=str(row["directory"]).rstrip("/"),
        version=int(row["version"] or 0),
    )


def waiting(look: Look, db: Postgres) -> str:
    """What would make every commit of a server wait that has just become the primary; '' where nothing does, or it is silent."""
    asked = sql("SELECT current_setting('synchronous_standby_names') AS names")
    try:
        names = str(look.query(maintenance(db, "runbook"), asked)[0]["names"])
    except Unreachable:
        return ""
    return (
        f"Every commit waits for {names} (synchronous_standby_names) until one of them is back: ALTER SYSTEM SET "
        "synchronous_standby_names = ''; SELECT pg_reload_conf(); lets them go on. "
        if names
        else ""
    )


def known_lsn(text: str) -> int | None:
    """Bytes of ``0/3000148``; None for what is no position: a server, or a control file, has said nothing of it."""
    try:
        return parse_lsn(text)
    except ValueError:
        return None


def shown_lsn(position: int | None) -> str:
    """``0/3000148``; '' for none."""
    return "" if position is None else show_lsn(position)


def read_history(look: Look, db: Postgres, timeline: int, application: str) -> str:
    """The history file of a primary's timeline, as the server itself has it; '' for the first timeline, which has none."""
    if timeline <= 1:
        return ""
    name = f"pg_wal/{timeline:08X}.history"
    text = sql("SELECT coalesce(pg_read_file({name}, 0, 60000, true), '') AS history", name=name)
    return str(look.query(maintenance(db, application), text)[0]["history"])


def fork_of(history: str, timeline: int) -> int | None:
    """Where a history leaves ``timeline``: what that timeline has from there on is on no other. None: it is not in it."""
    return next((one.position for one in _forks(history) if one.timeline == timeline), None)


def parent_of(history: str) -> int | None:
    """Where a history leaves the timeline that it came from."""
    forks = _forks(history)
    return forks[-1].position if forks else None


def _forks(history: str) -> tuple[Switch, ...]:
    """None of them where the text is no history: then nothing can be told from it."""
    try:
        return parse_history(history)
    except ValueError:
        return ()


def refuse_no_standby(db: Postgres, node: Node, other: Node | None) -> None:
    """Refuse (exit 4) a server that is not a standby, or one of another cluster than ``other``."""
    who = db.key or "the server"
    why, fix = "", "Check which is which in the environment."
    if not node.in_recovery:
        why = f"{who} is not in recovery: it is a primary, on timeline {node.timeline}."
    elif other is not None and other.identifier != node.identifier:
        why = f"{who} belongs to cluster {node.identifier}, the primary to {other.identifier}."
    elif other is not None and other.in_recovery:
        why = f"What is named as its primary is in recovery itself; {who} would have nobody to follow."
    if why:
        raise Refused(no_standby(why, fix))


def no_standby(why: str, fix: str) -> Problem:
    """The server is not the standby that the step needs."""
    return Problem("E694", "this is not a standby that can take over", why, fix)


def not_as_it_should(why: str, fix: str) -> Problem:
    """A check after the work did not hold, or the world is in a state that no step leaves."""
    return Problem("E697", "the servers are not as they should be", why, fix)
