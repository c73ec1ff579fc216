"""Rows from one database into another: COPY to COPY, through this process, a row at a time.

Owns the way of :class:`~runbook.operation.CopyRows`. Promises: the rows go into a transaction that is open already, so that
whatever breaks, on either side, is a definite failure that leaves nothing; a failure of one side ends the other; a stop reaches
both.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator

from runbook.errors import Bug, Problem
from runbook.operation import CopyRows, Fields
from runbook.quoting import copy_from, copy_to, sql_text
from runbook.transports.bound import Bound
from runbook.transports.database import Databases, Link, Watch, is_lost, lost_problem, server_words
from runbook.transports.outcome import Failed, Outcome, Progress, Succeeded, Use
from runbook.transports.postgres import refused
from runbook.transports.running import Running

TOLD_EVERY_BYTES = 1 << 20


class Copies:
    """Performs copies between databases."""

    def __init__(self, databases: Databases, running: Running, monotonic: Callable[[], float]) -> None:
        self._databases = databases
        self._running = running
        self._monotonic = monotonic

    def perform(self, operation: CopyRows, use: Use, session: Link | None) -> Outcome:
        """Copy the rows into the session's transaction. Raises :class:`Trouble` where the source can't be reached."""
        import psycopg
        from psycopg.pq import TransactionStatus

        if session is None or session.pgconn.transaction_status != TransactionStatus.INTRANS:
            raise Bug(
                f"{operation.name} was planned for a transaction of the session {operation.session}: there is none."
            )
        bound = Bound(self._monotonic, use.deadline)
        made = self._databases.connect(operation.source, bound, application=use.application)
        with contextlib.closing(made) as source, Watch(source, bound) as reading, Watch(session, bound) as writing:

            def stop(grace_s: float) -> None:
                reading.stop(grace_s)  # its end ends the other side too
                writing.stop(grace_s)

            with self._running.stoppable(use.id, stop):
                try:
                    return Succeeded(_copied(operation, use, source, session))
                except psycopg.Error as error:
                    return Failed(self._broke(error, source, session, why=reading.why or writing.why))

    def _broke(self, error: Exception, source: Link, session: Link, *, why: str) -> Problem:
        words = server_words(error, self._databases.redact)
        if is_lost(source) or is_lost(session):
            side = "the source" if is_lost(source) else "the session"
            words = f"The connection of {side} broke: {words}\nNothing was committed."
            return lost_problem(f"{words}\nIt was ended, because {why}." if why else words)
        return refused(f"{words}\nThe copy was cancelled, because {why}." if why else words)


def _copied(operation: CopyRows, use: Use, source: Link, session: Link) -> Fields:
    for statement in operation.before:
        source.execute(sql_text(statement, use.results))
    digest = hashlib.sha256()
    with source.cursor() as out, session.cursor() as into:
        # inside out: what ends the reading goes through the writing, which then tells its server that the copy failed
        with (
            into.copy(copy_from(operation.table, operation.columns)) as writing,
            out.copy(copy_to(operation.query, use.results)) as reading,
        ):
            for block in _told(iter(reading), use):
                digest.update(block)
                writing.write(block)
        return {"rows": into.rowcount, "sha256": digest.hexdigest()}


def _told(blocks: Iterator[bytes | bytearray | memoryview], use: Use) -> Iterator[bytes | bytearray | memoryview]:
    """The blocks, with word of how far it is every now and then."""
    done = told = 0
    for block in blocks:
        yield block
        done += len(block)
        if done - told >= TOLD_EVERY_BYTES:
            use.progress(Progress(done, 0))
            told = done
