"""The ledger on a real journal: fold and disk in step, one sync for many threads, nothing told before it is durable."""

from __future__ import annotations

import threading

import pytest

from runbook.engine.events import Event, RunInterrupted, StepSkipped, StepStarted
from runbook.engine.run import begin
from runbook.errors import Bug, JournalFault
from runbook.graph import build
from runbook.journal.local import LocalJournal, read
from runbook.journal.record import Record
from runbook.journal.tape import JOURNAL
from runbook.runner.ledger import Ledger
from tests.engine.story import HEADER
from tests.engine.story import step as plain
from tests.fixtures.patience import PATIENCE_S, eventually
from tests.journal.held_disk import HeldDisk
from tests.journal.memory_disk import Fault, MemoryDisk
from tests.journal.steady_clock import SteadyClock
from tests.runner.memory_run import DIRECTORY, RUN

EIO, ENOSPC = 5, 28


class Bench:
    """A ledger on a disk in memory, and what its watcher was told."""

    def __init__(self, *names: str, disk: MemoryDisk | None = None) -> None:
        self.disk = disk or MemoryDisk()
        self.told: list[Event] = []
        self.journal = LocalJournal.create(DIRECTORY, run=RUN, clock=SteadyClock(), boot="b", disk=self.disk)
        run = begin(build([plain(name) for name in names]), HEADER)
        self.ledger = Ledger(self.journal, run, self.watch, first=HEADER)

    def watch(self, record: Record, event: Event) -> None:
        self.told.append(event)

    def written(self) -> list[str]:
        """The events in the journal."""
        found = read(DIRECTORY, disk=self.disk).records
        return [str(record.payload["event"]) for record in found]


def test_noted_events_are_folded_at_once_and_written_with_the_next_commit() -> None:
    bench = Bench("a", "b")
    bench.ledger.commit()
    bench.ledger.note(StepStarted("a", 1))
    assert bench.ledger.run.step("a").attempt == 1
    assert bench.written() == ["run.created"]
    assert len(bench.told) == 1
    bench.ledger.commit(StepSkipped("b", "no"))
    assert bench.written() == ["run.created", "step.started", "step.skipped"]
    assert bench.told == [HEADER, StepStarted("a", 1), StepSkipped("b", "no")]


def test_the_creation_comes_first_whatever_is_committed() -> None:
    bench = Bench("a")
    bench.ledger.commit(StepStarted("a", 1))
    assert bench.written() == ["run.created", "step.started"]


def test_an_event_that_cannot_follow_reaches_nothing() -> None:
    bench = Bench("a")
    bench.ledger.commit()
    with pytest.raises(Bug):
        bench.ledger.commit(StepSkipped("x", "no such step"))
    assert bench.written() == ["run.created"]


def test_nothing_is_told_that_is_not_durable() -> None:
    bench = Bench("a", "b")
    bench.ledger.commit()
    bench.disk.faults = [Fault("fdatasync", 1, EIO)]
    with pytest.raises(JournalFault):
        bench.ledger.commit(StepStarted("a", 1))
    assert bench.told == [HEADER]
    with pytest.raises(JournalFault):
        bench.ledger.commit(StepSkipped("b", "later"))  # a later event may not look durable either


def test_a_stop_is_recorded_on_a_full_disk() -> None:
    bench = Bench("a")
    bench.ledger.commit()
    bench.disk.faults = [Fault("append", 1, ENOSPC)]
    with pytest.raises(JournalFault):
        bench.ledger.commit(StepStarted("a", 1))
    bench.ledger.last(RunInterrupted("journal fault"))
    assert bench.written() == ["run.created", "run.interrupted"]


def test_branches_share_a_sync_and_each_waits_for_its_own_event() -> None:
    names = [f"s{number}" for number in range(16)]
    disk = HeldDisk()
    bench = Bench(*names, disk=disk)
    bench.ledger.commit()
    before = bench.disk.calls.count("fdatasync")
    disk.free.clear()
    durable: list[bool] = []

    def skip(name: str) -> None:
        bench.ledger.commit(StepSkipped(name, "no"))
        durable.append(f'"step":"{name}"'.encode() in bench.disk.names[DIRECTORY / JOURNAL].durable)

    threads = [threading.Thread(target=skip, args=(name,)) for name in names]
    threads[0].start()
    assert disk.held.wait(PATIENCE_S)
    for thread in threads[1:]:
        thread.start()
    eventually(lambda: len(bench.ledger._pending) == 15)
    disk.free.set()
    for thread in threads:
        thread.join()
    assert durable == [True] * 16
    assert bench.disk.calls.count("fdatasync") - before == 2 * 2, (
        "the first one's, and one commit for all that came meanwhile"
    )
    assert sorted(bench.written()) == ["run.created", *["step.skipped"] * 16]
