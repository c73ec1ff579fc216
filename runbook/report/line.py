"""A line of what is shown: the same for a run as it goes, a list of runs and a run's state."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a mark, its text, and what it is about (for colour): ``good``, ``bad``, ``ask``, ``dim`` or ``plain``."""

    mark: str
    text: str
    tone: str = "plain"

    def __str__(self) -> str:
        return f"{self.mark} {self.text}"
