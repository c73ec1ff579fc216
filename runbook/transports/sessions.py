"""Sessions: one connection held open round a body of operations.

Owns the order (begin, body, end) and what a break in it means. Promises: the body's first failure ends the session, and with
it whatever the connection held; a session whose connection broke while the body ran did not succeed; one that writes notes its
transaction's id, durably, before the COMMIT of its end is sent, and a lost answer is settled by asking the server for that id.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from runbook.errors import Problem
from runbook.operation import CopyRows, Fields, Operation, Session, Sql, Statement, Wait
from runbook.transports.bound import Bound
from runbook.transports.database import Databases, Link, Watch, is_lost, lost_problem, server_words
from runbook.transports.orphans import TIMELINE, Fate, settle
from runbook.transports.outcome import Failed, Lost, Outcome, Succeeded, Use
from runbook.transports.postgres import (
    NOTE_BACKEND,
    NOTE_RESULT,
    NOTE_TIMELINE,
    NOTE_TRANSACTION,
    refused,
    run_statements,
)
from runbook.transports.running import Running
from runbook.transports.trouble import Trouble

PerformInside: TypeAlias = "Callable[[Operation, Use, Link | None], Outcome]"
NOTE_INSIDE = "inside"


@dataclass(frozen=True, slots=True)
class _Held:
    """A session while it is held: what its body is given."""

    session: Session
    use: Use
    link: Link


@dataclass(frozen=True, slots=True)
class _Sent:
    """A transaction whose COMMIT is about to be sent, and the backend that works for it."""

    transaction: str
    timeline: str
    backend: int


class Sessions:
    """Performs sessions; their bodies through the world's own dispatch."""

    def __init__(
        self, databases: Databases, running: Running, perform: PerformInside, monotonic: Callable[[], float]
    ) -> None:
        self._databases = databases
        self._running = running
        self._perform = perform
        self._monotonic = monotonic

    def perform(self, session: Session, use: Use) -> Outcome:
        """Hold the connection and perform the body. Raises :class:`Trouble` before anything was sent."""
        import psycopg

        bound = Bound(self._monotonic, use.deadline)
        with contextlib.closing(
            self._databases.connect(session.connection, bound, application=use.application)
        ) as link:
            try:
                link.execute("SET idle_in_transaction_session_timeout = 0")
                with Watch(link, bound) as watch, self._running.stoppable(f"{use.id}/begin", watch.stop):
                    first = run_statements(link, session.begin, use.results)
            except psycopg.Error as error:
                return self._broke(session, link, error)
            outcome, inner = self._body(_Held(session, use, link), first)
            if outcome is not None:
                return outcome
            return self._end(_Held(session, use, link), Succeeded(first, inner), bound)

    def _end(self, held: _Held, done: Succeeded, bound: Bound) -> Outcome:
        """Show that the connection held, then end: what commits is noted before it is sent."""
        import psycopg

        session, use, link = held.session, held.use, held.link
        results = {**use.results, session.name: done.fields, **done.inner}
        before, commits = _apart(session.end)
        sent: _Sent | None = None
        try:
            with Watch(link, bound) as watch, self._running.stoppable(f"{use.id}/end", watch.stop):
                link.execute("SELECT 1")  # the connection held all the while
                run_statements(link, before, results)
                sent = self._noted(held, done) if commits and not session.reads else None
                run_statements(link, commits, results)
        except psycopg.Error as error:
            if sent and is_lost(link):
                return self._settled(held, done, sent, words=server_words(error, self._databases.redact), bound=bound)
            return self._broke(session, link, error)
        except Trouble as error:
            return Failed(error.problem, done.fields)
        return done

    def _noted(self, held: _Held, done: Succeeded) -> _Sent | None:
        """The session's transaction, noted; None where it wrote nothing, so that nothing is lost with its answer."""
        row = held.link.execute(f"SELECT pg_current_xact_id_if_assigned()::text, {TIMELINE}").fetchone()
        if row is None or row[0] is None:
            return None
        result = {"fields": dict(done.fields), "inner": {name: dict(found) for name, found in done.inner.items()}}
        sent = _Sent(str(row[0]), str(row[1]), held.link.info.backend_pid)
        note: Fields = {
            NOTE_TRANSACTION: sent.transaction,
            NOTE_TIMELINE: sent.timeline,
            NOTE_BACKEND: sent.backend,
            NOTE_RESULT: json.dumps(result),
        }
        held.use.note(note)
        return sent

    def _settled(self, held: _Held, done: Succeeded, sent: _Sent, *, words: str, bound: Bound) -> Outcome:
        """A COMMIT whose answer was lost: what the server says of it."""
        transaction, orphan = sent.transaction, (sent.backend, held.use.application)
        connection, timeline = held.session.connection, sent.timeline
        fate = settle(self._databases, connection, transaction, bound, timeline=timeline, orphan=orphan)
        match fate:
            case Fate.COMMITTED:
                return done
            case Fate.ABORTED:
                detail = f"{words}\nThe server says that transaction {transaction} was rolled back."
                return Failed(lost_problem(detail), done.fields)
            case _:
                detail = f"{words}\nWhether transaction {transaction} was committed could not be learned ({fate})."
                fix = f"psql -c 'SELECT pg_xact_status({transaction!r}::xid8)'"
                return Lost(Problem("E317", "a COMMIT was sent and its answer was lost", detail, fix))

    def _body(self, held: _Held, first: Fields) -> tuple[Outcome | None, Mapping[str, Fields]]:
        """Perform the body. An outcome only where it did not end well."""
        inner: dict[str, Fields] = {}
        for operation in held.session.body:
            use = held.use
            results = {**use.results, held.session.name: first, **inner}
            own = replace(use, id=f"{use.id}/{operation.name}", results=results, note=_inside(use, operation.name))
            asks = operation.read if isinstance(operation, Wait) else operation
            uses_session = isinstance(asks, Sql | CopyRows) and asks.session == held.session.name
            outcome = self._perform(operation, own, held.link if uses_session else None)
            match outcome:
                case Succeeded(fields, deeper):
                    inner |= {operation.name: fields, **deeper}
                case Failed(problem):
                    return Failed(problem, first), inner
                case Lost(problem):
                    within = isinstance(asks, Sql) and uses_session and _undone(held.session, asks.statements)
                    return (Failed(problem, first) if held.session.reads or within else Lost(problem)), inner
        return None, inner

    def _broke(self, session: Session, link: Link, error: Exception) -> Outcome:
        words = server_words(error, self._databases.redact)
        if not is_lost(link):
            return Failed(refused(words))
        if _undone(session):
            return Failed(lost_problem(f"{words}\nNothing was committed."))
        return Failed(lost_problem(words)) if session.reads else Lost(lost_problem(words))


_OPENS = re.compile(r"\s*(BEGIN|START\s+TRANSACTION)\b", re.IGNORECASE)
_COMMITS = re.compile(r"\s*(COMMIT|END)\b(?!\s+PREPARED)", re.IGNORECASE)


def _apart(end: tuple[Statement, ...]) -> tuple[tuple[Statement, ...], tuple[Statement, ...]]:
    """What comes before the statement that commits, and the rest."""
    for number, statement in enumerate(end):
        if _COMMITS.match(statement.text):
            return end[:number], end[number:]
    return end, ()


def _undone(session: Session, inside: tuple[Statement, ...] = ()) -> bool:
    """Whether all that its connection did is rolled back with it: ``begin`` opens a transaction, and nothing so far ended it."""
    opens = bool(session.begin) and _OPENS.match(session.begin[0].text) is not None
    return opens and not any(_COMMITS.match(statement.text) for statement in (*session.begin, *inside))


def _inside(use: Use, name: str) -> Callable[[Fields], None]:
    def note(fields: Fields) -> None:
        use.note({**fields, NOTE_INSIDE: name})

    return note


def notes_inside(notes: tuple[Fields, ...], name: str) -> tuple[Fields, ...]:
    """Of a session's notes, those of one operation of its body."""
    return tuple(note for note in notes if note.get(NOTE_INSIDE) == name)
