"""Kills and power cuts: at no point is an acknowledged record lost, or a lost one taken for written."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from runbook.errors import JournalFault
from runbook.journal.disk import PosixDisk
from runbook.journal.local import LocalJournal, read
from runbook.journal.record import Payload, Record
from tests.journal.memory_disk import Fault, MemoryDisk, PowerCut
from tests.journal.steady_clock import SteadyClock

RUN = "20260214-120000-restore-db-4f3a"
HERE = Path("/state/runs") / RUN
ROUNDS = 4


def use(disk: MemoryDisk, acknowledged: list[Record]) -> None:
    """Begin or go on, and append until the power goes or the rounds are over."""
    try:
        if HERE / "head" in disk.names:
            journal = LocalJournal.open(HERE, run=RUN, clock=SteadyClock(), boot="b", disk=disk)
            assert list(journal.records[: len(acknowledged)]) == acknowledged
            acknowledged[:] = journal.records
        else:
            assert not acknowledged
            for path in list(disk.names):
                del disk.names[path]
            journal = LocalJournal.create(HERE, run=RUN, clock=SteadyClock(), boot="b", disk=disk)
        for number in range(ROUNDS):
            payload: Payload = {"event": "step.started", "step": "x" * 300, "number": number}
            acknowledged += journal.append([payload, payload])
    except PowerCut:
        pass


def test_the_power_is_cut_at_every_operation_and_again_while_recovering() -> None:
    for first in range(1, 12 + 4 * ROUNDS):
        for second in range(1, 16):
            chance = Random(first * 100 + second)
            acknowledged: list[Record] = []
            disk = MemoryDisk(cut_at=first)
            use(disk, acknowledged)
            for cut_at in (second, second + 3, 0):
                disk = disk.after_power_cut(chance)
                disk.cut_at = cut_at
                use(disk, acknowledged)
            assert len(acknowledged) >= ROUNDS * 2
            assert read(HERE, disk=disk).damages == ()


def test_a_disk_whose_sync_lies_loses_records_and_is_caught() -> None:
    """That the test above can fail: the same, where nothing is made durable. Where the head was kept, it tells."""
    lost = refused = 0
    for seed in range(60):
        disk = MemoryDisk(cut_at=12 + seed % (4 * ROUNDS), sync_lies=True)
        acknowledged: list[Record] = []
        use(disk, acknowledged)
        after = disk.after_power_cut(Random(seed))
        try:
            use(after, acknowledged)
        except JournalFault:
            refused += 1
        except AssertionError:
            lost += 1
    assert lost > 10
    assert refused > 10


APPEND_AND_TELL = """
import sys
from pathlib import Path
from runbook.journal.clock import SystemClock, boot_id
from runbook.journal.local import LocalJournal
directory = Path(sys.argv[1])
begin = LocalJournal.open if (directory / "head").exists() else LocalJournal.create
journal = begin(directory, run=directory.name, clock=SystemClock(), boot=boot_id())
print(*(record.hash for record in journal.records), sep="\\n", flush=True)
for number in range(6):
    for record in journal.append([{"event": "x", "number": number}, {"event": "y"}]):
        print(record.hash, flush=True)
"""


def work(directory: Path, crash: str = "") -> tuple[int, list[str]]:
    """Let a process append and tell what it was promised; its exit code and the hashes."""
    command = [sys.executable, "-c", APPEND_AND_TELL, str(directory)]
    environment = {**os.environ, "RUNBOOK_CRASH": crash}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return ended.returncode, ended.stdout.split()


@pytest.mark.parametrize("passage", [1, 2, 6])
@pytest.mark.parametrize(
    ("point", "more"),
    [("journal.before_write", 0), ("journal.after_write", 2), ("journal.after_sync", 2), ("journal.after_head", 2)],
)
def test_killed_at_each_point_nothing_promised_is_lost(tmp_path: Path, point: str, passage: int, more: int) -> None:
    directory = tmp_path / RUN
    code, promised = work(directory, f"{point}:{passage}")
    assert code == -signal.SIGKILL
    assert len(promised) == 2 * (passage - 1)
    found = [record.hash for record in read(directory).records]
    assert found[: len(promised)] == promised
    assert len(found) == len(promised) + more  # a killed process loses no write, only the machine can
    code, again = work(directory)
    assert code == 0
    assert again == found + again[len(found) :]
    assert [record.hash for record in read(directory).records] == again


def test_killed_three_times_while_recovering(tmp_path: Path) -> None:
    directory = tmp_path / RUN
    _, promised = work(directory)
    with (directory / "journal.jsonl").open("ab") as file:
        file.write(b'{"seq":13,"at"')
    for point in ("journal.tail_set_aside", "journal.tail_cut", "journal.tail_synced"):
        assert work(directory, f"{point}:1") == (-signal.SIGKILL, [])
    code, again = work(directory)
    assert code == 0
    assert again[: len(promised)] == promised
    assert (directory / "journal.jsonl.torn-1").read_bytes() == b'{"seq":13,"at"'


def test_the_real_disk_makes_a_journal_that_others_can_read(tmp_path: Path) -> None:
    """The model in memory and the file system agree on what a journal's files hold."""
    files: list[dict[str, bytes]] = []
    memory = MemoryDisk()
    for directory, disk in ((tmp_path / RUN, PosixDisk()), (HERE, memory)):
        with LocalJournal.create(directory, run=RUN, clock=SteadyClock(), boot="b", disk=disk) as journal:
            journal.append([{"event": "x"}])
        files.append({name: disk.read(directory / name) for name in ("journal.jsonl", "head")})
    assert files[0] == files[1]


def lose_a_sync(at: int) -> tuple[MemoryDisk, list[Record]]:
    """A journal of which one sync failed and gave its bytes up, and what was acknowledged before."""
    disk = MemoryDisk()
    acknowledged: list[Record] = []
    journal = LocalJournal.create(HERE, run=RUN, clock=SteadyClock(), boot="b", disk=disk)
    disk.faults.append(Fault("fdatasync", at, errno.EIO))
    with pytest.raises(JournalFault):
        for number in range(ROUNDS):
            acknowledged += journal.append([{"event": "x", "number": number}])
    return disk, acknowledged


@pytest.mark.parametrize("at", range(1, 2 * ROUNDS + 1))
def test_what_a_failed_sync_gave_up_is_written_again_before_it_is_relied_on(at: int) -> None:
    """The next process still reads the bytes, and its own sync succeeds without writing them (fsyncgate)."""
    disk, acknowledged = lose_a_sync(at)
    journal = LocalJournal.open(HERE, run=RUN, clock=SteadyClock(), boot="b", disk=disk)
    assert list(journal.records[: len(acknowledged)]) == acknowledged
    acknowledged = [*journal.records, *journal.append([{"event": "y"}])]
    for seed in range(6):
        after = disk.after_power_cut(Random(seed))
        assert list(read(HERE, disk=after).records) == acknowledged
        assert read(HERE, disk=after).damages == ()
