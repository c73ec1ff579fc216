"""The longest pause of a schedule, reckoned without a clock."""

from __future__ import annotations

import pytest

from runbook.check.cron import CronFault, longest_gap_s

HOUR, DAY = 3600, 86_400


@pytest.mark.parametrize(
    ("schedule", "gap_s"),
    [
        ("0 2 * * *", DAY),
        ("@daily", DAY),
        ("@hourly", HOUR),
        ("*/15 * * * *", HOUR / 4),
        ("7-59/10 * * * *", 10 * 60),
        ("0 */6 * * *", 6 * HOUR),
        ("0 8-18 * * *", 14 * HOUR),
        ("0 8,20 * * *", 12 * HOUR),
        ("30 1 * * 1-5", 3 * DAY),
        ("0 0 * * sun", 7 * DAY),
        ("0 0 * * 7", 7 * DAY),
        ("0 0 * * Mon,Thu", 4 * DAY),
        ("@weekly", 7 * DAY),
        ("0 0 1 * *", 31 * DAY),
        ("0 0 31 * *", 61 * DAY),
        ("0 0 1 1 *", 366 * DAY),
        ("0 0 29 feb *", 1461 * DAY),
        ("0 0 13 * fri", 7 * DAY),
        ("59 23 1 1,7 *", 184 * DAY),
    ],
)
def test_the_longest_gap(schedule: str, gap_s: float) -> None:
    assert longest_gap_s(schedule) == gap_s


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("60 * * * *", "minute: expected 0 to 59"),
        ("0 24 * * *", "hour: expected 0 to 23"),
        ("0 0 0 * *", "day of the month: expected 1 to 31"),
        ("0 0 * 13 *", "month: expected 1 to 12, or jan to dec"),
        ("0 0 * * 8", "day of the week: expected 0 to 7, or sun to sat"),
        ("0 0 * * monday", "day of the week: expected 0 to 7, or sun to sat"),
        ("0 18-8 * * *", "hour: expected a range from low to high"),
        ("*/0 * * * *", "minute: expected a range from low to high"),
        ("*/00 * * * *", "minute: expected a range from low to high"),
        ("0 0 30 2 *", "no day has this date: the schedule never comes"),
    ],
)
def test_a_schedule_that_cannot_be(schedule: str, said: str) -> None:
    with pytest.raises(CronFault) as caught:
        longest_gap_s(schedule)
    assert str(caught.value) == said
