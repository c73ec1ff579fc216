"""The WAL segment that is closed now: what is written can be awaited in the archive only once its segment is closed.

Owns the operation that closes it, the result in which its name stands, and the wait until the archive has it. Promises: a commit
stands in that segment, later than all that was committed before, so that a recovery knows that it passed any target until then.
"""

from __future__ import annotations

from runbook.operation import Condition, Connection, Operation, Process, Ref, Sql, Test, Transaction, Wait, sql

SEGMENT = Ref("switch_wal", "segment")
"""Its file's name, once it is closed."""

# A transaction that only has a number is committed without a flush, and so without a wait for a synchronous standby that is away.
_COMMIT = sql("SELECT pg_current_xact_id()::text AS transaction")
_CLOSE = sql("SELECT pg_walfile_name(pg_switch_wal()) AS segment")


def closed(at: Connection) -> Operation:
    """Commits a transaction, and closes the segment that it stands in."""
    return Sql(name="switch_wal", connection=at, statements=(_COMMIT, _CLOSE), transaction=Transaction.AUTOCOMMIT)


def archived(arrived: Process, *, within_s: float) -> Operation:
    """Waits until ``arrived``, a look for :data:`SEGMENT` in the archive, ends with exit code 0."""
    there = (Condition("exit_code", Test.EQUALS, 0),)
    return Wait(name="archived", read=arrived, until=there, deadline_s=within_s)
