"""An archive in a few lines: what it covers, what is missing, its newest file.

Promises: the answer's size depends on the number of gaps and timelines, not on that of files.
"""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path

from runbook.actions.postgres import wal
from runbook.errors import Problem, Refused
from runbook.operation import Json
from runbook.units import show_instant
from runbook.walstore.store import Damaged, Segments, Unavailable

MOST = 100
"""Stretches and foreign names that are listed; of all there is the number."""


def summary(archive: Segments, segment_bytes: int) -> dict[str, Json]:
    """``stretches`` (timeline, first, last: names), ``gaps``, ``newest`` (name, modified), ``files``, ``foreign``, ``short``.

    ``short`` are segments that have not a segment's size. Sizes are bytes, instants UTC.
    """
    segments: list[wal.Segment] = []
    histories: dict[int, tuple[wal.Switch, ...]] = {}
    foreign: list[str] = []
    short: list[str] = []
    times: dict[wal.Segment, datetime] = {}
    count = 0
    for entry in archive.entries():
        count += 1
        match wal.parse_name(entry.name, segment_bytes):
            case wal.Segment() as segment:
                segments.append(segment)
                times[segment] = entry.modified
                if entry.bytes != segment_bytes:
                    short.append(entry.name)
            case wal.History(timeline):
                histories[timeline] = _history(archive, entry.name)
            case wal.Foreign(name):
                foreign.append(name)
            case _:
                pass
    coverage = wal.Coverage(wal.stretches(segments), histories, segment_bytes)
    newest = coverage.newest
    return {
        "files": count,
        "timelines": list(coverage.timelines),
        "stretches": [one.show(segment_bytes) for one in coverage.stretches[-MOST:]],
        "gaps": [one.show(segment_bytes) for one in coverage.gaps()[:MOST]],
        "missing_histories": [wal.history_name(one) for one in coverage.missing_histories],
        "newest": None if newest is None else wal.segment_name(newest, segment_bytes),
        "newest_at": None if newest is None else show_instant(times[newest]),
        "short": list(short[:MOST]),
        "foreign": list(foreign[:MOST]),
    }


def newest_comes(archive: Segments, first: str, cluster: str = "") -> None:
    """Fetch the newest segment, unless all are older than ``first``. :class:`Refused` where the archive can't be read, or where
    that segment was written by another cluster than the one with this identifier.
    """
    try:
        names = (one.name for one in archive.entries())
        found = [one for one in names if one >= first and isinstance(wal.parse_name(one), wal.Segment)]
        if found:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / found[-1]
                writer = wal.cluster_of(path.read_bytes()[: wal.HEADER_BYTES]) if archive.fetch(path.name, path) else ""
                if cluster and writer not in ("", cluster):
                    detail = f"{path.name} was written by cluster {writer}; this is {cluster}."
                    fix = "Give each cluster an archive of its own: `archive` of the system."
                    raise Refused(Problem("E602", "the archive is another cluster's", detail, fix))
    except (Unavailable, Damaged) as error:
        fix = "Check the archive's url, endpoint, region and keys, and what these may read."
        raise Refused(Problem("E637", "WAL can't be fetched", f"{error}.", fix)) from None


def _history(archive: Segments, name: str) -> tuple[wal.Switch, ...]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        try:
            return wal.parse_history(path.read_text(encoding="utf-8")) if archive.fetch(name, path) else ()
        except ValueError:
            return ()
