"""The local journal: what is acknowledged stays, what fails poisons, what is damaged is refused."""

from __future__ import annotations

import errno
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread

import pytest

from runbook.errors import Bug, JournalFault
from runbook.journal.disk import PosixDisk
from runbook.journal.head import SLOT_BYTES, decode_slots
from runbook.journal.local import LocalJournal, read
from runbook.journal.ports import Disk, Journal
from runbook.journal.record import Payload, Record
from tests.journal.memory_disk import OPERATIONS, Fault, MemoryDisk
from tests.journal.steady_clock import SteadyClock

RUN = "20260214-120000-restore-db-4f3a"
HERE = Path("/state/runs") / RUN
POSIX = PosixDisk()


def create(directory: Path = HERE, disk: Disk = POSIX) -> LocalJournal:
    return LocalJournal.create(directory, run=RUN, clock=SteadyClock(), boot="b", disk=disk)


def reopen(directory: Path = HERE, disk: Disk = POSIX) -> LocalJournal:
    return LocalJournal.open(directory, run=RUN, clock=SteadyClock(), boot="b", disk=disk)


def step(number: int) -> Payload:
    return {"event": "step.started", "step": f"s{number}"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / RUN


def test_records_are_read_back_in_order_and_each_opening_is_an_epoch(directory: Path) -> None:
    with create(directory) as journal:
        first = journal.append([step(1), step(2)])
        second = journal.append([step(3)])
    with reopen(directory) as journal:
        assert journal.records == (*first, *second)
        third = journal.append([step(4)])
    reading = read(directory)
    assert reading.records == (*first, *second, *third)
    assert [record.seq for record in reading.records] == [1, 2, 3, 4]
    assert [record.epoch for record in reading.records] == [1, 1, 1, 2]
    assert (reading.damages, reading.torn, reading.acknowledged) == ((), 0, 4)


def test_an_epoch_counts_from_its_first_record(directory: Path) -> None:
    create(directory).close()
    for _ in range(3):
        reopen(directory).close()
    with reopen(directory) as journal:
        assert journal.append([step(1)])[0].epoch == 1


def test_only_the_owner_may_look_whatever_the_umask(directory: Path) -> None:
    create(directory).close()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {path.name for path in directory.iterdir()} == {"journal.jsonl", "head", "reserve"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_a_run_is_begun_once(directory: Path) -> None:
    create(directory).close()
    with pytest.raises(JournalFault, match="E709"):
        create(directory)


def test_nothing_appended_costs_nothing() -> None:
    disk = MemoryDisk()
    journal = create(disk=disk)
    before = len(disk.calls)
    assert journal.append([]) == ()
    assert len(disk.calls) == before


def test_an_append_is_write_sync_head_sync() -> None:
    disk = MemoryDisk()
    journal = create(disk=disk)
    before = len(disk.calls)
    journal.append([step(1), step(2), step(3)])
    assert disk.calls[before:] == ["append", "fdatasync", "pwrite", "fdatasync"]


def test_a_payload_that_is_refused_harms_nobody() -> None:
    journal = create(disk=MemoryDisk())
    with pytest.raises(Bug):
        journal.append([step(1), {"event": "x", "seq": 1}])
    assert journal.append([step(2)])[0].seq == 1


def test_a_closed_journal_takes_nothing() -> None:
    journal = create(disk=MemoryDisk())
    journal.close()
    journal.close()
    with pytest.raises(JournalFault, match="E711"):
        journal.append([step(1)])


# Opening


@pytest.mark.parametrize("garbage", [b'{"seq":4,"at":"20', b"\0" * 700, b"rubbish\nmore\n"])
def test_a_torn_tail_is_set_aside_and_cut(directory: Path, garbage: bytes) -> None:
    with create(directory) as journal:
        written = journal.append([step(1), step(2), step(3)])
    with (directory / "journal.jsonl").open("ab") as file:
        file.write(garbage)
    assert read(directory).torn == len(garbage)
    assert not (directory / "journal.jsonl.torn-1").exists()
    with reopen(directory) as journal:
        assert journal.records == written
        journal.append([step(4)])
    aside = directory / "journal.jsonl.torn-1"
    assert aside.read_bytes() == garbage
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    assert [record.seq for record in read(directory).records] == [1, 2, 3, 4]


def test_each_torn_tail_is_kept(directory: Path) -> None:
    create(directory).close()
    for number in (1, 2, 3):
        (directory / "journal.jsonl").write_bytes(b"torn %d" % number)
        reopen(directory).close()
        assert (directory / f"journal.jsonl.torn-{number}").read_bytes() == b"torn %d" % number
    assert (directory / "journal.jsonl").read_bytes() == b""


def test_records_before_their_head_are_kept_and_acknowledged(directory: Path) -> None:
    with create(directory) as journal:
        journal.append([step(1)])
        before = (directory / "head").read_bytes()
        journal.append([step(2), step(3)])
    (directory / "head").write_bytes(before)
    assert read(directory).acknowledged == 1
    reopen(directory).close()
    assert read(directory).acknowledged == 3


def test_a_refused_journal_is_left_as_it_was(directory: Path) -> None:
    with create(directory) as journal:
        written = journal.append([step(1), step(2), step(3)])
    path = directory / "journal.jsonl"
    path.write_bytes(written[0].line + written[2].line)
    before = {file.name: file.read_bytes() for file in directory.iterdir()}
    with pytest.raises(JournalFault) as caught:
        reopen(directory)
    assert caught.value.exit_code == 7
    assert "Record 2 was expected" in str(caught.value)
    assert {file.name: file.read_bytes() for file in directory.iterdir()} == before
    reading = read(directory)
    assert (reading.records, reading.later) == (written[:1], written[2:])


def test_a_truncated_journal_is_refused_at_every_byte() -> None:
    disk = MemoryDisk()
    create(disk=disk).append([step(1), step(2)])
    whole = disk.names[HERE / "journal.jsonl"].content
    for size in range(len(whole)):
        disk.names[HERE / "journal.jsonl"].content = whole[:size]
        with pytest.raises(JournalFault, match="E702"):
            reopen(disk=disk)


@pytest.mark.parametrize("slot", [0, 1])
def test_one_torn_slot_of_the_head_is_written_again(directory: Path, slot: int) -> None:
    with create(directory) as journal:
        journal.append([step(1)])
        journal.append([step(2)])
    content = bytearray((directory / "head").read_bytes())
    content[slot * SLOT_BYTES + 30 : slot * SLOT_BYTES + 60] = bytes(30)
    (directory / "head").write_bytes(content)
    with reopen(directory) as journal:
        journal.append([step(3)])
        journal.append([step(4)])
    slots = decode_slots((directory / "head").read_bytes())
    assert {head.seq for head in slots.readable} == {3, 4}


def test_without_a_head_nothing_goes_on_but_everything_is_shown(directory: Path) -> None:
    with create(directory) as journal:
        written = journal.append([step(1)])
    for spoil in (lambda: (directory / "head").write_bytes(bytes(8192)), lambda: (directory / "head").unlink()):
        spoil()
        with pytest.raises(JournalFault, match="E703"):
            reopen(directory)
        assert read(directory).records == written


def test_what_never_was_a_run_says_so(directory: Path) -> None:
    with pytest.raises(JournalFault, match="E707"):
        read(directory)
    directory.mkdir()
    (directory / "journal.jsonl").touch()
    with pytest.raises(JournalFault, match="E707"):
        reopen(directory)


def test_a_link_in_place_of_the_journal_is_refused(directory: Path, tmp_path: Path) -> None:
    create(directory).close()
    (directory / "journal.jsonl").rename(tmp_path / "elsewhere")
    (directory / "journal.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalFault, match="symbolic link"):
        reopen(directory)


# Failing


@pytest.mark.parametrize("operation", ["append", "fdatasync", "pwrite"])
@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS, errno.EDQUOT, errno.ENOSPC])
@pytest.mark.parametrize("later", [1, 2, 3, 4])
def test_a_failed_write_or_sync_is_never_tried_again(operation: str, code: int, later: int) -> None:
    disk = MemoryDisk()
    journal = create(disk=disk)
    disk.faults.append(Fault(operation, later, code))  # once; it would succeed afterwards
    acknowledged: list[Record] = []
    with pytest.raises(JournalFault) as caught:
        for number in range(10):
            acknowledged += journal.append([step(number)])
    assert caught.value.exit_code == 7
    calls = list(disk.calls)
    for _ in range(3):
        with pytest.raises(JournalFault) as again:
            journal.append([step(99)])
        assert again.value.problems == caught.value.problems
    assert disk.calls == calls
    found = reopen(disk=disk).records
    assert list(found[: len(acknowledged)]) == acknowledged


@pytest.mark.parametrize("operation", ["fdatasync", "append", "pwrite"])
def test_after_an_io_error_not_even_the_last_record_is_written(operation: str) -> None:
    disk = MemoryDisk()
    journal = create(disk=disk)
    disk.faults.append(Fault(operation, 1, errno.EIO))
    with pytest.raises(JournalFault, match="E705"):
        journal.append([step(1)])
    calls = list(disk.calls)
    with pytest.raises(JournalFault, match="E705"):
        journal.append_last({"event": "run.interrupted"})
    assert disk.calls == calls


@pytest.mark.parametrize("size", range(1, 500, 7))
def test_short_writes_are_completed(size: int) -> None:
    disk = MemoryDisk()
    journal = create(disk=disk)
    disk.most_taken = size
    written = journal.append([step(1), step(2)])
    assert disk.calls.count("append") == -(-len(b"".join(record.line for record in written)) // size)
    assert reopen(disk=disk).records == written


def test_a_write_that_takes_nothing_is_a_fault() -> None:
    disk = MemoryDisk()
    journal = create(disk=disk)
    disk.most_taken = 0
    with pytest.raises(JournalFault, match="E705"):
        journal.append([step(1)])


@pytest.mark.parametrize("room", range(0, 2000, 61))
def test_on_a_full_disk_the_stop_is_recorded_from_the_reserve(room: int) -> None:
    disk = MemoryDisk()
    journal = create(disk=disk)
    disk.capacity = sum(len(inode.content) for inode in disk.names.values()) + room
    acknowledged: list[Record] = []
    with pytest.raises(JournalFault, match="E706") as caught:
        for number in range(10):
            acknowledged += journal.append([step(number)])
    assert f"runbook resume {RUN}" in str(caught.value)
    stop = journal.append_last({"event": "run.interrupted", "reason": "no space"})
    assert stop.seq == len(acknowledged) + 1
    assert HERE / "reserve" not in disk.names
    with pytest.raises(JournalFault, match="E711"):
        journal.append([step(99)])
    assert read(HERE, disk=disk).records == (*acknowledged, stop)
    disk.capacity = 1 << 30
    assert reopen(disk=disk).records == (*acknowledged, stop)
    assert len(disk.names[HERE / "reserve"].content) == 16 * 1024


def test_the_last_record_of_a_healthy_journal() -> None:
    disk = MemoryDisk()
    journal = create(disk=disk)
    journal.append([step(1)])
    assert journal.append_last({"event": "run.interrupted"}).seq == 2
    with pytest.raises(JournalFault, match="E711"):
        journal.append_last({"event": "run.interrupted"})
    assert len(reopen(disk=disk).records) == 2


def test_space_that_ends_at_the_head_leaves_the_stop_in_the_place_of_what_was_not_acknowledged() -> None:
    disk = MemoryDisk()
    journal = create(disk=disk)
    first = journal.append([step(1)])
    disk.faults.append(Fault("pwrite", 1, errno.ENOSPC))
    with pytest.raises(JournalFault, match="E706"):
        journal.append([step(2), step(3)])
    stop = journal.append_last({"event": "run.interrupted"})
    assert stop.seq == 2
    assert reopen(disk=disk).records == (*first, stop)


def test_space_that_ends_at_a_sync_is_as_bad_as_any_failed_sync() -> None:
    disk = MemoryDisk()
    journal = create(disk=disk)
    disk.faults.append(Fault("fdatasync", 1, errno.ENOSPC))
    for attempt in (journal.append, lambda payloads: journal.append_last(payloads[0])):
        with pytest.raises(JournalFault, match="E706"):
            attempt([step(1)])
    assert disk.calls[-1] == "fdatasync"


def test_a_full_disk_that_the_reserve_does_not_help() -> None:
    disk = MemoryDisk()
    journal = create(disk=disk)
    disk.faults.append(Fault("append", 1, errno.ENOSPC, lasting=True))
    for attempt in (journal.append, lambda payloads: journal.append_last(payloads[0])):
        with pytest.raises(JournalFault, match="E706"):
            attempt([step(1)])
    assert disk.calls.count("append") == 2


def test_resuming_on_a_full_disk_is_refused_before_anything_is_cut() -> None:
    disk = MemoryDisk()
    create(disk=disk).append([step(1)])
    disk.names[HERE / "journal.jsonl"].content += b"torn"
    disk.capacity = 0
    with pytest.raises(JournalFault, match="E706"):
        reopen(disk=disk)
    assert disk.names[HERE / "journal.jsonl"].content.endswith(b"torn")


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE, errno.ENOSPC, errno.EACCES])
def test_any_operation_that_fails_ends_in_a_fault_with_a_text(operation: str, code: int) -> None:
    for at in range(1, 12):
        disk = MemoryDisk()
        acknowledged: list[Record] = []
        disk.faults.append(Fault(operation, at, code))
        try:
            journal = create(disk=disk)
            acknowledged += journal.append([step(1)])
            acknowledged += journal.append([step(2)])
            journal.close()
            disk.names[HERE / "journal.jsonl"].content += b"torn"
            with reopen(disk=disk) as journal:
                acknowledged += journal.append([step(3)])
        except JournalFault as fault:
            assert fault.exit_code == 7
            assert fault.problems[0].fix
            assert str(HERE) in str(fault)
        if acknowledged:
            disk.faults.clear()
            assert list(reopen(disk=disk).records[: len(acknowledged)]) == acknowledged


def test_a_broken_off_write_poisons() -> None:
    class Interrupting(MemoryDisk):
        def fdatasync(self, file: int) -> None:
            if len(self.names) == 3 and HERE / "head" in self.names:
                raise KeyboardInterrupt
            super().fdatasync(file)

    journal = create(disk=Interrupting())
    with pytest.raises(KeyboardInterrupt):
        journal.append([step(1)])
    with pytest.raises(JournalFault, match="broken off"):
        journal.append([step(2)])


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs, which this container doesn't have")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.root
@pytest.mark.parametrize("small_disk", [64, 48, 40, 36, 32], indirect=True)
def test_a_real_file_system_that_runs_full(small_disk: Path) -> None:
    journal = create(small_disk / RUN)
    acknowledged: list[Record] = []
    with pytest.raises(JournalFault, match="E706"):
        for number in range(1000):
            acknowledged += journal.append([step(number)])
    assert acknowledged
    stop = journal.append_last({"event": "run.interrupted"})
    journal.close()
    reading = read(small_disk / RUN)
    assert reading.records == (*acknowledged, stop)
    assert reading.damages == ()


@pytest.mark.root
@pytest.mark.parametrize("small_disk", [4, 8, 16, 20], indirect=True)
def test_a_file_system_too_small_to_begin_on(small_disk: Path) -> None:
    with pytest.raises(JournalFault, match="E706"):
        create(small_disk / RUN)


# Many threads


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


def test_threads_share_syncs() -> None:
    disk = MemoryDisk(sync_takes_s=0.001)
    journal = create(disk=disk)
    before = disk.calls.count("fdatasync")
    results = append_from_threads(journal, threads=8, times=25)
    assert disk.calls.count("fdatasync") - before < 8 * 25
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
