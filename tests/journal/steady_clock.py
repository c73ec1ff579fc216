"""A clock that a test can foretell: each look is a millisecond later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class SteadyClock:
    """Begins at noon of a day in February 2026."""

    def __init__(self) -> None:
        self._looks = 0

    def now(self) -> datetime:
        self._looks += 1
        return datetime(2026, 2, 14, 12, tzinfo=UTC) + timedelta(milliseconds=self._looks)

    def monotonic(self) -> float:
        return 100.0 + self._looks / 1000
