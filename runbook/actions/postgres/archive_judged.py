"""What a WAL archive is worth: what is wrong with it, how far it leads back, and what would be lost now.

Owns the judgement behind ``postgres.check_archive``. Pure: a table of what was read to what is said. Promises: everything that is
wrong is said at once, each gap by the names of its files; what is not known is never taken for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from runbook.actions.postgres.archive_listing import MOST_STRETCHES, Listing
from runbook.actions.postgres.archive_status import ArchiveStatus, Base
from runbook.actions.postgres.archiving import Purpose, purpose_of
from runbook.actions.postgres.wal import (
    HEADER_BYTES,
    Segment,
    first_needed,
    history_name,
    parse_lsn,
    parse_name,
    segment_name,
)
from runbook.errors import Problem
from runbook.units import show_duration

SLOW_S = 300.0
"""A closed segment that has waited longer for its archiving is a fault, also while nothing has failed."""
MOST_NAMED = 8

_LOOK = "SELECT * FROM pg_stat_archiver;    # and the server's log"
_NEW_BASE = "Take a new base backup now (postgres.basebackup); it leads on from here, whatever is missing before it."

_PUSH = "runbook wal histories --access PGDATA.wal_archive.json PGDATA/pg_wal"

Leading: TypeAlias = Literal["every", "newest"]
"""Which base backups have to lead to now."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The judgement. ``age_s``: of the newest segment; ``rpo_s``: what would be lost; ``earliest``: '' where not known."""

    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    age_s: float
    rpo_s: float
    earliest: str


def judged(
    directory: str,
    status: ArchiveStatus,
    listing: Listing,
    bases: Sequence[Base] | None,
    *,
    max_age_s: float | None,
    leading: Leading = "every",
) -> Judged:
    """Judge what was read. ``bases`` None: the base backups are not known, and every gap counts."""
    age_s = max(0.0, status.now_s - listing.newest_at) if listing.newest else 0.0
    rpo_s = _exposed_s(status, listing, age_s)
    led = _led(status, listing, bases or (), leading)
    problems = [
        *_archiver(directory, status, listing),
        *_files(directory, status, listing),
        *(_gaps(directory, listing) if bases is None else led.problems(bases, directory, listing)),
    ]
    if max_age_s is not None and rpo_s > max_age_s:
        detail = (
            f"If the server were lost now, what was committed in the last {show_duration(rpo_s)} would be lost; "
            f"{show_duration(max_age_s)} are allowed. The newest segment, {listing.newest or 'none'}, is "
            f"{show_duration(age_s)} old."
        )
        fix = "postgres.configure_archiving with a shorter `archive_timeout`; or find out what holds the archiver up."
        problems.append(Problem("E658", "too much would be lost", detail, fix))
    return Judged(tuple(problems), led.notes, age_s, rpo_s, led.earliest)


def foreign_cluster(status: ArchiveStatus, listing: Listing, identifier: str) -> list[Problem]:
    """Whether the newest segment was written by another cluster; '' = that can't be told."""
    if identifier in ("", status.identifier) or not status.identifier:
        return []
    detail = f"{listing.newest} was written by cluster {identifier}; this is {status.identifier}."
    fix = "Give each cluster an archive of its own: `archive` of the system, and postgres.configure_archiving."
    return [unfit(detail, fix)]


def _exposed_s(status: ArchiveStatus, listing: Listing, age_s: float) -> float:
    """At most how many seconds of commits are not in the archive.

    While nothing waits, the open segment can't hold commits older than archive_timeout: the server would have closed it.
    """
    newest = _newest(listing, status.segment_bytes)
    end = (newest.number + 1) * status.segment_bytes + HEADER_BYTES if newest is not None else 0
    if newest is not None and status.lsn and newest.timeline == status.timeline and parse_lsn(status.lsn) <= end:
        return 0.0
    calm = status.timeout_s and not status.failing and status.waiting == 0 and status.mode != "off"
    return min(age_s, float(status.timeout_s)) if calm else age_s


def _newest(listing: Listing, segment_bytes: int) -> Segment | None:
    found = parse_name(listing.newest, segment_bytes)
    return found if isinstance(found, Segment) else None


def _archiver(directory: str, status: ArchiveStatus, listing: Listing) -> list[Problem]:
    """What the server says, against what is there."""
    on = "postgres.configure_archiving    # or plans/enable-archiving.yaml"
    if status.standby:
        return [unfit("This server is a standby, and archives nothing itself.", "Check it on the primary.")]
    if status.mode == "off":
        return [unfit("archive_mode is off, whatever else is written somewhere: nothing is archived.", on)]
    if not status.library and purpose_of(status.command, directory) is Purpose.IDLE:
        return [unfit(f"archive_command is `{status.command}`: segments are kept waiting, or thrown away.", on)]
    found = []
    if status.failing:
        waits = f"; {status.waiting} segments wait" if status.waiting > 0 else ""
        detail = (
            f"{status.failed} could not be archived, nothing has been since ({status.failures} failures in all){waits}."
        )
        found.append(unfit(detail, _LOOK))
    elif status.waiting > 0 and status.waiting_s > SLOW_S:
        detail = f"{status.waiting} segments wait, the oldest for {show_duration(status.waiting_s)}: the command hangs, or is slow."
        found.append(unfit(detail, _LOOK))
    last = parse_name(status.last[:24], status.segment_bytes)
    if isinstance(last, Segment) and not any(
        one.timeline == last.timeline and one.first <= last.number <= one.last for one in listing.coverage.stretches
    ):
        detail = f"The server has archived {status.last}, and it is not in {directory}: it archives to another place."
        found.append(unfit(detail, f"Compare `archive` of the system with archive_command: {status.command}"))
    elif not listing.newest:
        found.append(unfit(f"{directory} holds no segment.", on))
    return found


def unfit(detail: str, fix: str) -> Problem:
    """The cluster is not archived as it should be: why, and what to do."""
    return Problem("E656", "the cluster is not archived as it should be", detail, fix)


def _files(directory: str, status: ArchiveStatus, listing: Listing) -> list[Problem]:
    """Damaged segments and missing histories: faults wherever they are."""
    found = []
    if listing.flaw:
        found.append(_missing(f"{listing.flaw}."))
    if listing.damaged_count:
        names = [f"{name} ({size} bytes)" for name, size in listing.damaged]
        detail = f"In {directory} have another size than {status.segment_bytes} bytes: {_named(names, listing.damaged_count)}."
        found.append(_missing(detail))
    timelines = set(listing.coverage.missing_histories)
    if status.timeline > 1 and status.timeline not in listing.coverage.histories:
        timelines.add(status.timeline)
    if timelines:
        names = [history_name(one) for one in sorted(timelines)]
        detail = (
            f"{directory} lacks {_named(names, len(names))}: a recovery would follow the timeline before it, and bring back "
            "what was discarded."
        )
        copy = f"cp PGDATA/pg_wal/{names[-1]} {directory}/" if directory.startswith("/") else _PUSH
        fix = f"{copy}    # as the server's account, if it is there still"
        found.append(_missing(detail, fix))
    return found


def _gaps(directory: str, listing: Listing) -> list[Problem]:
    """All gaps: for an archive whose base backups are not known."""
    gaps = [one.show(listing.coverage.segment_bytes) for one in listing.coverage.gaps()]
    count = max(len(gaps), listing.stretches - len(listing.coverage.stretches) + len(gaps))
    return [_missing(f"{directory} lacks {_named(gaps, count)}.")] if gaps or listing.stretches > MOST_STRETCHES else []


def _missing(detail: str, fix: str = _NEW_BASE) -> Problem:
    return Problem("E657", "WAL is missing in the archive", detail, fix)


def _named(names: Iterable[str], count: int) -> str:
    shown = list(names)[:MOST_NAMED]
    more = f" and {count - len(shown)} more" if count > len(shown) else ""
    return ", ".join(shown) + more


@dataclass(frozen=True, slots=True)
class _Led:
    """Which base backups lead to now. ``short``: (name, how far, what is missing) of those that don't."""

    earliest: str
    leading: int
    short: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]

    def problems(self, bases: Sequence[Base], directory: str, listing: Listing) -> list[Problem]:
        """What is wrong with them."""
        summary = "a base backup does not lead to the present"
        found = [
            Problem("E659", summary, f"From {name} recovery reaches {reached}: {directory} lacks {missing}.", _NEW_BASE)
            for name, reached, missing in self.short[:MOST_NAMED]
        ]
        if not self.leading and not found and listing.newest:
            detail = f"There {'is none' if not bases else 'are ' + _named((one.name for one in bases), len(bases))}."
            if self.notes:
                detail += "\n" + "\n".join(self.notes)
            found.append(
                Problem("E659", "no base backup leads to the present", detail, "Take one now (postgres.basebackup).")
            )
        return found


def _ahead(status: ArchiveStatus, newest: Segment, start: Segment) -> bool:
    """Whether a base backup began after all that is archived so far, and its first segment is on the way: it waits, or is open."""
    if not start.timeline == newest.timeline == status.timeline or start.number <= newest.number:
        return False
    is_open = status.lsn != "" and parse_lsn(status.lsn) // status.segment_bytes <= start.number
    return is_open or status.waiting > 0


def _led(status: ArchiveStatus, listing: Listing, bases: Sequence[Base], which: Leading) -> _Led:
    newest, size = _newest(listing, status.segment_bytes), status.segment_bytes
    # a cluster that was promoted a moment ago has archived the history of its timeline, and no segment of it yet
    line = status.timeline if status.timeline in listing.coverage.histories else newest.timeline if newest else 0
    earliest, leading = "", 0
    short: list[tuple[str, str, str]] = []
    notes: list[str] = []
    for base in bases:
        if base.flaw or newest is None:
            notes.append(f"{base.name}: {base.flaw or 'nothing is archived'}.")
            continue
        if status.identifier and base.identifier not in ("", status.identifier):
            notes.append(f"{base.name} is of another cluster ({base.identifier}).")
            continue
        start = first_needed(parse_lsn(base.wal_start), base.timeline, size)
        ahead = _ahead(status, newest, start)
        missing = () if ahead else listing.coverage.needed(start, line)
        if ahead:
            notes.append(f"{base.name} began after {listing.newest}; what leads on from it is still to be archived.")
        if missing is None:
            notes.append(f"{base.name} began on timeline {base.timeline} where no way leads on to timeline {line}.")
        elif missing:
            end = listing.coverage.reached(start, line)
            where = f"the end of {segment_name(end, size)}" if end else "not even its own end"
            gaps = [one.show(size) for one in missing]
            short.append((base.name, where, _named(gaps, len(gaps))))
        else:
            leading += 1
            earliest = earliest or base.finished_at
            if which == "newest":  # those before it are told, and no fault
                notes += [
                    f"From {name} recovery reaches {reached}: {lost} is missing." for name, reached, lost in short
                ]
                short = []
    return _Led(earliest, leading, tuple(short), tuple(notes))
