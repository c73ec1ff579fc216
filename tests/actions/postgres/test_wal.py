"""Names of WAL files, timelines and what an archive covers: no files, only names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook.actions.postgres.wal import (
    SEGMENT_BYTES,
    Coverage,
    Foreign,
    History,
    Label,
    Partial,
    Segment,
    Stretch,
    Switch,
    first_needed,
    history_name,
    parse_history,
    parse_lsn,
    parse_name,
    segment_at,
    segment_name,
    show_lsn,
    stretches,
)

MIB = 1024 * 1024
sizes = st.sampled_from([MIB * 2**power for power in range(11)])  # what initdb allows: 1 MB to 1 GB
timelines = st.integers(1, 0xFFFF_FFFF)
positions = st.integers(0, 2**63 - 1)


@pytest.mark.parametrize(
    ("name", "size", "file"),
    [
        ("000000010000000000000001", SEGMENT_BYTES, Segment(1, 1)),
        ("0000000A00000002000000FF", SEGMENT_BYTES, Segment(10, 2 * 256 + 255)),
        ("000000010000000200000003", 1024 * MIB, Segment(1, 2 * 4 + 3)),
        ("000000010000000000000FFF", MIB, Segment(1, 4095)),
        ("000000010000000000000003.partial", SEGMENT_BYTES, Partial(Segment(1, 3))),
        ("000000010000000000000002.00000028.backup", SEGMENT_BYTES, Label(Segment(1, 2), 40)),
        ("00000002.history", SEGMENT_BYTES, History(2)),
    ],
)
def test_a_name_says_what_the_file_is(name: str, size: int, file: object) -> None:
    assert parse_name(name, size) == file


@pytest.mark.parametrize(
    "name",
    [
        "",
        "00000001000000000000000",  # a digit short
        "000000010000000000000100",  # 256 of 256: the server counts on in the middle digits
        "000000000000000000000001",  # timeline 0
        "00000001000000000000000a",  # the server writes capitals
        "000000010000000000000001.gz",
        "000000010000000000000001\n",
        ".000000010000000000000001.x7Kq2a",
        "000000010000000000000002.28.backup",
        "00000001.history",  # the first timeline has none
        "0000000000000002.history",
        "backup_label",
    ],
)
def test_what_the_server_would_not_write_is_foreign(name: str) -> None:
    assert parse_name(name) == Foreign(name)


@given(timelines, positions, sizes)
def test_a_segment_and_its_name_lead_to_each_other(timeline: int, position: int, size: int) -> None:
    segment = segment_at(position, timeline, size)
    assert parse_name(segment_name(segment, size), size) == segment
    assert segment.number * size <= position < (segment.number + 1) * size


@given(timelines, positions, sizes)
def test_names_sort_as_segments_do(timeline: int, position: int, size: int) -> None:
    segment = segment_at(position, timeline, size)
    assert segment_name(segment, size) < segment_name(Segment(timeline, segment.number + 1), size)


@given(positions)
def test_a_position_and_its_written_form_lead_to_each_other(position: int) -> None:
    assert parse_lsn(show_lsn(position)) == position


def test_positions_as_the_server_writes_them() -> None:
    assert show_lsn(parse_lsn("16/B374D848")) == "16/B374D848"
    assert show_lsn(40) == "0/28"
    with pytest.raises(ValueError, match="not a position"):
        parse_lsn("16B374D848")


def test_a_base_backup_needs_the_segment_after_the_one_it_closed() -> None:
    assert first_needed(parse_lsn("0/2000028"), 1) == Segment(1, 3)
    assert first_needed(parse_lsn("0/3000000"), 1) == Segment(1, 3)


def test_a_history_as_the_server_writes_it() -> None:
    text = "1\t0/3000158\tno recovery target specified\n\n# by hand\n2\t0/5000000\tbefore 2026-02-14 12:00:00+00\n"
    assert parse_history(text) == (Switch(1, 0x3000158), Switch(2, 0x5000000))
    assert parse_history("") == ()
    assert history_name(2) == "00000002.history"


@pytest.mark.parametrize("text", ["one\t0/3000158\tx", "1", "1\t3000158\tx", "2\t0/3\tx\n1\t0/4\tx", "\x00"])
def test_what_is_no_history_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"histor|position|ascend"):
        parse_history(text)


@given(st.sets(st.builds(Segment, st.integers(1, 3), st.integers(0, 20))))
def test_stretches_hold_what_is_there_and_nothing_else(segments: set[Segment]) -> None:
    found = stretches(segments)
    assert {Segment(one.timeline, number) for one in found for number in range(one.first, one.last + 1)} == segments
    assert found == tuple(sorted(found))
    ends = {(one.timeline, one.last + 1) for one in found}
    assert not ends & {(one.timeline, one.first) for one in found}, "two stretches that touch are one"


def archive(*names: str, **histories: str) -> Coverage:
    held = [one for one in map(parse_name, names) if isinstance(one, Segment)]
    return Coverage(stretches(held), {int(key[1:]): parse_history(text) for key, text in histories.items()})


def run_of(timeline: int, first: int, last: int) -> list[str]:
    return [segment_name(Segment(timeline, number)) for number in range(first, last + 1)]


def test_a_gap_is_named_with_its_count() -> None:
    found = archive(*run_of(1, 3, 5), *run_of(1, 9, 9))
    assert found.gaps() == (Stretch(1, 6, 8),)
    assert found.gaps()[0].show() == "000000010000000000000006 to 000000010000000000000008 (3 segments)"
    assert Stretch(1, 6, 6).show() == "000000010000000000000006"
    assert found.newest == Segment(1, 9)
    assert found.reached(Segment(1, 3), 1) == Segment(1, 5)
    assert found.reached(Segment(1, 9), 1) == Segment(1, 9)
    assert found.reached(Segment(1, 6), 1) is None
    assert found.reached(Segment(1, 10), 1) is None, "a backup that has just begun: its first segment is not there yet"
    assert found.needed(Segment(1, 10), 1) == ()
    assert found.needed(Segment(1, 11), 1) is None


def test_nothing_is_missing_in_an_empty_archive() -> None:
    assert archive().gaps() == () and archive().newest is None and archive().missing_histories == ()
    assert archive().reached(Segment(1, 1), 1) is None


def test_a_fork_takes_its_segment_from_the_child() -> None:
    """Timeline 2 left timeline 1 in segment 5: the child's 5 stands for it, and what the parent wrote after is no gap."""
    found = archive(*run_of(1, 3, 4), *run_of(2, 5, 6), t2="1\t0/5000158\tx")
    assert found.way(2) == (Stretch(1, 0, 4), Stretch(2, 5, 6))
    assert found.gaps() == ()
    assert found.reached(Segment(1, 3), 2) == Segment(2, 6)
    assert found.reached(Segment(1, 3), 1) == Segment(1, 4)


def test_a_gap_before_the_fork_cuts_the_way_along_the_child() -> None:
    found = archive(*run_of(1, 3, 3), *run_of(1, 7, 9), *run_of(2, 6, 6), t2="1\t0/6000000\tx")
    assert Stretch(1, 4, 5) in found.gaps()
    assert found.needed(Segment(1, 3), 2) == (Stretch(1, 4, 5),)
    assert found.reached(Segment(1, 3), 2) == Segment(1, 3)
    assert found.needed(Segment(1, 7), 2) is None, "a backup of the branch that was left leads nowhere on the new one"
    assert found.reached(Segment(1, 7), 1) == Segment(1, 9)


def test_a_timeline_without_its_history_is_named() -> None:
    found = archive(*run_of(1, 3, 4), *run_of(2, 5, 6))
    assert found.missing_histories == (2,)
    assert found.needed(Segment(1, 3), 2) is None
    assert found.gaps() == ()
    assert archive(*run_of(2, 5, 6), t2="1\t0/5000158\tx").missing_histories == ()


@st.composite
def archives(draw: st.DrawFn) -> tuple[Coverage, set[Segment], list[Segment]]:
    """A line of timelines with its forks; some of its segments are held. Also the whole way along the last timeline."""
    forks = sorted(draw(st.sets(st.integers(1, 30), max_size=3)))
    end = draw(st.integers(max(forks, default=0), 34))
    whole = [Segment(1 + sum(number >= fork for fork in forks), number) for number in range(end + 1)]
    held = {one for one in whole if draw(st.booleans())} | {whole[-1]}
    line = [Switch(number + 1, fork * SEGMENT_BYTES + 88) for number, fork in enumerate(forks)]
    histories = {number + 2: tuple(line[: number + 1]) for number in range(len(forks))}
    return Coverage(stretches(held), histories), held, whole


@given(archives(), st.data())
def test_missing_is_what_the_way_asks_for_and_the_archive_has_not(
    made: tuple[Coverage, set[Segment], list[Segment]], data: st.DataObject
) -> None:
    found, held, whole = made
    start = data.draw(st.sampled_from(whole))
    missing = found.needed(start, whole[-1].timeline)
    assert missing is not None
    named = {Segment(gap.timeline, number) for gap in missing for number in range(gap.first, gap.last + 1)}
    assert named == {one for one in whole if one.number >= start.number} - held
    reached = [one for one in whole if one.number >= start.number]
    unbroken = next((at for at, one in enumerate(reached) if one not in held), len(reached))
    assert found.reached(start, whole[-1].timeline) == (reached[unbroken - 1] if unbroken else None)


@given(archives())
def test_gaps_are_what_is_missing_after_the_first_that_is_there(
    made: tuple[Coverage, set[Segment], list[Segment]],
) -> None:
    found, held, whole = made
    named = {Segment(gap.timeline, number) for gap in found.gaps() for number in range(gap.first, gap.last + 1)}
    assert named == {one for one in whole if one.number >= min(held, key=lambda one: one.number).number} - held
