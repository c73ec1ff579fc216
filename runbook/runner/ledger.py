"""The ledger: journal and fold, kept in step.

Owns :class:`Ledger`. Promises: the fold never knows an event that isn't on its way to the journal in the same order; when
``commit`` returns, every event noted before it is durable; parallel branches share one sync; no secret that the run has revealed
reaches the journal.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from runbook.engine.events import Event, payload
from runbook.engine.run import Run, advance
from runbook.journal.ports import Journal
from runbook.journal.record import Record
from runbook.operation import Json
from runbook.secret import Redactor

Watch = Callable[[Record, Event], None]


class Ledger:
    """A run's events: folded at once, durable at the next commit. Safe for several threads."""

    def __init__(
        self, journal: Journal, run: Run, watch: Watch, *, redactor: Redactor | None = None, first: Event | None = None
    ) -> None:
        self._journal = journal
        self._run = run
        self._watch = watch
        self._redactor = redactor or Redactor()
        self._folding = Lock()
        self._writing = Lock()
        # the event that created the run is in the fold already, and not yet in the journal
        self._pending: list[Event] = [first] if first else []
        self._noted = len(self._pending)
        self._durable = 0
        self._broken: BaseException | None = None

    @property
    def run(self) -> Run:
        """The run as far as it has been told."""
        return self._run

    def note(self, *events: Event) -> None:
        """Fold these events; they become durable with the next commit. For what announces no effect."""
        with self._folding:
            for event in events:
                self._run = advance(self._run, event)
            self._pending += events
            self._noted += len(events)

    def commit(self, *events: Event) -> None:
        """Fold these events and return when they, and all before them, are durable. Raises JournalFault, then and ever after."""
        self.note(*events)
        wanted = self._noted
        with self._writing:
            if self._durable >= wanted:
                return
            if self._broken is not None:
                # our events may have been in the batch of the thread that failed: they will never be durable
                raise self._broken
            with self._folding:
                batch, self._pending = self._pending, []
            try:
                records = self._journal.append([self._clean(event) for event in batch])
            except BaseException as error:
                self._broken = error
                raise
            self._durable += len(batch)
            for record, event in zip(records, batch, strict=True):
                self._watch(record, event)

    def last(self, event: Event) -> None:
        """Record a stop on a disk that may be full; nothing can follow."""
        with self._writing:
            record = self._journal.append_last(self._clean(event))
            self._watch(record, event)

    def masked(self, value: Json) -> Json:
        """A value of the fold as it may leave the program."""
        return masked(value, self._redactor)

    def _clean(self, event: Event) -> dict[str, Json]:
        """The event's payload with known secrets masked: the last filter before the disk."""
        body = payload(event)
        return {key: masked(value, self._redactor) for key, value in body.items()} if self._redactor.longest else body


def masked(value: Json, redactor: Redactor) -> Json:
    """The value with every text in it filtered, keys too."""
    match value:
        case str():
            return redactor(value)
        case list():
            return [masked(item, redactor) for item in value]
        case dict():
            return {redactor(key): masked(item, redactor) for key, item in value.items()}
        case _:
            return value
