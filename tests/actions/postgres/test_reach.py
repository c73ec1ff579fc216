"""How far a base backup and an archive lead, by names: the timeline that is followed, gaps, and what was discarded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import cast

import pytest

from runbook.action import FileFacts, Look
from runbook.actions.postgres.cluster import Control
from runbook.actions.postgres.reach import Reach, read_reach, unknown_timelines, unreachable
from runbook.actions.postgres.target import CommitOf, EndOfArchive, Moment, Position, RestorePoint, Target
from runbook.actions.postgres.wal_source import DirectoryArchive
from runbook.artifact import Format
from runbook.errors import Refused
from runbook.host import LOCAL
from tests.actions.backups import NOON, manifest

MIB = 2**20
MINUTE = timedelta(minutes=1)
SECOND = "1\t0/5000148\tbefore 2026-02-14 12:05:30+00\n"
"""Timeline 2 was begun in segment 5 of timeline 1."""


@dataclass
class Archive:
    """An archive: names, each with the minutes after noon at which it was archived; and the texts of histories."""

    names: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def listing(self, host: object, directory: str) -> tuple[FileFacts, ...]:
        return tuple(self.fact(name, at) for name, at in sorted((self.names | dict.fromkeys(self.texts, 9.0)).items()))

    def fact(self, name: str, at: float) -> FileFacts:
        modified = NOON + at * MINUTE + timedelta(microseconds=1)
        return FileFacts(f"/wal/{name}", "file", 16 * MIB, modified, 0o600, "postgres", 1, 5)

    def text(self, host: object, path: str) -> str | None:
        return self.texts.get(path.rpartition("/")[2])

    def segments(self, timeline: int, *numbers: int) -> Archive:
        return Archive({**self.names, **{f"{timeline:08X}{0:08X}{n:08X}": float(n) for n in numbers}}, dict(self.texts))

    def with_second(self, text: str = SECOND) -> Archive:
        return Archive(dict(self.names), {**self.texts, "00000002.history": text})

    def reach(self, wanted: str = "latest", *, base: int = 1, stop: str = "0/3000000", timeline: int = 1) -> Reach:
        of = manifest("c.tar", format=Format.BASE_BACKUP, timeline=base, wal_start="0/2000028", wal_stop=stop)
        control = Control("7", timeline, "in production")
        return read_reach(
            cast(Look, self), DirectoryArchive("/wal", LOCAL), manifest=of, control=control, wanted=wanted
        )

    def problems(self, target: Target, wanted: str = "latest", *, timeline: int = 1) -> list[str]:
        found = self.reach(wanted, timeline=timeline)
        control = Control("7", timeline, "in production")
        problems = [*unknown_timelines(found, wanted, control), *unreachable(found, target, wanted=wanted)]
        return [f"{one.code} {one.detail}\n{one.fix}" for one in problems]


WHOLE = Archive().segments(1, 2, 3, 4, 5, 6)
FORKED = WHOLE.with_second().segments(2, 5, 6)
HOLED = Archive().segments(1, 2, 3, 4, 6, 7)


def at(minutes: float) -> datetime:
    return NOON + minutes * MINUTE


def test_it_begins_where_the_base_backup_ended() -> None:
    found = WHOLE.reach()
    assert (found.first_name, found.begins_last, found.ends) == ("000000010000000000000003", "0/6000000", "0/7000000")
    assert found.latest == at(6) + timedelta(microseconds=1)
    assert WHOLE.problems(Moment(at(99))) == []


def test_the_latest_timeline_is_found_as_the_server_finds_it() -> None:
    assert WHOLE.reach().timeline == 1
    assert FORKED.reach().timeline == 2
    assert FORKED.reach("current").timeline == 1
    assert FORKED.reach("1").timeline == 1
    found = FORKED.reach()
    assert found.begins_last == "0/6000000" and found.gap is None
    forks = [(fork.parent, fork.child, fork.discards) for fork in found.forks]
    assert forks == [(1, 2, True)]


def test_a_base_backup_that_ended_in_the_segment_of_the_fork_goes_on_in_the_child() -> None:
    assert FORKED.reach(stop="0/5000100").first_name == "000000020000000000000005"


@pytest.mark.parametrize("target", [EndOfArchive(), Position("0/5000000"), Position("0/7000000"), Moment(at(4.5))])
def test_a_gap_before_the_target_is_named(target: Target) -> None:
    (said,) = HOLED.problems(target)
    assert said.startswith("E674 Missing: 000000010000000000000005.")
    assert "can reach 000000010000000000000004, archived 2026-02-14T12:04:00" in said
    assert "before 0/5000000" in said


@pytest.mark.parametrize("target", [Position("0/4FFFFFF"), Moment(at(3.9)), CommitOf(750), RestorePoint("here")])
def test_a_gap_behind_the_target_or_that_may_be_is_none(target: Target) -> None:
    assert HOLED.problems(target) == []


def test_nothing_after_the_base_backup() -> None:
    found = Archive().segments(1, 2).reach()
    assert (found.last, found.latest, found.gap) == (None, None, None)


@pytest.mark.parametrize("target", [Moment(at(5.5)), Moment(at(8.9)), Position("0/6000000"), CommitOf(750)])
def test_a_target_in_a_discarded_part_asks_for_its_timeline(target: Target) -> None:
    (said,) = FORKED.problems(target)
    assert said.startswith("E675")
    assert "left at 0/5000148, before its commit of 2026-02-14T12:05:30" in said
    assert "`timeline: 1` goes along the discarded part, `timeline: 2`" in said
    assert FORKED.problems(target, "1") == []
    assert FORKED.problems(target, "2") == []


@pytest.mark.parametrize("target", [Moment(at(5.4)), Moment(at(9.1)), Position("0/5000100"), EndOfArchive()])
def test_what_is_before_the_fork_or_after_the_childs_beginning_is_clear(target: Target) -> None:
    assert FORKED.problems(target) == []


def test_where_the_fork_has_no_time_its_segment_bounds_it() -> None:
    forked = WHOLE.with_second("1\t0/5000148\tbefore transaction 750\n").segments(2, 5, 6)
    assert len(forked.problems(Moment(at(4.5)))) == 1
    assert forked.problems(Moment(at(3.9))) == []


def test_a_failover_discards_nothing() -> None:
    forked = WHOLE.with_second("1\t0/5000148\tno recovery target specified\n").segments(2, 5, 6)
    assert forked.problems(Moment(at(5.5))) == []
    assert forked.problems(CommitOf(750)) == []


def test_a_timeline_without_its_history_is_not_passed_over() -> None:
    poisoned = WHOLE.segments(2, 5, 6)
    (said,) = poisoned.problems(Moment(at(5.5)))
    assert said.startswith("E676") and "no 00000002.history" in said
    (said,) = WHOLE.problems(Moment(at(5.5)), timeline=2)
    assert "no 00000002.history" in said, "the live cluster is on it"
    assert poisoned.problems(Moment(at(5.5)), "1") == []


@pytest.mark.parametrize(
    ("archive", "wanted", "base", "stop", "said"),
    [
        (FORKED, "3", 1, "0/3000000", "no 00000003.history"),
        (FORKED, "1", 2, "0/6000100", "timeline 1 does not come from it"),
        (FORKED, "2", 1, "0/6000000", "was left at 0/5000148"),
        (WHOLE.with_second("nonsense\n"), "latest", 1, "0/3000000", "00000002.history: 'nonsense'"),
    ],
)
def test_a_timeline_that_can_not_be_followed_is_refused(
    archive: Archive, wanted: str, base: int, stop: str, said: str
) -> None:
    with pytest.raises(Refused) as refused:
        archive.reach(wanted, base=base, stop=stop)
    assert refused.value.problems[0].code == "E676"
    assert said in str(refused.value)


def test_a_time_in_whole_seconds_may_be_any_moment_of_that_second() -> None:
    """Files in a container and over SSH are told so."""
    whole = Archive(dict(FORKED.names), dict(FORKED.texts))
    whole.fact = lambda name, at: replace(FORKED.fact(name, at), modified=NOON + at * MINUTE)  # type: ignore[method-assign]
    assert whole.reach().latest == at(6) + timedelta(seconds=1)
    assert len(whole.problems(Moment(at(9) + timedelta(milliseconds=900)))) == 1
