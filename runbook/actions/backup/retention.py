"""Which backups are kept, and why: rules over the moments in their manifests.

Owns the rules and what they say of a list of backups. Pure. Promises: nothing is judged by a file's time; "within" is counted from
the newest backup and not from today, so that where backups have ceased, keeping does not end; whatever the rules say, the newest
``minimum`` backups stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Rules:
    """How many are kept of which kind. ``within_s`` is seconds before the newest one; days, weeks and months are those of UTC."""

    last: int = 0
    within_s: float = 0.0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    minimum: int = 2

    @property
    def are_given(self) -> bool:
        """Whether there is a rule at all beside the floor."""
        return any((self.last, self.within_s, self.daily, self.weekly, self.monthly, self.yearly))


@dataclass(frozen=True, slots=True)
class Dated:
    """A backup as the rules see it."""

    name: str
    finished_at: datetime


def kept(backups: Iterable[Dated], rules: Rules, now: datetime) -> Mapping[str, tuple[str, ...]]:
    """The names that stay, newest first, each with its reasons. What is dated after ``now`` stays and counts for nothing."""
    newest_first = sorted(backups, key=lambda one: (one.finished_at, one.name), reverse=True)
    reasons: dict[str, list[str]] = {}
    for one in newest_first:
        if one.finished_at > now:
            reasons.setdefault(one.name, []).append("its date is in the future")
    known = [one for one in newest_first if one.finished_at <= now]
    for one, why in (*_counted(known, rules), *_by_period(known, rules)):
        reasons.setdefault(one.name, []).append(why)
    order = [one.name for one in newest_first]
    return {name: tuple(reasons[name]) for name in sorted(reasons, key=order.index)}


def _counted(known: list[Dated], rules: Rules) -> list[tuple[Dated, str]]:
    found = [(one, f"one of the newest {rules.minimum}, which always stay") for one in known[: rules.minimum]]
    found += [(one, f"one of the last {rules.last}") for one in known[: rules.last]]
    if known and rules.within_s:
        since = known[0].finished_at - timedelta(seconds=rules.within_s)
        found += [(one, "young enough") for one in known if one.finished_at >= since]
    return found


def _by_period(known: list[Dated], rules: Rules) -> list[tuple[Dated, str]]:
    """The newest of each period, for as many periods that have one."""
    periods: tuple[tuple[int, str, Callable[[datetime], object]], ...] = (
        (rules.daily, "day", lambda at: at.date()),
        (rules.weekly, "week", lambda at: at.isocalendar()[:2]),
        (rules.monthly, "month", lambda at: (at.year, at.month)),
        (rules.yearly, "year", lambda at: at.year),
    )
    found = []
    for count, word, period in periods:
        seen: set[object] = set()
        for one in known:
            of = period(one.finished_at.astimezone(UTC))
            if of not in seen and len(seen) < count:
                found.append((one, f"the last of its {word}"))
            seen.add(of)
    return found
