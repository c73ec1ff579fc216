"""How far a base backup and an archive lead: the timeline that is followed, gaps, and what an earlier recovery has discarded.

Owns the reads of the archive's names and of one history, and the refusals that rest on them. Promises: what a name can tell is told
before anything is made; what only the WAL can tell is left to recovery itself, whose proof stands before the promotion.

An archived segment's time is a bound, never a choice: no commit in it is later than the moment at which it was archived.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from runbook.action import FileFacts, Look
from runbook.actions.postgres.cluster import Control
from runbook.actions.postgres.target import CommitOf, EndOfArchive, Moment, Position, Target
from runbook.actions.postgres.wal import (
    Coverage,
    History,
    Segment,
    Stretch,
    Switch,
    history_name,
    parse_history,
    parse_lsn,
    parse_name,
    segment_name,
    show_lsn,
    stretches,
)
from runbook.actions.postgres.wal_source import Archive, name_of
from runbook.artifact import Manifest
from runbook.errors import Problem, Refused
from runbook.units import parse_instant, show_instant

NOTHING_LEFT = "no recovery target"
"""What the server notes where a timeline was left at its end, as by a failover: nothing of it was discarded."""

_LEFT = re.compile(r"^\s*(\d+)\s+\S+\s+(.*)$", re.MULTILINE)
_BEFORE = re.compile(r"before (\d{4}-\S+ \S+)")


@dataclass(frozen=True, slots=True)
class Fork:
    """Where ``parent`` was left for ``child``. ``left``: the first discarded commit, where known; ``begun``: the child's start."""

    parent: int
    child: int
    position: int
    discards: bool
    left: datetime | None
    begun: datetime


@dataclass(frozen=True, slots=True)
class Reach:
    """What leads on from a base backup. ``timeline`` is the one that is followed; ``start`` the first segment that is needed."""

    coverage: Coverage
    modified: Mapping[Segment, datetime]
    forks: tuple[Fork, ...]
    timeline: int
    start: Segment

    @property
    def last(self) -> Segment | None:
        """The last segment that can be replayed without a gap; None where the first one is missing."""
        return self.coverage.reached(self.start, self.timeline)

    @property
    def gap(self) -> Stretch | None:
        """What is missing first."""
        missing = self.coverage.needed(self.start, self.timeline)
        return missing[0] if missing else None

    @property
    def first_name(self) -> str:
        """The name of the first segment that is needed."""
        return segment_name(self.start, self.coverage.segment_bytes)

    @property
    def last_name(self) -> str:
        """The name of the last segment; '' where there is none."""
        return segment_name(self.last, self.coverage.segment_bytes) if self.last else ""

    @property
    def begins_last(self) -> str:
        """The position at which the last segment begins; '' where there is none."""
        return show_lsn(self.last.number * self.coverage.segment_bytes) if self.last else ""

    @property
    def ends(self) -> str:
        """The position at which the last segment ends; '' where there is none."""
        return show_lsn((self.last.number + 1) * self.coverage.segment_bytes) if self.last else ""

    @property
    def latest(self) -> datetime | None:
        """No commit that is archived on the way is later."""
        return self.modified.get(self.last) if self.last else None


def read_reach(look: Look, archive: Archive, *, manifest: Manifest, control: Control, wanted: str) -> Reach:
    """Look at the archive's names, and at the history of the timeline that is ``wanted``: latest, current or a number."""
    files: dict[Segment, FileFacts] = {}
    histories: dict[int, FileFacts] = {}
    for one in archive.files(look):
        match parse_name(name_of(one), control.segment_bytes):
            case Segment() as segment:
                files[segment] = one
            case History(number):
                histories[number] = one
    base = max(manifest.timeline, 1)
    timeline = _followed(wanted, base, frozenset(histories))
    text = archive.text(look, history_name(timeline)) if timeline in histories else None
    switches = _parsed(text or "", timeline)
    _refuse_foreign(manifest, base, timeline, switches, known=timeline == base or text is not None)
    begins = parse_lsn(manifest.wal_stop) // control.segment_bytes if manifest.wal_stop else 0
    stop = next((s.position // control.segment_bytes for s in switches if s.timeline == base), begins)
    coverage = Coverage(stretches(files), {timeline: switches} if text else {}, control.segment_bytes)
    # The segment of a fork is the child's, also where the base backup ended in it.
    start = Segment(base if begins < stop or timeline == base else _next(switches, base, timeline), begins)
    return Reach(
        coverage,
        {segment: _at_most(one.modified) for segment, one in files.items()},
        _forks(text or "", switches, timeline, base, histories),
        timeline,
        start,
    )


def _followed(wanted: str, base: int, histories: frozenset[int]) -> int:
    """The latest is found as the server finds it: one after the other from the base backup's on (findNewestTimeLine)."""
    if wanted == "current":
        return base
    if wanted != "latest":
        return int(wanted)
    newest = base
    while newest + 1 in histories:
        newest += 1
    return newest


def _parsed(text: str, timeline: int) -> tuple[Switch, ...]:
    try:
        return parse_history(text)
    except ValueError as why:
        detail = f"{history_name(timeline)}: {why}."
        fix = f"Copy it again from pg_wal of a cluster on timeline {timeline}."
        raise Refused(Problem("E676", "a timeline's history can't be read", detail, fix)) from None


def _refuse_foreign(manifest: Manifest, base: int, timeline: int, switches: tuple[Switch, ...], *, known: bool) -> None:
    if not known and timeline != 1:
        detail = f"The archive has no {history_name(timeline)}."
        fix = "Correct `timeline`, or copy the file from pg_wal of a cluster that is on that timeline."
        raise Refused(Problem("E676", "there is no such timeline", detail, fix))
    if timeline == base:
        return
    left = next((one.position for one in switches if one.timeline == base), None)
    if left is None or (manifest.wal_stop and parse_lsn(manifest.wal_stop) > left):
        where = f", which was left at {show_lsn(left)}" if left is not None else ""
        which = f"{manifest.name} is of timeline {base}{where}, and ended at {manifest.wal_stop}"
        detail = f"{which}: timeline {timeline} does not come from it."
        fix = "Choose an older base backup."
        raise Refused(Problem("E676", "the base backup does not lead to that timeline", detail, fix))


def _next(switches: tuple[Switch, ...], base: int, timeline: int) -> int:
    later = [one.timeline for one in switches if one.timeline > base]
    return later[0] if later else timeline


def _forks(
    text: str, switches: tuple[Switch, ...], timeline: int, base: int, histories: Mapping[int, FileFacts]
) -> tuple[Fork, ...]:
    reasons = {int(number): reason for number, reason in _LEFT.findall(text)}
    children = [*(one.timeline for one in switches[1:]), timeline][: len(switches)]
    found = []
    for switch, child in zip(switches, children, strict=True):
        if switch.timeline < base or child not in histories:
            continue
        reason = reasons.get(switch.timeline, "")
        before = _BEFORE.search(reason)
        found.append(
            Fork(
                switch.timeline,
                child,
                switch.position,
                discards=not reason.startswith(NOTHING_LEFT),
                left=parse_instant(before[1]) if before else None,
                begun=_at_most(histories[child].modified),
            )
        )
    return tuple(found)


def _at_most(modified: datetime) -> datetime:
    """A file's time as an upper bound: where only whole seconds are told, it may have been any moment of that one."""
    return modified if modified.microsecond else modified + timedelta(seconds=1)


def unreachable(reach: Reach, target: Target, *, wanted: str) -> list[Problem]:
    """What stands between the base backup and the target, as far as names tell."""
    return [*(_discarded(reach, target) if wanted == "latest" else []), *_gap(reach, target)]


def unknown_timelines(reach: Reach, wanted: str, control: Control) -> list[Problem]:
    """A recovery that follows the latest timeline would not find those, and bring back what was discarded."""
    newest = max([*reach.coverage.timelines, control.timeline])
    if wanted != "latest" or newest <= reach.timeline:
        return []
    detail = (
        f"There is a timeline {newest}, and the archive has no {history_name(reach.timeline + 1)}: recovery would follow "
        f"timeline {reach.timeline}, and bring back what an earlier recovery has discarded."
    )
    fix = f"Copy it from the cluster's pg_wal into the archive; or give `timeline: {reach.timeline}`, if that is meant."
    return [Problem("E676", "a timeline's history is missing", detail, fix)]


def _discarded(reach: Reach, target: Target) -> list[Problem]:
    for fork in reach.forks:
        if not fork.discards:
            continue
        match target:
            case Moment(at):
                since = fork.left or reach.modified.get(_before(reach, fork))
                meant = since is not None and since <= at < fork.begun
                asked = f"The target is {show_instant(at)}"
            case Position(lsn):
                meant, asked = _twice(reach, fork, parse_lsn(lsn)), f"Position {lsn} is on both"
            case CommitOf(xid):
                meant, asked = True, f"Transaction {xid} may be on both: their numbers begin anew at the fork"
            case _:
                meant, asked = False, ""
        if meant:
            detail = (
                f"{asked}. Timeline {fork.parent} was left at {show_lsn(fork.position)}"
                f"{f', before its commit of {show_instant(fork.left)}' if fork.left else ''}; timeline {fork.child} "
                f"began {show_instant(fork.begun)}. What timeline {fork.parent} had in between was discarded then."
            )
            fix = f"`timeline: {fork.parent}` goes along the discarded part, `timeline: {reach.timeline}` along what came after."
            return [Problem("E675", "the target may be in a part that was discarded", detail, fix)]
    return []


def _before(reach: Reach, fork: Fork) -> Segment:
    return Segment(fork.parent, fork.position // reach.coverage.segment_bytes - 1)


def _twice(reach: Reach, fork: Fork, position: int) -> bool:
    """Whether the position is in what was discarded."""
    segment = Segment(fork.parent, position // reach.coverage.segment_bytes)
    return position >= fork.position and segment in reach.modified


def _gap(reach: Reach, target: Target) -> list[Problem]:
    gap, size = reach.gap, reach.coverage.segment_bytes
    if gap is None:
        return []
    match target:
        case EndOfArchive():
            behind = True
        case Position(lsn):
            behind = parse_lsn(lsn) >= gap.first * size
        case Moment(at):
            behind = reach.last is None or (reach.latest is not None and at > reach.latest)
        case _:
            behind = reach.last is None
    if not behind:
        return []
    until = f", archived {show_instant(reach.latest)}" if reach.latest else ""
    last = f"{segment_name(reach.last, size)}{until}" if reach.last else "the base backup's end"
    detail = f"Missing: {gap.show(size)}. From the base backup on, recovery can reach {last}, and nothing beyond."
    fix = f"Look for the file elsewhere (pg_wal of the cluster); or recover to before {show_lsn(gap.first * size)} (`lsn`)."
    return [Problem("E674", "the archive has a gap before the target", detail, fix)]
