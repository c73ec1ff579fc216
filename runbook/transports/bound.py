"""Bounds in time: how long a performance may still take, on the engine's monotonic clock.

Owns :class:`Bound`. Promises: it never goes negative, and says None only where there is no bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bound:
    """An instant ``at`` (seconds of ``monotonic``; None = no bound) by which work has to be over."""

    monotonic: Callable[[], float]
    at: float | None

    def left_s(self) -> float | None:
        """Seconds that are left, at least 0; None without a bound."""
        return None if self.at is None else max(0.0, self.at - self.monotonic())

    def at_most(self, seconds: float) -> float:
        """``seconds``, or what is left if that is less."""
        left = self.left_s()
        return seconds if left is None else min(seconds, left)

    def within(self, seconds: float) -> Bound:
        """This bound, or ``seconds`` from now if that is sooner."""
        soon = self.monotonic() + seconds
        return Bound(self.monotonic, soon if self.at is None else min(soon, self.at))

    @property
    def over(self) -> bool:
        """Whether the instant has passed."""
        return self.at is not None and self.monotonic() >= self.at
