"""WAL archives by their names: segments, timelines and their histories, what is covered and what is missing.

Owns the arithmetic of WAL file names (manual, Write Ahead Log, and ``XLogFileName``), the reading of history files, and
:class:`Coverage`: what an archive holds, as stretches without a gap. Pure. Promises: a name that the server could not have
given is foreign, never guessed at; a segment's number counts from 0 and is the same on every timeline at the same position.

At a fork, the segment that holds the switch point is taken from the child: the server copies its beginning there. So a way
along a timeline is a list of legs, each ending just before the next one's first segment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

SEGMENT_BYTES = 16 * 1024 * 1024
"""The size of a segment unless initdb was told another (``wal_segment_size``)."""
LOG_BYTES = 0x1_0000_0000
"""Bytes of WAL that share the middle eight digits of a name."""

HEADER_BYTES = 40
"""The first page's header in a segment (XLogLongPageHeaderData)."""

_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")
_LABEL = re.compile(r"([0-9A-F]{24})\.([0-9A-F]{8})\.backup")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history")
_LONG_HEADER = 0x0002
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One segment of WAL: its timeline (from 1), and its number: the position divided by the segment's size."""

    timeline: int
    number: int


@dataclass(frozen=True, slots=True)
class Partial:
    """The last segment of a timeline that was left by a promotion (``.partial``): never replayed by itself."""

    segment: Segment


@dataclass(frozen=True, slots=True)
class Label:
    """A backup history file: a base backup began in ``segment``, at ``offset`` bytes."""

    segment: Segment
    offset: int


@dataclass(frozen=True, slots=True)
class History:
    """The history file of a timeline (2 or more)."""

    timeline: int


@dataclass(frozen=True, slots=True)
class Foreign:
    """A name that the server doesn't give."""

    name: str


WalFile: TypeAlias = Segment | Partial | Label | History | Foreign


def parse_name(name: str, segment_bytes: int = SEGMENT_BYTES) -> WalFile:
    """What a file of an archive is, by its name (no folder)."""
    if (segment := _segment(name.removesuffix(".partial"), segment_bytes)) is not None:
        return Partial(segment) if name.endswith(".partial") else segment
    if (label := _LABEL.fullmatch(name)) and (segment := _segment(label[1], segment_bytes)) is not None:
        return Label(segment, int(label[2], 16))
    if (history := _HISTORY.fullmatch(name)) and int(history[1], 16) > 1:
        return History(int(history[1], 16))
    return Foreign(name)


def _segment(name: str, segment_bytes: int) -> Segment | None:
    if (found := _SEGMENT.fullmatch(name)) is None:
        return None
    timeline, log, part = (int(digits, 16) for digits in found.groups())
    per_log = LOG_BYTES // segment_bytes
    return Segment(timeline, log * per_log + part) if timeline and part < per_log else None


def segment_name(segment: Segment, segment_bytes: int = SEGMENT_BYTES) -> str:
    """The file's name, 24 digits."""
    log, part = divmod(segment.number, LOG_BYTES // segment_bytes)
    return f"{segment.timeline:08X}{log:08X}{part:08X}"


def history_name(timeline: int) -> str:
    """The name of a timeline's history file."""
    return f"{timeline:08X}.history"


def parse_lsn(text: str) -> int:
    """A position in the WAL, in bytes, from its written form (``16/B374D848``); ValueError for anything else."""
    found = _LSN.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a position in the WAL, such as 16/B374D848")
    return int(found[1], 16) << 32 | int(found[2], 16)


def show_lsn(position: int) -> str:
    """A position as the server writes it."""
    return f"{position >> 32:X}/{position & 0xFFFF_FFFF:X}"


def segment_at(position: int, timeline: int, segment_bytes: int = SEGMENT_BYTES) -> Segment:
    """The segment that holds the byte at ``position``."""
    return Segment(timeline, position // segment_bytes)


def first_needed(wal_start: int, timeline: int, segment_bytes: int = SEGMENT_BYTES) -> Segment:
    """The first segment that a base backup needs, of which ``wal_start`` is the position just before it began.

    A base backup closes the segment that it finds, and begins in the next one (``do_pg_backup_start``).
    """
    return Segment(timeline, -(-wal_start // segment_bytes))


def cluster_of(header: bytes) -> str:
    """The system identifier of the cluster that wrote a segment, from its first :data:`HEADER_BYTES`; '' where it can't be told.

    The page's flags say whether the header is the long one, which holds it at byte 24, in the byte order of the server's machine.
    """
    if len(header) < HEADER_BYTES:
        return ""
    order: Literal["little", "big"] = "little" if header[2] & _LONG_HEADER else "big"
    return str(int.from_bytes(header[24:32], order)) if (header[2] | header[3]) & _LONG_HEADER else ""


@dataclass(frozen=True, slots=True)
class Switch:
    """One line of a history file: ``timeline`` was left at ``position``."""

    timeline: int
    position: int


def parse_history(text: str) -> tuple[Switch, ...]:
    """A history file: the timelines that lead to its own, oldest first; ValueError where it isn't one (readTimeLineHistory)."""
    switches = []
    for line in text.splitlines():
        words = line.split(maxsplit=2)
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 2 or not words[0].isdecimal():
            raise ValueError(f"{line!r} is not a line of a timeline's history")
        switches.append(Switch(int(words[0]), parse_lsn(words[1])))
    if any(after.timeline <= before.timeline for before, after in pairwise(switches)):
        raise ValueError("the timelines of a history have to ascend")
    return tuple(switches)


@dataclass(frozen=True, slots=True, order=True)
class Stretch:
    """Segments of one timeline, ``first`` to ``last`` (numbers, both included)."""

    timeline: int
    first: int
    last: int

    @property
    def count(self) -> int:
        """How many segments that are."""
        return self.last - self.first + 1

    def show(self, segment_bytes: int = SEGMENT_BYTES) -> str:
        """``000000010000000000000004`` or ``… to … (3 segments)``."""
        first, last = (segment_name(Segment(self.timeline, one), segment_bytes) for one in (self.first, self.last))
        return first if self.count == 1 else f"{first} to {last} ({self.count} segments)"


def stretches(segments: Iterable[Segment]) -> tuple[Stretch, ...]:
    """The segments as stretches without a gap, in order; what is given twice counts once."""
    found: list[Stretch] = []
    for one in sorted(set(segments)):
        if found and found[-1].timeline == one.timeline and found[-1].last + 1 == one.number:
            found[-1] = Stretch(one.timeline, found[-1].first, one.number)
        else:
            found.append(Stretch(one.timeline, one.number, one.number))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What an archive holds: its segments as stretches in order, and the histories that it has, by timeline."""

    stretches: tuple[Stretch, ...]
    histories: Mapping[int, tuple[Switch, ...]]
    segment_bytes: int = SEGMENT_BYTES

    @property
    def timelines(self) -> tuple[int, ...]:
        """The timelines of which there are segments, ascending."""
        return tuple(sorted({one.timeline for one in self.stretches}))

    @property
    def newest(self) -> Segment | None:
        """The last segment of the latest timeline: by its name, never by a file's time."""
        return Segment(self.stretches[-1].timeline, self.stretches[-1].last) if self.stretches else None

    @property
    def missing_histories(self) -> tuple[int, ...]:
        """Timelines with segments and without their history: a recovery that follows the latest timeline misses them."""
        return tuple(one for one in self.timelines if one > 1 and one not in self.histories)

    def way(self, timeline: int) -> tuple[Stretch, ...]:
        """The legs that lead along ``timeline``, oldest first, from segment 0; the last one ends with its newest segment.

        Without its history a timeline is a leg of its own, from its first segment.
        """
        own = [one for one in self.stretches if one.timeline == timeline]
        known = timeline == 1 or timeline in self.histories
        begin, legs = 0 if known or not own else own[0].first, []
        for switch in self.histories.get(timeline, ()):
            fork = switch.position // self.segment_bytes
            if fork > begin:
                legs.append(Stretch(switch.timeline, begin, fork - 1))
            begin = max(begin, fork)
        if own and own[-1].last >= begin:
            legs.append(Stretch(timeline, begin, own[-1].last))
        return tuple(legs)

    def gaps(self) -> tuple[Stretch, ...]:
        """All that is missing between segments: inside each timeline, and from an ancestor up to the fork."""
        found: set[Stretch] = set()
        for timeline in self.timelines:
            legs = self.way(timeline)
            held = [part for leg in legs for part in self._within(leg)]
            if held:
                found.update(self._missing(legs, held[0].first))
        return tuple(sorted(found))

    def needed(self, start: Segment, timeline: int) -> tuple[Stretch, ...] | None:
        """What is missing on the way from ``start`` to the end of ``timeline``; None where no way leads there."""
        legs = self.way(timeline)
        on_it = any(leg.timeline == start.timeline and leg.first <= start.number <= leg.last + 1 for leg in legs)
        return self._missing(legs, start.number) if on_it else None

    def reached(self, start: Segment, timeline: int) -> Segment | None:
        """The last segment that can be replayed from ``start`` along ``timeline`` without a gap; None if not even the first."""
        missing = self.needed(start, timeline)
        if missing is None:
            return None
        stop = min((gap.first for gap in missing), default=None)
        behind = [leg for leg in self.way(timeline) if leg.last >= start.number and (stop is None or leg.first < stop)]
        if not behind or stop == start.number:
            return None
        return Segment(behind[-1].timeline, behind[-1].last if stop is None else min(behind[-1].last, stop - 1))

    def _within(self, leg: Stretch) -> list[Stretch]:
        """The parts of a leg that are there."""
        return [
            Stretch(leg.timeline, max(one.first, leg.first), min(one.last, leg.last))
            for one in self.stretches
            if one.timeline == leg.timeline and one.first <= leg.last and one.last >= leg.first
        ]

    def _missing(self, legs: Iterable[Stretch], begin: int) -> tuple[Stretch, ...]:
        """The parts of the legs from segment number ``begin`` on that are not there."""
        found = []
        for leg in legs:
            at = max(leg.first, begin)
            for held in self._within(leg):
                if held.first > at:
                    found.append(Stretch(leg.timeline, at, held.first - 1))
                at = max(at, held.last + 1)
            if at <= leg.last:
                found.append(Stretch(leg.timeline, at, leg.last))
        return tuple(found)
