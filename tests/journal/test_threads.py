"""Several threads and one journal: shared syncs, and a failure that reaches all of them."""

from __future__ import annotations

import errno
from pathlib import Path
from threading import Barrier, Thread

import pytest

from runbook.errors import JournalFault
from runbook.journal.local import read
from runbook.journal.ports import Journal
from runbook.journal.record import Record
from tests.fixtures.patience import PATIENCE_S, eventually
from tests.journal.begun import HERE, RUN, create, reopen, step
from tests.journal.held_disk import HeldDisk
from tests.journal.memory_disk import Fault, MemoryDisk


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / RUN


def append_from_threads(journal: Journal, *, threads: int, times: int) -> list[list[tuple[Record, ...]]]:
    results: list[list[tuple[Record, ...]]] = [[] for _ in range(threads)]
    start = Barrier(threads)

    def work(mine: int) -> None:
        start.wait()
        for number in range(times):
            results[mine].append(journal.append([step(mine), {"event": "x", "thread": mine, "number": number}]))

    workers = [Thread(target=work, args=(mine,)) for mine in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    return results


def test_threads_that_come_while_one_syncs_share_the_next_one() -> None:
    disk = HeldDisk()
    journal = create(disk=disk)
    disk.free.clear()
    first = Thread(target=journal.append, args=([step(0)],))
    first.start()
    assert disk.held.wait(PATIENCE_S)
    others = [Thread(target=journal.append, args=([step(mine)],)) for mine in range(1, 8)]
    for other in others:
        other.start()
    eventually(lambda: len(journal._waiting) == 7)
    before = disk.calls.count("fdatasync")
    disk.free.set()
    for worker in (first, *others):
        worker.join(PATIENCE_S)
    assert disk.calls.count("fdatasync") - before == 4, "lines and head of the first, lines and head of all others"
    assert len(reopen(disk=disk).records) == 8


def test_threads_get_their_own_records() -> None:
    disk = MemoryDisk(sync_takes_s=0.001)
    journal = create(disk=disk)
    results = append_from_threads(journal, threads=8, times=25)
    records = reopen(disk=disk).records
    assert len(records) == 8 * 25 * 2
    for mine in results:
        assert [record.seq for first, _ in mine for record in [first]] == sorted(first.seq for first, _ in mine)
        for number, (first, second) in enumerate(mine):
            assert second.seq == first.seq + 1
            assert second.payload["number"] == number
            assert records[first.seq - 1 : second.seq] == (first, second)


def test_threads_on_a_real_disk(directory: Path) -> None:
    with create(directory) as journal:
        append_from_threads(journal, threads=8, times=25)
    reading = read(directory)
    assert (len(reading.records), reading.damages, reading.acknowledged) == (400, (), 400)


def test_one_failed_sync_fails_every_thread_that_waited_for_it() -> None:
    disk = MemoryDisk(sync_takes_s=0.002)
    journal = create(disk=disk)
    disk.faults.append(Fault("fdatasync", 9, errno.EIO))
    failed: list[int] = []
    acknowledged: list[Record] = []

    def work(mine: int) -> None:
        try:
            for _ in range(50):
                acknowledged.extend(journal.append([step(mine)]))
        except JournalFault:
            failed.append(mine)

    workers = [Thread(target=work, args=(mine,)) for mine in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert sorted(failed) == list(range(8))
    assert disk.calls[-1] == "fdatasync"
    assert set(acknowledged) <= set(read(HERE, disk=disk).records)
