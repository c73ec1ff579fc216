"""The local journal: what is acknowledged stays, what fails poisons, what is damaged is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from runbook.errors import Bug, JournalFault
from runbook.journal.head import SLOT_BYTES, decode_slots
from runbook.journal.local import read
from tests.journal.begun import HERE, RUN, create, reopen, step
from tests.journal.memory_disk import MemoryDisk


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
