"""SQL performed: statements, transactions whose COMMIT's answer was lost, passwords as verifiers.

Owns the way of :class:`~runbook.operation.Sql` and :class:`~runbook.operation.SetPassword` to the server. Promises: what is sent is
what ``sql_text`` shows; a transaction's id and result are noted, durably, before its COMMIT is sent; a connection that breaks
before the COMMIT is a failure, and one that breaks at it is settled by asking the server for that id.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runbook.condition import explain, failing
from runbook.errors import Bug, Problem
from runbook.operation import Fields, Scalar, SetPassword, Sql, Statement, Transaction
from runbook.paste import paste
from runbook.quoting import identifier, literal, sql_text
from runbook.transports.bound import Bound
from runbook.transports.database import REFUSED_FIX, Databases, Link, Watch, is_lost, lost_problem, server_words
from runbook.transports.orphans import TIMELINE, Fate, settle
from runbook.transports.outcome import Failed, Lost, Outcome, Succeeded, Use
from runbook.transports.rows import result_fields, rows_of, write_rows
from runbook.transports.running import Running
from runbook.transports.trouble import Trouble, trouble

NOTE_TRANSACTION = "transaction"
NOTE_TIMELINE = "timeline"
NOTE_BACKEND = "backend"
NOTE_RESULT = "result"


@dataclass(frozen=True, slots=True)
class Work:
    """Statements to perform on an open connection, rendered. ``secret`` ones are in no message."""

    texts: tuple[str, ...]
    operation: Sql
    results: Mapping[str, Fields]


class Postgres:
    """Performs SQL operations."""

    def __init__(self, databases: Databases, running: Running, monotonic: Callable[[], float]) -> None:
        self._databases = databases
        self._running = running
        self._monotonic = monotonic

    def perform(self, operation: Sql, use: Use, *, session: Link | None = None) -> Outcome:
        """Run the statements, on the session's connection where there is one. Raises :class:`Trouble` before anything ran."""
        work = Work(tuple(sql_text(one, use.results) for one in operation.statements), operation, use.results)
        bound = Bound(self._monotonic, use.deadline)
        if operation.session and session is None:
            raise Bug(f"{operation.name} was planned inside the session {operation.session}, and is not.")
        if session is not None:
            return self._on(session, work, use, bound)
        with contextlib.closing(
            self._databases.connect(operation.connection, bound, application=use.application)
        ) as link:
            return self._on(link, work, use, bound)

    def set_password(self, operation: SetPassword, password: str, use: Use) -> Outcome:
        """Give the role its password as a SCRAM verifier, which libpq makes here. Raises :class:`Trouble`."""
        bound = Bound(self._monotonic, use.deadline)
        with contextlib.closing(
            self._databases.connect(operation.connection, bound, application=use.application)
        ) as link:
            verifier = link.pgconn.encrypt_password(
                password.encode(), operation.role.encode(), b"scram-sha-256"
            ).decode()
            text = f"ALTER ROLE {identifier(operation.role)} PASSWORD {literal(verifier)}"
            shown = Sql(name=operation.name, connection=operation.connection, statements=())
            return self._on(link, Work((text,), shown, use.results), use, bound)

    def _on(self, link: Link, work: Work, use: Use, bound: Bound) -> Outcome:
        from psycopg.pq import TransactionStatus

        inside = link.pgconn.transaction_status != TransactionStatus.IDLE
        with Watch(link, bound) as watch, self._running.stoppable(use.id, watch.stop):
            if work.operation.transaction is Transaction.AUTOCOMMIT or inside:
                return self._one_by_one(link, work, watch)
            return self._in_one(link, work, use, bound, watch)

    def _one_by_one(self, link: Link, work: Work, watch: Watch) -> Outcome:
        import psycopg

        try:
            fields = _run(link, work)
        except psycopg.Error as error:
            detail = _said(watch, server_words(error, self._databases.redact))
            if is_lost(link) and not work.operation.reads:
                return Lost(lost_problem(detail))
            return Failed(refused(detail) if not is_lost(link) else lost_problem(detail))
        return _judged(work, fields)

    def _in_one(self, link: Link, work: Work, use: Use, bound: Bound, watch: Watch) -> Outcome:
        """One transaction. Whatever breaks before its COMMIT is sent is a definite failure: nothing was committed."""
        import psycopg

        reads = work.operation.reads
        try:
            link.execute("BEGIN READ ONLY" if reads else "BEGIN")
            outcome = _judged(work, _run(link, work))
            if isinstance(outcome, Succeeded) and (ended := _ended_itself(link)) is not None:
                return Failed(ended) if reads else Lost(ended)
            transaction, timeline = ("", "") if reads or not isinstance(outcome, Succeeded) else _transaction_id(link)
        except psycopg.Error as error:
            detail = _said(watch, server_words(error, self._databases.redact))
            return Failed(lost_problem(f"{detail}\nNothing was committed.") if is_lost(link) else refused(detail))
        except Trouble as error:
            return Failed(error.problem)
        if not isinstance(outcome, Succeeded):
            return outcome  # closing the connection rolls it back
        backend = link.info.backend_pid
        if transaction:
            note: Fields = {
                NOTE_TRANSACTION: transaction,
                NOTE_TIMELINE: timeline,
                NOTE_BACKEND: backend,
                NOTE_RESULT: json.dumps(dict(outcome.fields)),
            }
            use.note(note)
        return self._commit(link, outcome, work, _Committing(transaction, timeline, backend, use.application), bound)

    def _commit(self, link: Link, outcome: Succeeded, work: Work, committing: _Committing, bound: Bound) -> Outcome:
        import psycopg

        try:
            link.execute("COMMIT")
        except psycopg.Error as error:
            words = server_words(error, self._databases.redact)
            if work.operation.reads:
                return Failed(lost_problem(words))
            if not is_lost(link):
                return Failed(refused(words))
        else:
            return outcome
        fate = settle(
            self._databases,
            work.operation.connection,
            committing.transaction,
            bound,
            timeline=committing.timeline,
            orphan=committing.orphan,
        )
        match fate:
            case Fate.COMMITTED:
                return outcome
            case Fate.ABORTED:
                return Failed(
                    lost_problem(f"{words}\nThe server says that transaction {committing.transaction} was rolled back.")
                )
            case _:
                detail = f"{words}\nWhether transaction {committing.transaction} was committed could not be learned ({fate})."
                fix = f"psql -c 'SELECT pg_xact_status({committing.transaction!r}::xid8)'"
                return Lost(Problem("E317", "a COMMIT was sent and its answer was lost", detail, fix))


@dataclass(frozen=True, slots=True)
class _Committing:
    transaction: str
    timeline: str
    backend: int
    application: str

    @property
    def orphan(self) -> tuple[int, str]:
        """What our own abandoned backend is known by."""
        return (self.backend, self.application)


def run_statements(link: Link, statements: Sequence[Statement], results: Mapping[str, Fields]) -> Fields:
    """Run statements on an open connection, as they are; the last result. Raises psycopg's errors and :class:`Trouble`."""
    fields: Fields = {}
    for statement in statements:
        cursor = link.execute(sql_text(statement, results))
        fields = result_fields(rows_of(cursor)) if cursor.description else fields
    return fields


def _run(link: Link, work: Work) -> Fields:
    """All statements; the result of the last that returns rows (else the number of rows that the last one touched)."""
    *before, last = work.texts if work.texts else ("",)
    fields: Fields | None = None
    touched = 0
    for text in before if work.operation.into else work.texts:
        cursor = link.execute(text)
        touched = max(0, cursor.rowcount)
        if cursor.description:
            fields = result_fields(rows_of(cursor))
    if work.operation.into:
        return _stream(link, last, Path(work.operation.into))
    return {"row_count": touched} if fields is None else fields


def _stream(link: Link, text: str, path: Path) -> Fields:
    """Rows one by one into a file, so that a large result is never held whole."""
    with link.cursor() as cursor:
        rows = cursor.stream(text)
        first = next(rows, None)
        names = [column.name for column in cursor.description or ()]
        try:
            return write_rows(path, names, _chain(first, rows))
        except OSError as error:
            fix = f"df -h {path.parent}; ls -ld {path.parent}"
            raise trouble("E320", "a file could not be written", f"{path}: {error.strerror}.", fix) from None


def _chain(first: tuple[Scalar, ...] | None, rest: Iterator[tuple[Scalar, ...]]) -> Iterator[tuple[Scalar, ...]]:
    if first is not None:
        yield first
    yield from rest


def _judged(work: Work, fields: Fields) -> Outcome:
    missed = failing(work.operation.expect, fields, work.results)
    if not missed:
        return Succeeded(fields)
    title = work.operation.statements[-1].title
    detail = "\n".join((*((f"Not so: {title}",) if title else ()), *(explain(one, fields) for one in missed)))
    again = paste(work.operation).partition("\n")[0] if work.operation.reads else ""
    fix = again or "find out why it is so; try again once the database is as it has to be"
    return Failed(Problem("E314", "the result is not what was expected", detail, fix), fields)


def _transaction_id(link: Link) -> tuple[str, str]:
    """Its id, and the timeline in which that means it."""
    row = link.execute(f"SELECT pg_current_xact_id()::text, {TIMELINE}").fetchone()
    return (f"{row[0]}", f"{row[1]}") if row else ("", "")


def _ended_itself(link: Link) -> Problem | None:
    from psycopg.pq import TransactionStatus

    if link.pgconn.transaction_status == TransactionStatus.INTRANS:
        return None
    detail = "A statement ended the transaction that it ran in, so its result can't be shown to be committed."
    return Problem(
        "E318", "a transaction was ended from within", detail, "Take COMMIT and ROLLBACK out of the statements."
    )


def refused(detail: str) -> Problem:
    """The server answered, and said no."""
    return Problem("E310", "the database refused a statement", detail, REFUSED_FIX)


def _said(watch: Watch, words: str) -> str:
    return f"{words}\nThe statement was cancelled, because {watch.why}." if watch.why else words
