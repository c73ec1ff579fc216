"""The head of a journal: which record was acknowledged last.

Owns the format of the ``head`` file: two slots, each in a block of its own, written in turn, so that a torn write leaves
the other slot whole. Pure. A slot is one readable line: sequence, hash of the record, checksum of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from runbook.journal.record import GENESIS

SLOT_BYTES: Final = 4096
"""One slot per block: a block that is torn while it is written takes only its own slot with it."""

_LINE_BYTES: Final = 20 + 1 + 64 + 1 + 32 + 1


@dataclass(frozen=True, slots=True)
class Head:
    """The last acknowledged record: its sequence (0: none yet) and its hash."""

    seq: int
    hash: str


EMPTY: Final = Head(0, GENESIS)


@dataclass(frozen=True, slots=True)
class Slots:
    """Both slots as they were read; ``None`` where one is torn."""

    first: Head | None
    second: Head | None

    @property
    def newest(self) -> Head | None:
        """The newer of the readable slots."""
        return max(self.readable, key=lambda head: head.seq, default=None)

    @property
    def readable(self) -> tuple[Head, ...]:
        """The slots that can be believed."""
        return tuple(head for head in (self.first, self.second) if head is not None)

    @property
    def next(self) -> int:
        """Which slot (0 or 1) to write next: a torn one, else the older."""
        if self.first is None:
            return 0
        if self.second is None:
            return 1
        return 0 if self.first.seq < self.second.seq else 1


def encode_slot(head: Head) -> bytes:
    """The line of one slot, newline included."""
    content = f"{head.seq:020d} {head.hash}"
    return f"{content} {_checksum(content)}\n".encode()


def blank() -> bytes:
    """The file of a journal without a record."""
    return 2 * (encode_slot(EMPTY).ljust(SLOT_BYTES - 1, b" ") + b"\n")


def decode_slots(content: bytes) -> Slots:
    """Read the file; whatever isn't exactly a slot is a torn one."""
    return Slots(_decode(content[:_LINE_BYTES]), _decode(content[SLOT_BYTES : SLOT_BYTES + _LINE_BYTES]))


def _decode(line: bytes) -> Head | None:
    try:
        seq, digest, checksum = line.decode("ascii").removesuffix("\n").split(" ")
        head = Head(int(seq), digest)
    except ValueError:
        return None
    if checksum != _checksum(f"{seq} {digest}") or encode_slot(head) != line:
        return None
    return head


def _checksum(content: str) -> str:
    return sha256(content.encode()).hexdigest()[:32]
