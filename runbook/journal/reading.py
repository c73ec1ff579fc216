"""What a journal holds, and what is wrong with it.

Owns the judgement of the bytes of ``journal.jsonl`` and ``head``: which records can be trusted, what is a torn tail (what
a crash leaves) and what is damage (what a crash can't leave). Pure, and never raises over content: ``show`` and ``report``
read on where ``resume`` refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from runbook.errors import JournalFault, Problem
from runbook.journal.head import Head, Slots, decode_slots
from runbook.journal.record import GENESIS, Damaged, Record, decode

MOST_DAMAGES: Final = 20
"""More damages than these are counted, not listed."""


class DamageKind(Enum):
    """Kinds of damage, each with its code and constant summary."""

    RECORD = ("E701", "the journal is damaged")
    MISSING = ("E702", "the journal ends before its head: acknowledged records are missing")
    HEAD = ("E703", "the head of the journal can't be read")
    DISAGREES = ("E704", "the journal and its head disagree")
    FOREIGN = ("E710", "the journal belongs to another run")


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that no crash leaves behind. ``seq`` is the record that was to be expected, ``offset`` is in bytes."""

    kind: DamageKind
    seq: int
    offset: int
    detail: str

    def problem(self, run: str) -> Problem:
        """As it is shown."""
        code, summary = self.kind.value
        fix = (
            f"`runbook show {run}` and `runbook logs {run}` still read what is left. Keep the run's directory as "
            "evidence, and begin a new run from the state of the world"
        )
        return Problem(code, summary, self.detail, fix)


@dataclass(frozen=True, slots=True)
class Reading:
    """A journal as it was found.

    ``records`` is the unbroken chain from the first record; ``later`` are records that are whole but stand after a
    damage. ``size`` is where the unbroken chain ends, in bytes; ``torn`` is how many bytes a crash left after it.
    """

    records: tuple[Record, ...]
    later: tuple[Record, ...]
    damages: tuple[Damage, ...]
    unlisted: int
    size: int
    torn: int
    slots: Slots

    @property
    def acknowledged(self) -> int:
        """Sequence of the last record that is known to have been acknowledged; 0 if none is."""
        newest = self.slots.newest
        return newest.seq if newest else 0

    @property
    def last(self) -> Head:
        """Where the unbroken chain ends."""
        return Head(self.records[-1].seq, self.records[-1].hash) if self.records else Head(0, GENESIS)

    def refuse_damage(self, run: str) -> None:
        """Raise :class:`JournalFault` with all that is wrong, or return if a run may go on from here."""
        problems = [damage.problem(run) for damage in self.damages]
        if self.records and self.records[0].run != run:
            detail = f"Its records are of the run {self.records[0].run}, and its directory is that of {run}."
            problems.append(Damage(DamageKind.FOREIGN, 1, 0, detail).problem(run))
        if problems and self.unlisted:
            more = f"{self.unlisted} more damages aren't listed."
            problems.append(Problem("E701", "the journal is damaged", more, f"runbook show {run}"))
        if problems:
            raise JournalFault(*problems)


def inspect(journal: bytes, head: bytes) -> Reading:
    """Judge the content of a journal and of its head (empty bytes for a head that isn't there)."""
    chain = _Chain()
    offset = 0
    for line in _lines(journal):
        chain.take(line, offset)
        offset += len(line)
    slots = decode_slots(head)
    if not chain.later:  # nothing valid follows: what a crash leaves, if the head agrees
        chain.damages.clear()
    torn = 0 if chain.damages else len(journal) - chain.size
    damages = [*chain.damages, *_against_head(chain, slots, torn)]
    return Reading(
        records=tuple(chain.records),
        later=tuple(chain.later),
        damages=tuple(damages[:MOST_DAMAGES]),
        unlisted=max(0, len(damages) - MOST_DAMAGES),
        size=chain.size,
        torn=torn,
        slots=slots,
    )


def _lines(journal: bytes) -> list[bytes]:
    """The lines, ended by a newline and by nothing else."""
    lines = journal.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


class _Chain:
    """The fold over the lines: the chain as far as it holds, then what is left."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.later: list[Record] = []
        self.damages: list[Damage] = []
        self.size = 0

    def take(self, line: bytes, offset: int) -> None:
        """Judge one line, with its newline if it has one."""
        before = self.later or self.records
        last = before[-1] if before else None
        expected = last.seq + 1 if last else 1
        try:
            record = decode(line)
        except Damaged as damage:
            self._damage(expected, offset, f"Record {expected}, at byte {offset}, can't be read: {damage}.")
            return
        fault = _out_of_order(record, last)
        if fault:
            self._damage(expected, offset, f"Record {expected} was expected at byte {offset}: {fault}.")
        if self.damages:
            self.later.append(record)
        else:
            self.records.append(record)
            self.size = offset + len(line)

    def _damage(self, seq: int, offset: int, detail: str) -> None:
        self.damages.append(Damage(DamageKind.RECORD, seq, offset, detail))


def _out_of_order(record: Record, last: Record | None) -> str:
    """Why this record can't follow that one; empty if it can."""
    if record.seq != (last.seq + 1 if last else 1):
        return f"record {record.seq} stands there"
    if record.prev != (last.hash if last else GENESIS):
        return "the record there doesn't continue the one before it"
    if last and record.run != last.run:
        return f"the record there belongs to the run {record.run}"
    if record.epoch < (last.epoch if last else 1):
        return "the record there is of an earlier epoch than the one before it"
    return ""


def _against_head(chain: _Chain, slots: Slots, torn: int) -> list[Damage]:
    """What the head says against the unbroken chain."""
    count, newest = len(chain.records), slots.newest
    if newest is None:
        return [Damage(DamageKind.HEAD, count, 0, "Both slots of `head` are torn or missing.")]
    if newest.seq > count:
        after = f" From byte {chain.size} on, {torn} bytes can't be read." if torn else ""
        detail = f"Record {newest.seq} was acknowledged; the unbroken journal ends with record {count}.{after}"
        return [Damage(DamageKind.MISSING, count + 1, chain.size, detail)]
    hashes = (GENESIS, *(record.hash for record in chain.records))
    return [
        Damage(DamageKind.DISAGREES, slot.seq, 0, f"Record {slot.seq} isn't the one that was acknowledged.")
        for slot in slots.readable
        if hashes[slot.seq] != slot.hash
    ]
