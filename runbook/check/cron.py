"""Cron fields: how far apart the times of a schedule are at most.

Owns the five fields and the ``@`` words. Promises: no clock is read; days of the month and of the week are joined as cron joins
them (either of them, where both are given). Changes to and from summer time are not counted.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise

_WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MINUTES_A_DAY = 1440
_FROM = date(2000, 1, 1)
_SPAN_DAYS = 366 * 9
"""Long enough to hold two leap days with every pause between them: 2000 to 2008."""


class CronFault(ValueError):
    """A schedule that can't be, or never comes; the text says what is expected."""


@lru_cache
def longest_gap_s(schedule: str) -> float:
    """The longest time in seconds between one time of the schedule and the next. :class:`CronFault` where there is none."""
    minute, hour, day, month, weekday = _WORDS.get(schedule, schedule).split()
    hours = _numbers(hour, "hour", 0, 23)
    minutes = _numbers(minute, "minute", 0, 59)
    times = sorted(60 * h + m for h in hours for m in minutes)
    days = _days(day, month, weekday)
    if len(days) < 2:
        raise CronFault("no day has this date: the schedule never comes")
    within = max((later - earlier for earlier, later in pairwise(times)), default=0)
    over = max(later - earlier for earlier, later in pairwise(days)) * _MINUTES_A_DAY
    return 60.0 * max(within, over + times[0] - times[-1])


def _days(day: str, month: str, weekday: str) -> list[int]:
    """The days that match, counted from :data:`_FROM`."""
    months = _numbers(month, "month", 1, 12, _MONTHS)
    in_month = _numbers(day, "day of the month", 1, 31)
    in_week = {number % 7 for number in _numbers(weekday, "day of the week", 0, 7, _DAYS)}
    either = not day.startswith("*") and not weekday.startswith("*")
    found = []
    for number in range(_SPAN_DAYS):
        today = _FROM + timedelta(days=number)
        fits = (today.day in in_month, today.isoweekday() % 7 in in_week)
        if today.month in months and (any(fits) if either else all(fits)):
            found.append(number)
    return found


def _numbers(field: str, what: str, low: int, high: int, names: tuple[str, ...] = ()) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            begin, end = low, high
        else:
            begin = _number(first, what, low, high, names)
            end = _number(last, what, low, high, names) if last else high if step else begin
        if begin > end or (step and int(step) == 0):
            raise CronFault(f"{what}: expected a range from low to high")
        found.update(range(begin, end + 1, int(step or 1)))
    return found


def _number(text: str, what: str, low: int, high: int, names: tuple[str, ...]) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + (1 if names is _MONTHS else 0)
    if not text.isdecimal() or not low <= int(text) <= high:
        raise CronFault(f"{what}: expected {low} to {high}" + (f", or {names[0]} to {names[-1]}" if names else ""))
    return int(text)
