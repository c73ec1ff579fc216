"""Sessions: one connection held open round a body of operations.

Owns the order (begin, body, end) and what a break in it means. Promises: the body's first failure ends the session, and with
it whatever the connection held; a session whose connection broke while the body ran did not succeed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from runbook.operation import Fields, Operation, Session, Sql, Wait
from runbook.transports.bound import Bound
from runbook.transports.database import Databases, Link, Watch, is_lost, lost_problem, server_words
from runbook.transports.outcome import Failed, Lost, Outcome, Succeeded, Use
from runbook.transports.postgres import refused, run_statements
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
            try:
                with Watch(link, bound) as watch, self._running.stoppable(f"{use.id}/end", watch.stop):
                    link.execute("SELECT 1")  # the connection held all the while
                    run_statements(link, session.end, {**use.results, session.name: first, **inner})
            except psycopg.Error as error:
                return self._broke(session, link, error)
            except Trouble as error:
                return Failed(error.problem, first)
            return Succeeded(first, inner)

    def _body(self, held: _Held, first: Fields) -> tuple[Outcome | None, Mapping[str, Fields]]:
        """Perform the body. An outcome only where it did not end well."""
        inner: dict[str, Fields] = {}
        for operation in held.session.body:
            use = held.use
            results = {**use.results, held.session.name: first, **inner}
            own = replace(use, id=f"{use.id}/{operation.name}", results=results, note=_inside(use, operation.name))
            asks = operation.read if isinstance(operation, Wait) else operation
            uses_session = isinstance(asks, Sql) and asks.session == held.session.name
            outcome = self._perform(operation, own, held.link if uses_session else None)
            match outcome:
                case Succeeded(fields, deeper):
                    inner |= {operation.name: fields, **deeper}
                case Failed(problem):
                    return Failed(problem, first), inner
                case Lost(problem):
                    return (Failed(problem, first) if held.session.reads else Lost(problem)), inner
        return None, inner

    def _broke(self, session: Session, link: Link, error: Exception) -> Outcome:
        words = server_words(error, self._databases.redact)
        if not is_lost(link):
            return Failed(refused(words))
        return Failed(lost_problem(words)) if session.reads else Lost(lost_problem(words))


def _inside(use: Use, name: str) -> Callable[[Fields], None]:
    def note(fields: Fields) -> None:
        use.note({**fields, NOTE_INSIDE: name})

    return note


def notes_inside(notes: tuple[Fields, ...], name: str) -> tuple[Fields, ...]:
    """Of a session's notes, those of one operation of its body."""
    return tuple(note for note in notes if note.get(NOTE_INSIDE) == name)
