"""Judging a journal: what a crash leaves is a torn tail, everything else is damage and names its place."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import combinations

import pytest

from runbook.errors import ExitCode, JournalFault
from runbook.journal.head import SLOT_BYTES, Head, encode_slot
from runbook.journal.reading import MOST_DAMAGES, DamageKind, Reading, inspect
from runbook.journal.record import GENESIS, Record, Writer, draft, seal

AT = datetime(2026, 2, 14, 12, tzinfo=UTC)
RUN = "20260214-120000-restore-db-4f3a"


def chain(count: int, *, run: str = RUN, epoch: int = 1) -> list[Record]:
    records: list[Record] = []
    for seq in range(1, count + 1):
        prev = records[-1].hash if records else GENESIS
        content = draft({"event": "step.started", "step": f"s{seq}"})
        records.append(seal(content, Writer(run, epoch, "b"), seq=seq, at=AT, mono=seq / 10, prev=prev))
    return records


def text(records: list[Record]) -> bytes:
    return b"".join(record.line for record in records)


def head(*records: Record) -> bytes:
    """The head after these records, of which the last two are in the slots."""
    first, second = [Head(0, GENESIS), Head(0, GENESIS), *(Head(r.seq, r.hash) for r in records)][-2:]
    return encode_slot(first).ljust(SLOT_BYTES) + encode_slot(second).ljust(SLOT_BYTES)


RECORDS = chain(6)
WHOLE = text(RECORDS)
HEAD = head(*RECORDS)


def kinds(reading: Reading) -> set[DamageKind]:
    return {damage.kind for damage in reading.damages}


def test_a_whole_journal() -> None:
    reading = inspect(WHOLE, HEAD)
    assert reading.records == tuple(RECORDS)
    assert (reading.damages, reading.later, reading.torn, reading.size) == ((), (), 0, len(WHOLE))
    assert reading.acknowledged == 6
    reading.refuse_damage(RUN)


def test_the_group_that_was_written_before_its_head_is_kept() -> None:
    reading = inspect(WHOLE, head(*RECORDS[:3]))
    assert reading.records == tuple(RECORDS)
    assert (reading.damages, reading.acknowledged) == ((), 3)


def test_truncated_at_every_byte_with_a_complete_head() -> None:
    for size in range(len(WHOLE)):
        reading = inspect(WHOLE[:size], HEAD)
        assert kinds(reading) == {DamageKind.MISSING}
        whole = [record for index, record in enumerate(RECORDS) if len(text(RECORDS[: index + 1])) <= size]
        assert reading.records == tuple(whole)
        assert reading.damages[0].seq == len(whole) + 1
        assert "Record 6 was acknowledged" in reading.damages[0].detail


def test_truncated_at_every_byte_with_a_head_of_three() -> None:
    acknowledged = len(text(RECORDS[:3]))
    for size in range(len(WHOLE)):
        reading = inspect(WHOLE[:size], head(*RECORDS[:3]))
        assert reading.torn == size - reading.size
        assert bool(reading.damages) == (size < acknowledged)
        assert reading.records == tuple(RECORDS[: len(reading.records)])


def flips(content: bytes) -> list[bytes]:
    return [
        content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]
        for at in range(len(content))
        for bit in range(8)
    ]


def test_no_flipped_bit_is_accepted() -> None:
    small = chain(3)
    for altered in flips(text(small)):
        reading = inspect(altered, head(*small))
        assert reading.damages
        assert {*reading.records, *reading.later} <= set(small)


def test_a_flipped_bit_beyond_the_head_takes_only_what_was_not_acknowledged() -> None:
    small = chain(3)
    known = text(small[:2])
    for altered in flips(small[2].line):
        reading = inspect(known + altered, head(*small[:2]))
        assert (reading.damages, reading.records) == ((), tuple(small[:2]))
        assert reading.torn == len(altered)


def test_a_flipped_bit_of_the_head_changes_no_record() -> None:
    slot = len(encode_slot(Head(0, GENESIS)))
    for start in (0, SLOT_BYTES):
        for altered in flips(HEAD[start : start + slot]):
            reading = inspect(WHOLE, HEAD[:start] + altered + HEAD[start + slot :])
            assert (reading.damages, reading.records) == ((), tuple(RECORDS))


@pytest.mark.parametrize("gone", range(6))
def test_a_dropped_record_is_named(gone: int) -> None:
    reading = inspect(text(RECORDS[:gone] + RECORDS[gone + 1 :]), HEAD)
    assert reading.damages[0].seq == gone + 1
    assert reading.records == tuple(RECORDS[:gone])
    assert reading.later == tuple(RECORDS[gone + 1 :])


@pytest.mark.parametrize("twice", range(6))
def test_a_doubled_record_is_named(twice: int) -> None:
    reading = inspect(text([*RECORDS[: twice + 1], *RECORDS[twice:]]), HEAD)
    assert reading.damages[0].kind is DamageKind.RECORD
    assert reading.damages[0].seq == twice + 2
    assert f"record {twice + 1} stands there" in reading.damages[0].detail


@pytest.mark.parametrize(("one", "other"), list(combinations(range(6), 2)))
def test_swapped_records_are_named(one: int, other: int) -> None:
    swapped = list(RECORDS)
    swapped[one], swapped[other] = swapped[other], swapped[one]
    reading = inspect(text(swapped), HEAD)
    assert reading.damages[0].seq == one + 1
    assert reading.damages[0].offset == len(text(RECORDS[:one]))
    assert reading.records == tuple(RECORDS[:one])


def test_a_rewritten_end_disagrees_with_the_head() -> None:
    content = draft({"event": "step.failed", "step": "s6"})
    forged = seal(content, Writer(RUN, 1, "b"), seq=6, at=AT, mono=0.6, prev=RECORDS[4].hash)
    assert kinds(inspect(text([*RECORDS[:5], forged]), HEAD)) == {DamageKind.DISAGREES}


def test_a_rewritten_middle_breaks_the_chain() -> None:
    content = draft({"event": "step.failed", "step": "s3"})
    forged = seal(content, Writer(RUN, 1, "b"), seq=3, at=AT, mono=0.3, prev=RECORDS[1].hash)
    reading = inspect(text([*RECORDS[:2], forged, *RECORDS[3:]]), HEAD)
    assert reading.damages[0].seq == 4
    assert "doesn't continue" in reading.damages[0].detail


def test_records_of_another_run_or_of_an_earlier_epoch_do_not_continue_a_chain() -> None:
    for run, epoch, said in (("other", 2, "belongs to the run other"), (RUN, 1, "earlier epoch")):
        first = chain(1, epoch=2)[0]
        content = draft({"event": "x"})
        second = seal(content, Writer(run, epoch, "b"), seq=2, at=AT, mono=0.2, prev=first.hash)
        assert said in inspect(text([first, second]), head(first, second)).damages[0].detail


def test_a_head_of_which_nothing_can_be_read() -> None:
    for content in (b"", b"\0" * 2 * SLOT_BYTES, b"x" * 20):
        reading = inspect(WHOLE, content)
        assert kinds(reading) == {DamageKind.HEAD}
        assert reading.records == tuple(RECORDS)


def test_one_readable_slot_is_enough() -> None:
    for content in (b"\0" * SLOT_BYTES + HEAD[SLOT_BYTES:], HEAD[:SLOT_BYTES] + b"\0" * SLOT_BYTES, HEAD[:SLOT_BYTES]):
        assert inspect(WHOLE, content).damages == ()


def test_a_journal_of_zeros_where_records_were_acknowledged() -> None:
    assert kinds(inspect(b"\0" * len(WHOLE), HEAD)) == {DamageKind.MISSING}
    assert kinds(inspect(b"", HEAD)) == {DamageKind.MISSING}


def test_an_empty_journal_of_a_run_that_wrote_nothing_yet() -> None:
    reading = inspect(b"", head())
    assert (reading.records, reading.damages, reading.acknowledged) == ((), (), 0)


def test_many_damages_are_counted_and_not_listed() -> None:
    reading = inspect(b"rubbish\n" * 1000 + WHOLE, HEAD)
    assert len(reading.damages) == MOST_DAMAGES
    assert reading.unlisted > 900
    assert reading.later == tuple(RECORDS)


def test_the_fault_says_what_where_and_what_to_do() -> None:
    broken = WHOLE[:40] + b"#" + WHOLE[41:]
    with pytest.raises(JournalFault) as caught:
        inspect(broken, HEAD).refuse_damage(RUN)
    assert caught.value.exit_code is ExitCode.JOURNAL
    said = str(caught.value)
    assert "error[E701]: the journal is damaged" in said
    assert "Record 1, at byte 0, can't be read: its hash doesn't fit its content." in said
    assert f"runbook show {RUN}" in said


def test_a_journal_copied_from_another_run_is_refused() -> None:
    with pytest.raises(JournalFault, match="E710"):
        inspect(WHOLE, HEAD).refuse_damage("20260214-130000-restore-db-0000")


def alterations() -> list[tuple[str, bytes]]:
    """Six records as somebody or something might leave them: dropped, doubled, moved, cut inside, taken from elsewhere."""
    lines = [record.line for record in RECORDS]
    foreign = [record.line for record in chain(6, run="20260214-130000-restore-db-0000")]
    found = {"whole": lines, "backwards": lines[::-1], "empty": [], "twice": lines + lines}
    for at in range(6):
        found[f"{at} doubled at the end"] = [*lines, lines[at]]
        found[f"{at} of another run"] = [*lines[:at], foreign[at], *lines[at + 1 :]]
        found[f"{at} on of another run"] = [*lines[:at], *foreign[at:]]
        found[f"{at} without its end"] = [*lines[:at], lines[at][:-1], *lines[at + 1 :]]
        found[f"{at} as zeros"] = [*lines[:at], b"\0" * len(lines[at]), *lines[at + 1 :]]
        for end in range(at + 1, 7):
            found[f"{at}:{end} dropped"] = lines[:at] + lines[end:]
            found[f"{at}:{end} doubled"] = lines[:end] + lines[at:]
            found[f"{at}:{end} moved to the front"] = lines[at:end] + lines[:at] + lines[end:]
    return [(name, b"".join(content)) for name, content in found.items()]


def refused(reading: Reading) -> tuple[str, ...]:
    """What a resume says to it; empty where it goes on."""
    try:
        reading.refuse_damage(RUN)
    except JournalFault as fault:
        assert fault.exit_code is ExitCode.JOURNAL
        return tuple(problem.detail for problem in fault.problems)
    return ()


@pytest.mark.parametrize("acknowledged", range(7))
def test_whatever_is_altered_a_resume_has_all_that_was_acknowledged_or_is_refused_with_the_place(
    acknowledged: int,
) -> None:
    for name, content in alterations():
        reading = inspect(content, head(*RECORDS[:acknowledged]))
        said = refused(reading)
        if said:
            assert any(re.search(r"[Rr]ecord \d|of the run", detail) for detail in said), name
            continue
        assert reading.records == tuple(RECORDS[: len(reading.records)]), name
        assert len(reading.records) >= acknowledged, name


@pytest.mark.parametrize("acknowledged", range(3))
def test_no_flipped_bit_is_accepted_whatever_the_head_knows(acknowledged: int) -> None:
    small = chain(3)
    for altered in flips(text(small)):
        reading = inspect(altered, head(*small[:acknowledged]))
        assert {*reading.records, *reading.later} <= set(small)
        assert reading.damages or len(reading.records) >= acknowledged


def test_a_slot_that_is_torn_while_it_is_written_loses_nothing_acknowledged() -> None:
    """Every byte at which the writing of the sixth record's slot can stop, over the slot of the fourth."""
    old, new, other = (encode_slot(Head(r.seq, r.hash)) for r in (RECORDS[3], RECORDS[5], RECORDS[4]))
    for size in range(len(new) + 1):
        torn = new[:size] + old[size:]
        for content in (torn.ljust(SLOT_BYTES) + other, other.ljust(SLOT_BYTES) + torn):
            reading = inspect(WHOLE, content)
            assert (reading.damages, reading.records) == ((), tuple(RECORDS))
            assert reading.acknowledged == (6 if torn == new else 5)
            assert kinds(inspect(text(RECORDS[:4]), content)) == {DamageKind.MISSING}


@pytest.mark.parametrize("older", range(6))
def test_an_older_head_put_back_loses_no_record(older: int) -> None:
    reading = inspect(WHOLE, head(*RECORDS[:older]))
    assert (reading.damages, reading.records, reading.acknowledged) == ((), tuple(RECORDS), older)


@pytest.mark.parametrize("older", range(6))
def test_an_older_journal_put_back_is_told_by_its_head(older: int) -> None:
    damage = inspect(text(RECORDS[:older]), HEAD).damages[0]
    assert (damage.kind, damage.seq) == (DamageKind.MISSING, older + 1)


def test_a_head_of_another_history_disagrees() -> None:
    other = chain(6, epoch=2)
    assert kinds(inspect(WHOLE, head(*other))) == {DamageKind.DISAGREES}


def test_what_only_an_anchor_elsewhere_can_show() -> None:
    """A whole directory put back to an earlier state, or written anew from its first record, looks like any other."""
    assert inspect(text(RECORDS[:3]), head(*RECORDS[:3])).damages == ()
    forged = chain(6, epoch=2)
    assert inspect(text(forged), head(*forged)).damages == ()
