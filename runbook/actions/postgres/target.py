"""Where recovery is to end: a moment, a position, a transaction, a restore point, or the end of the archive.

Owns the closed union :data:`Target`: the server's settings for each, how it is said, and what shows that a server stands there:
its own log line, and a question about what it has replayed. Pure.

What ``inclusive`` means is the server's own rule (recoveryStopsBefore and recoveryStopsAfter in xlogrecovery.c): a commit at
exactly that moment, the record that begins at that position, that transaction's commit are still replayed, or no longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, assert_never

from runbook.units import show_instant

KINDS = ("recovery_target_time", "recovery_target_lsn", "recovery_target_xid", "recovery_target_name")


@dataclass(frozen=True, slots=True)
class Moment:
    """A time (aware): the transactions that were committed until then."""

    at: datetime
    inclusive: bool = True


@dataclass(frozen=True, slots=True)
class Position:
    """A position in the WAL, as pg_waldump and pg_current_wal_lsn() write it."""

    lsn: str
    inclusive: bool = True


@dataclass(frozen=True, slots=True)
class CommitOf:
    """The commit of a transaction: everything up to it, and itself only if ``inclusive``."""

    xid: int
    inclusive: bool = True


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """A name given to pg_create_restore_point(): the first of that name after the base backup."""

    name: str


@dataclass(frozen=True, slots=True)
class EndOfArchive:
    """All that is archived. The segment that begins at ``reaches`` (an LSN) was there beforehand; '' = not looked at."""

    reaches: str = ""


Target: TypeAlias = Moment | Position | CommitOf | RestorePoint | EndOfArchive


def told(target: Target) -> str:
    """The target in words; a moment is an instant in UTC, as outputs give it."""
    match target:
        case Moment(at, inclusive):
            return show_instant(at) if inclusive else f"before {show_instant(at)}"
        case Position(lsn, inclusive):
            return f"{'up to' if inclusive else 'before'} LSN {lsn}"
        case CommitOf(xid, inclusive):
            return f"{'up to' if inclusive else 'before'} transaction {xid}"
        case RestorePoint(name):
            return f"restore point {name}"
        case EndOfArchive():
            return "the end of the archive"
        case _:
            assert_never(target)


def settings(target: Target) -> dict[str, str]:
    """The server's settings for it. The other kinds are emptied first: two kinds are refused, wherever they come from.

    In this order, since emptying one kind makes the server forget whichever was set before.
    """
    ours: dict[str, str]
    match target:
        case Moment(at):
            # The setting takes an offset, but no Z.
            ours = {"recovery_target_time": _moment(at)}
        case Position(lsn):
            ours = {"recovery_target_lsn": lsn}
        case CommitOf(xid):
            ours = {"recovery_target_xid": str(xid)}
        case RestorePoint(name):
            ours = {"recovery_target_name": name}
        case EndOfArchive():
            ours = {"wal_retrieve_retry_interval": "1s"}
        case _:
            assert_never(target)
    inclusive = "on" if getattr(target, "inclusive", True) else "off"
    emptied = {"recovery_target": "", **{kind: "" for kind in KINDS if kind not in ours}}
    return {**emptied, "recovery_target_inclusive": inclusive, "recovery_target_action": "pause", **ours}


def signal(target: Target) -> str:
    """The file that makes the server recover. Without a target it would promote itself at the end, so there it stands by."""
    return "standby.signal" if isinstance(target, EndOfArchive) else "recovery.signal"


def standing(target: Target) -> str:
    """The state in which a server stands at its target, as :data:`STATE` names it."""
    return "waiting" if isinstance(target, EndOfArchive) else "paused"


STATE = """\
SELECT CASE WHEN NOT pg_is_in_recovery() THEN 'promoted' WHEN pg_is_wal_replay_paused() THEN 'paused'
  WHEN current_setting('recovery_target_time') || current_setting('recovery_target_lsn') ||
    current_setting('recovery_target_xid') || current_setting('recovery_target_name') = ''
    AND EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'RecoveryRetrieveRetryInterval') THEN 'waiting'
  ELSE 'recovering' END"""
"""``waiting``: neither the archive nor pg_wal has the next segment (manual, Wait Events of Type Timeout)."""


def stopped_there(target: Target) -> str:
    """The words of the server's log that say why it stopped; '' where it goes on waiting for more."""
    match target:
        case Moment():
            return "recovery stopping before "
        case Position(_, inclusive):
            return f"recovery stopping {'after' if inclusive else 'before'} WAL location"
        case CommitOf(xid, inclusive):
            # the server knows only the lower half of a transaction's id here
            return f"recovery stopping {'after' if inclusive else 'before'} commit of transaction {xid % 2**32},"
        case RestorePoint(name):
            return f'recovery stopping at restore point "{name}",'
        case EndOfArchive():
            return ""
        case _:
            assert_never(target)


def within(target: Target) -> str:
    """A query for a server that stands there: ``t`` if it has replayed what it should, and nothing beyond."""
    match target:
        case Moment(at, inclusive):
            compared = "<=" if inclusive else "<"
            return f"SELECT coalesce(pg_last_xact_replay_timestamp() {compared} '{_moment(at)}'::timestamptz, true)"
        case Position(lsn, inclusive):
            # Exclusive, the last record begins before it and may end after it, where the position lies inside a record.
            reached = f"pg_last_wal_replay_lsn() >= '{lsn}'::pg_lsn"
            same = f"current_setting('recovery_target_lsn')::pg_lsn = '{lsn}'::pg_lsn"
            return f"SELECT {reached} AND {same}" if inclusive else f"SELECT {same}"
        case CommitOf(xid, inclusive):
            return _committed(xid) if inclusive else f"SELECT NOT ({_committed(xid)})"
        case RestorePoint():
            return "SELECT true"
        case EndOfArchive(reaches):
            return f"SELECT pg_last_wal_replay_lsn() >= '{reaches}'::pg_lsn" if reaches else "SELECT true"
        case _:
            assert_never(target)


def _moment(at: datetime) -> str:
    return show_instant(at).replace("T", " ").replace("Z", "+00")


def _committed(xid: int) -> str:
    """Whether the copy has that commit. Its upper half is the highest known one's, or the one before that."""
    top = "pg_snapshot_xmax(pg_current_snapshot())::text::numeric"
    # The highest id up to the top whose lower half is the wanted one; whatever is not below the top was not yet begun.
    full = f"({top} - mod({top} - {xid % 2**32} + 4294967296, 4294967296))"
    known = f"CASE WHEN {full} < {top} AND {full} > 2 THEN pg_xact_status({full}::text::xid8) END"
    return f"SELECT coalesce({known} = 'committed', false)"
