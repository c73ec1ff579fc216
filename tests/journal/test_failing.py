"""Failures of the disk under a journal: never hidden, never tried again, recorded where that can be."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook.errors import ExitCode, JournalFault
from runbook.journal.faults import machine_fault
from runbook.journal.local import read
from runbook.journal.record import Record
from tests.journal.begun import HERE, RUN, create, reopen, step
from tests.journal.memory_disk import OPERATIONS, Fault, MemoryDisk


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / RUN


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
    assert (f"runbook resume {RUN}" if acknowledged else "apply the plan again") in str(caught.value)
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


@pytest.mark.parametrize("operation", ["make_dir", "create_fixed", "append", "fdatasync"])
@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "E706"), (errno.EIO, "E705")])
def test_a_run_that_could_not_begin_is_applied_again_not_resumed(operation: str, number: int, code: str) -> None:
    disk = MemoryDisk()
    disk.faults.append(Fault(operation, 1, number))
    with pytest.raises(JournalFault) as caught:
        create(disk=disk).append([step(1)])
    (problem,) = caught.value.problems
    assert problem.code == code
    assert problem.fix.endswith("then apply the plan again")
    assert "nothing was changed" in problem.detail
    assert "resume" not in str(caught.value)
    assert str(HERE) not in problem.fix, "the directory of a run that never began is taken away"


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


@pytest.mark.parametrize(
    "error", [OSError(errno.EMFILE, "Too many open files"), OSError(errno.EROFS, "", "/x"), MemoryError()]
)
def test_what_the_machine_lacks_is_not_said_to_be_our_fault(error: Exception) -> None:
    found = machine_fault(error)
    assert found is not None
    assert found.exit_code is ExitCode.JOURNAL
    (problem,) = found.problems
    assert problem.code == "E715"
    assert "`runbook runs`" in problem.fix


def test_what_no_machine_does_is_ours() -> None:
    assert machine_fault(OSError(errno.EBADF, "Bad file descriptor")) is None
    assert machine_fault(KeyError("x")) is None
