"""Durations, sizes, instants."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runbook.units import parse_duration, parse_instant, parse_size, show_duration, show_instant, show_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("1h30m", 5_400), ("2d", 172_800), ("1w", 604_800), ("250ms", 0.25), ("1.5s", 1.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "5", "12:30", "-3s", "1m1h", "1 h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration like 30s"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["5201w", "9" * 400 + "w"])
def test_a_duration_has_an_end(text: str) -> None:
    with pytest.raises(ValueError, match="at most 5200w"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["9224PB", "9" * 400 + "TB"])
def test_a_size_has_an_end(text: str) -> None:
    with pytest.raises(ValueError, match="below 9223 PB"):
        parse_size(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+10:00", "9999-12-31T23:00:00-10:00"])
def test_an_instant_is_one_in_utc_as_well(text: str) -> None:
    with pytest.raises(ValueError, match="the years 1 to 9999"):
        parse_instant(text)


@pytest.mark.parametrize(("text", "count"), [("512B", 512), ("10MB", 10_000_000), ("1.5GiB", 1_610_612_736)])
def test_sizes(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "10", "10 parsecs", "-1MB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        parse_size(text)


def test_an_instant_needs_a_zone() -> None:
    assert parse_instant("2026-02-14T13:00:00+01:00") == datetime(2026, 2, 14, 12, tzinfo=UTC)
    with pytest.raises(ValueError, match="needs a zone"):
        parse_instant("2026-02-14T13:00:00")
    with pytest.raises(ValueError, match="expected a time"):
        parse_instant("yesterday")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.44, "0.4s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (125, "2m 05s"),
        (3_780, "1h 03m"),
        (187_200, "2d 4h"),
        (-5, "-5.0s"),
    ],
)
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(512, "512 B"), (1_500, "1.5 kB"), (999_960, "1.0 MB"), (1_500_000_000, "1.5 GB")]
)
def test_sizes_are_read_at_a_glance(count: int, text: str) -> None:
    assert show_size(count) == text


def test_instants_come_back() -> None:
    moment = datetime(2026, 2, 14, 12, 0, 0, 123456, tzinfo=UTC)
    assert show_instant(moment) == "2026-02-14T12:00:00.123456Z"
    assert parse_instant(show_instant(moment)) == moment
