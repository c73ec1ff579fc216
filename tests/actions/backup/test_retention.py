"""The rules of retention, as tables; and what holds whatever they say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook.actions.backup.retention import Dated, Rules, kept

NOW = datetime(2026, 3, 4, 6, 0, tzinfo=UTC)  # a Wednesday


def nightly(count: int, *, newest: datetime = NOW - timedelta(hours=4)) -> list[Dated]:
    """One each night, called by their age in days."""
    return [Dated(str(age), newest - timedelta(days=age)) for age in range(count)]


def staying(backups: Sequence[Dated], rules: Rules) -> list[str]:
    return list(kept(backups, rules, NOW))


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        (Rules(last=3, minimum=1), ["0", "1", "2"]),
        (Rules(within_s=2 * 86_400, minimum=1), ["0", "1", "2"]),
        (Rules(daily=2, minimum=1), ["0", "1"]),
        (Rules(weekly=3, minimum=1), ["0", "3", "10"]),  # the Sundays before
        (Rules(monthly=3, minimum=1), ["0", "4", "32"]),  # the last days of February and January
        (Rules(yearly=2, minimum=1), ["0", "63"]),
        (Rules(daily=2, weekly=2, monthly=2, minimum=1), ["0", "1", "3", "4"]),
        (Rules(minimum=2), ["0", "1"]),
    ],
)
def test_what_stays_of_a_hundred_nights(rules: Rules, wanted: list[str]) -> None:
    assert staying(nightly(100), rules) == wanted


def test_the_last_of_a_day_stays_and_days_without_one_do_not_count() -> None:
    hourly = [Dated(f"h{hour}", datetime(2026, 3, 3, hour, tzinfo=UTC)) for hour in range(24)]
    long_ago = [Dated("old", datetime(2025, 1, 1, tzinfo=UTC))]
    assert staying([*hourly, *long_ago], Rules(daily=2, minimum=1)) == ["h23", "old"]


def test_where_backups_have_ceased_nothing_more_grows_too_old() -> None:
    ceased = nightly(40, newest=NOW - timedelta(days=200))
    assert len(staying(ceased, Rules(within_s=30 * 86_400, minimum=1))) == 31


def test_a_date_in_the_future_keeps_that_one_and_nothing_else() -> None:
    odd = Dated("odd", NOW + timedelta(days=400))
    found = kept([*nightly(10), odd], Rules(within_s=86_400, minimum=1), NOW)
    assert list(found) == ["odd", "0", "1"]
    assert found["odd"] == ("its date is in the future",)


def test_days_are_those_of_utc() -> None:
    east = datetime.fromisoformat("2026-03-03T01:00:00+02:00")  # the second, in UTC
    west = datetime.fromisoformat("2026-03-02T20:00:00+00:00")
    assert staying([Dated("east", east), Dated("west", west)], Rules(daily=5, minimum=1)) == ["east"]


ages = st.lists(st.integers(-100_000, 400_000_000), max_size=40)
rules = st.builds(
    Rules,
    last=st.integers(0, 5),
    within_s=st.floats(0, 1e7),
    daily=st.integers(0, 5),
    weekly=st.integers(0, 5),
    monthly=st.integers(0, 5),
    yearly=st.integers(0, 5),
    minimum=st.integers(1, 5),
)


@given(ages, rules)
def test_the_floor_holds_and_pruning_twice_removes_no_more(found: list[int], rules: Rules) -> None:
    backups = [Dated(str(number), NOW - timedelta(seconds=age)) for number, age in enumerate(found)]
    stay = kept(backups, rules, NOW)
    assert len(stay) >= min(rules.minimum, len(backups))
    past = [one for one in backups if one.finished_at <= NOW]
    if past:
        assert max(past, key=lambda one: (one.finished_at, one.name)).name in stay
    assert all(stay.values())
    left = [one for one in backups if one.name in stay]
    assert list(kept(left, rules, NOW)) == list(stay)
