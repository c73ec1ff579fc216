"""What is said of an archive: a table from what was read to problems, exposure and reach. No files."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from runbook.actions.postgres.archive_judged import SLOW_S, Leading, foreign_cluster, judged
from runbook.actions.postgres.archive_listing import Listing
from runbook.actions.postgres.archive_status import ArchiveStatus, Base
from runbook.actions.postgres.archiving import command_for
from runbook.actions.postgres.wal import SEGMENT_BYTES, Coverage, Segment, Stretch, Switch, segment_name, show_lsn

WAL = "/backups/wal"
NOW = 1_000_000.0


def listing(*stretches: Stretch, age_s: float = 100.0, **histories: tuple[Switch, ...]) -> Listing:
    known = {int(key[1:]): line for key, line in histories.items()}
    last = stretches[-1] if stretches else None
    return Listing(
        coverage=Coverage(stretches, known),
        newest=segment_name(Segment(last.timeline, last.last)) if last else "",
        newest_at=NOW - age_s,
        oldest_at=0.0,
        segments=sum(one.count for one in stretches),
        stretches=len(stretches),
        damaged=(),
        damaged_count=0,
        foreign=(),
        foreign_count=0,
        bytes=0,
    )


WHOLE = listing(Stretch(1, 3, 9))
STATUS = ArchiveStatus(
    identifier="7",
    data_directory="/pgdata",
    mode="on",
    command=command_for(WAL),
    timeout_s=60,
    lsn=show_lsn(10 * SEGMENT_BYTES + 5_000),
    timeline=1,
    now_s=NOW,
    last=segment_name(Segment(1, 9)),
    waiting=0,
)
BASE = Base("one.tar", "7", 1, show_lsn(3 * SEGMENT_BYTES - 100), "2026-02-14T02:00:00.000000Z")
LATER = replace(
    BASE, name="two.tar", wal_start=show_lsn(7 * SEGMENT_BYTES - 100), finished_at="2026-02-15T02:00:00.000000Z"
)


def said(status: ArchiveStatus, found: Listing, bases: tuple[Base, ...] | None = None, **more: float) -> dict[str, str]:
    judgement = judged(WAL, status, found, bases, max_age_s=more.get("max_age_s"))
    return {one.code: one.detail for one in judgement.problems}


def test_nothing_is_wrong() -> None:
    found = judged(WAL, STATUS, WHOLE, (BASE, LATER), max_age_s=60.0)
    assert found.problems == () and found.notes == ()
    assert (found.age_s, found.rpo_s, found.earliest) == (100.0, 60.0, BASE.finished_at)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"standby": True}, "is a standby"),
        ({"mode": "off"}, "archive_mode is off"),
        ({"command": ""}, "kept waiting, or thrown away"),
        ({"command": "/bin/true"}, "kept waiting, or thrown away"),
        (
            {"failing": True, "failed": "X", "failures": 3, "waiting": 2},
            "X could not be archived.*3 failures.*2 segments wait",
        ),
        ({"waiting": 4, "waiting_s": SLOW_S + 1}, "4 segments wait, the oldest for 5m"),
        ({"last": segment_name(Segment(1, 10))}, "archives to another place"),
        ({"last": segment_name(Segment(2, 9))}, "archives to another place"),
    ],
)
def test_an_archiver_that_does_not_do_its_work(changed: dict[str, object], words: str) -> None:
    assert re.search(words, said(replace(STATUS, **changed), WHOLE)["E656"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changed",
    [
        {"library": "basic_archive", "command": ""},
        {"waiting": 4, "waiting_s": SLOW_S - 1},
        {"waiting": -1},
        {"last": "00000001.history"},
        {"last": segment_name(Segment(1, 5)) + ".00000028.backup"},
        {"last": segment_name(Segment(1, 8))},
        {"mode": "always"},
    ],
)
def test_what_is_no_fault(changed: dict[str, object]) -> None:
    assert said(replace(STATUS, **changed), WHOLE) == {}  # type: ignore[arg-type]


def test_an_empty_archive() -> None:
    assert "no segment" in said(replace(STATUS, last=""), listing())["E656"]
    assert set(said(replace(STATUS, last=""), listing(), ())) == {"E656"}


@pytest.mark.parametrize(
    ("changed", "age_s", "rpo_s"),
    [
        ({}, 10.0, 10.0),
        ({}, 90_000.0, 60.0),  # nothing waits: the server would have closed a segment with commits in it
        ({"timeout_s": 0}, 90_000.0, 90_000.0),
        ({"waiting": 1}, 90_000.0, 90_000.0),
        ({"waiting": -1}, 90_000.0, 90_000.0),  # not known is not calm
        ({"failing": True}, 90_000.0, 90_000.0),
        ({"timeout_s": 0, "lsn": show_lsn(10 * SEGMENT_BYTES)}, 90_000.0, 0.0),  # all that was written is archived
        ({"timeout_s": 0, "lsn": show_lsn(10 * SEGMENT_BYTES + 40)}, 90_000.0, 0.0),
        ({"timeout_s": 0, "timeline": 2, "lsn": show_lsn(10 * SEGMENT_BYTES)}, 90_000.0, 90_000.0),
    ],
)
def test_what_would_be_lost_now(changed: dict[str, object], age_s: float, rpo_s: float) -> None:
    status, found = replace(STATUS, **changed), replace(WHOLE, newest_at=NOW - age_s)  # type: ignore[arg-type]
    judgement = judged(WAL, status, found, None, max_age_s=None)
    assert (judgement.age_s, judgement.rpo_s) == (age_s, rpo_s)
    limit = max(rpo_s - 1, 0.5)
    assert ("E658" in said(status, found, max_age_s=limit)) == (rpo_s > limit)


def test_gaps_are_named_and_counted() -> None:
    found = listing(Stretch(1, 3, 4), Stretch(1, 6, 6), Stretch(1, 9, 9))
    detail = said(STATUS, found)["E657"]
    assert "000000010000000000000005, 000000010000000000000007 to 000000010000000000000008 (2 segments)" in detail
    holes = listing(*(Stretch(1, number, number) for number in range(3, 43, 2)))
    last = segment_name(Segment(1, 41))
    assert "and 11 more" in said(replace(STATUS, last=last), holes)["E657"]
    assert "and 5011 more" in said(replace(STATUS, last=last), replace(holes, stretches=5_020))["E657"]


def test_a_gap_counts_only_after_a_base_backup() -> None:
    found = listing(Stretch(1, 3, 4), Stretch(1, 6, 9))
    assert "E657" not in said(STATUS, found, (LATER,)) and said(STATUS, found, (LATER,)) == {}
    both = judged(WAL, STATUS, found, (BASE, LATER), max_age_s=None)
    assert [one.code for one in both.problems] == ["E659"]
    assert "From one.tar recovery reaches the end of 000000010000000000000004" in both.problems[0].detail
    assert both.earliest == LATER.finished_at
    newest = judged(WAL, STATUS, found, (BASE, LATER), max_age_s=None, leading="newest")
    assert newest.problems == () and "From one.tar recovery reaches" in newest.notes[0]
    behind = listing(Stretch(1, 3, 7), Stretch(1, 9, 9))
    assert len(judged(WAL, STATUS, behind, (BASE, LATER), max_age_s=None, leading="newest").problems) == 2
    assert "not even its own end" in said(STATUS, listing(Stretch(1, 4, 9)), (BASE,))["E659"]


FRESH = replace(
    BASE, name="fresh.tar", wal_start=show_lsn(11 * SEGMENT_BYTES - 100), finished_at="2026-02-16T02:00:00.000000Z"
)
"""Taken a moment ago: its first segment is 11, and the archive has 9."""


@pytest.mark.parametrize(
    ("lsn", "waiting", "fault"),
    [
        (11 * SEGMENT_BYTES + 500, 0, False),  # that segment is open still
        (12 * SEGMENT_BYTES + 500, 1, False),  # closed, and on its way
        (12 * SEGMENT_BYTES + 500, 0, True),  # nothing is on its way: it is lost
        (12 * SEGMENT_BYTES + 500, -1, True),  # the role may not see that
    ],
)
def test_a_base_backup_that_the_archive_has_not_come_up_to(lsn: int, waiting: int, fault: bool) -> None:
    status = replace(STATUS, lsn=show_lsn(lsn), waiting=waiting)
    assert ("E659" in said(status, WHOLE, (FRESH,))) is fault
    ways: tuple[Leading, ...] = ("every", "newest")
    for which in ways:
        found = judged(WAL, status, WHOLE, (BASE, FRESH), max_age_s=None, leading=which)
        assert found.problems == (), "the one before it leads as far as the archive does"
        assert found.earliest == BASE.finished_at
        assert len(found.notes) == 1 and found.notes[0].startswith("fresh.tar began ")


def test_bases_that_do_not_count() -> None:
    other, broken = replace(BASE, identifier="8"), Base("b.tar", flaw="its manifest can't be read")
    detail = said(STATUS, WHOLE, (other, broken))["E659"]
    assert "another cluster (8)" in detail and "b.tar: its manifest can't be read" in detail
    assert said(STATUS, WHOLE, (other, broken, LATER)) == {}
    assert "There is none" in said(STATUS, WHOLE, ())["E659"]


def test_a_timeline_without_history_and_one_that_was_left() -> None:
    status = replace(STATUS, timeline=2, last=segment_name(Segment(2, 8)))
    forked = (Stretch(1, 3, 9), Stretch(2, 6, 8))
    assert "00000002.history" in said(status, listing(*forked))["E657"]
    known = listing(*forked, t2=(Switch(1, 6 * SEGMENT_BYTES + 88),))
    assert said(status, known, (BASE,)) == {}
    judgement = judged(WAL, status, known, (BASE, LATER), max_age_s=None)
    assert judgement.problems == () and "two.tar began on timeline 1" in judgement.notes[0]
    fresh = listing(Stretch(1, 3, 9), t2=(Switch(1, 6 * SEGMENT_BYTES + 88),))
    promoted = judged(WAL, replace(STATUS, timeline=2), fresh, (BASE, LATER), max_age_s=None)
    assert promoted.problems == () and promoted.earliest == BASE.finished_at and "two.tar" in promoted.notes[0]
    assert "00000003.history" in said(replace(status, timeline=3), known)["E657"], (
        "promoted, and nothing archived since"
    )


def test_segments_of_another_size() -> None:
    found = replace(WHOLE, damaged=(("000000010000000000000004", 5),), damaged_count=3)
    assert "000000010000000000000004 (5 bytes) and 2 more" in said(STATUS, found)["E657"]


def test_another_clusters_segment() -> None:
    assert foreign_cluster(STATUS, WHOLE, "7") == [] and foreign_cluster(STATUS, WHOLE, "") == []
    assert "written by cluster 8; this is 7" in foreign_cluster(STATUS, WHOLE, "8")[0].detail
