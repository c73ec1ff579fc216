"""The head: two slots, of which a crash can take one."""

from __future__ import annotations

import pytest

from runbook.journal.head import EMPTY, SLOT_BYTES, Head, Slots, blank, decode_slots, encode_slot

OLD, NEW = Head(6, "a" * 64), Head(7, "b" * 64)


def file_of(first: bytes, second: bytes) -> bytes:
    return first.ljust(SLOT_BYTES, b" ") + second


def test_both_slots_are_read() -> None:
    slots = decode_slots(file_of(encode_slot(OLD), encode_slot(NEW)))
    assert slots == Slots(OLD, NEW)
    assert slots.newest == NEW
    assert slots.next == 0


def test_a_new_head_says_that_nothing_was_acknowledged() -> None:
    assert decode_slots(blank()) == Slots(EMPTY, EMPTY)
    assert len(blank()) == 2 * SLOT_BYTES


@pytest.mark.parametrize(
    ("slots", "newest", "following"),
    [(Slots(None, NEW), NEW, 0), (Slots(OLD, None), OLD, 1), (Slots(NEW, OLD), NEW, 1), (Slots(None, None), None, 0)],
)
def test_the_next_write_goes_over_the_torn_or_the_older_slot(slots: Slots, newest: Head | None, following: int) -> None:
    assert slots.newest == newest
    assert slots.next == following


def test_a_slot_torn_at_any_byte_leaves_the_other() -> None:
    before, after = encode_slot(Head(5, "c" * 64)), encode_slot(NEW)
    for size in range(len(after)):
        torn = after[:size] + before[size:]
        expected = NEW if torn == after else OLD
        assert decode_slots(file_of(encode_slot(OLD), torn)).newest == expected


def test_every_flipped_bit_of_a_slot_makes_it_unreadable() -> None:
    line = encode_slot(NEW)
    for position in range(len(line)):
        for bit in range(8):
            altered = bytearray(line)
            altered[position] ^= 1 << bit
            assert decode_slots(file_of(encode_slot(OLD), bytes(altered))) == Slots(OLD, None)


@pytest.mark.parametrize("content", [b"", b"\0" * 8192, b"\xff" * 8192, b"1 2 3\n", b"\n" * 8192])
def test_what_is_not_a_head_has_no_readable_slot(content: bytes) -> None:
    assert decode_slots(content).newest is None
