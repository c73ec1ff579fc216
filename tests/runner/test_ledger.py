"""The ledger under threads: what commit returned from is durable, whoever wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event as Flag
from threading import Thread

import pytest

from runbook.engine.events import RunCreated, StepCancelled
from runbook.engine.run import begin
from runbook.errors import JournalFault, Problem
from runbook.graph import build
from runbook.journal.record import Payload, Record
from runbook.runner.ledger import Ledger
from tests.fixtures.patience import PATIENCE_S
from tests.runner.memory_run import step


class Breaking:
    """A journal whose first write fails, slowly."""

    def __init__(self) -> None:
        self.writing, self.go_on = Flag(), Flag()

    def append(self, payloads: Sequence[Payload]) -> tuple[Record, ...]:
        """Fails; an empty group needs no write."""
        if not payloads:
            return ()
        self.writing.set()
        assert self.go_on.wait(PATIENCE_S)
        raise JournalFault(Problem("E705", "the journal could not be written"))

    def append_last(self, payload: Payload) -> Record:
        """Not used here."""
        raise AssertionError

    def close(self) -> None:
        """Nothing."""


def test_whose_intent_was_in_another_threads_failed_write_is_told_so() -> None:
    header = RunCreated("memory", "0" * 64, "memory", False, "kim", "2026-02-14T12:00:00Z", {}, {}, "0.1.0")
    journal = Breaking()
    graph = build((step("a"), step("b")))
    ledger = Ledger(journal, begin(graph, header), watch=lambda _record, _event: None)
    faults: list[str] = []

    def commit(name: str) -> None:
        try:
            ledger.commit(StepCancelled(name, "a test"))
        except JournalFault as fault:
            faults.append(fault.problems[0].code)

    ledger.note(StepCancelled("b", "a test"))  # goes along with the write of a
    first = Thread(target=commit, args=("a",))
    first.start()
    assert journal.writing.wait(PATIENCE_S)
    second = Thread(target=lambda: faults.append(_told(ledger)))
    second.start()
    journal.go_on.set()
    first.join(PATIENCE_S)
    second.join(PATIENCE_S)
    assert faults == ["E705", "E705"]
    with pytest.raises(JournalFault):
        ledger.commit()


def _told(ledger: Ledger) -> str:
    try:
        ledger.commit()
    except JournalFault as fault:
        return fault.problems[0].code
    return "durable"
