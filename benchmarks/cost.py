"""What a command costs, and how two sides are measured in turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

WRAPPER = Path(__file__).with_name("wrapper.py")


class Failed(Exception):
    """A side ended with another exit code than it should; the text holds its last words."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds until the command ended, CPU seconds of all its descendants, and its largest resident size."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Command:
    """One side: a program that runs in ``directory`` and should end with ``code``; ``prepare`` comes before, unmeasured."""

    argv: Sequence[str]
    directory: Path
    env: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] | None = None
    code: int = 0

    def __call__(self) -> Cost:
        """Run it once. Raises :class:`Failed`."""
        if self.prepare is not None:
            self.prepare()
        result, log = self.directory / "cost.json", self.directory / "side.log"
        # -I -S: the wrapper itself is a bare interpreter, whatever is installed
        wrapped = [sys.executable, "-I", "-S", str(WRAPPER), str(result), str(log), *self.argv]
        subprocess.run(wrapped, cwd=self.directory, env={**os.environ, **self.env}, check=True)
        found = json.loads(result.read_text(encoding="utf-8"))
        if found["code"] != self.code:
            said = log.read_text(encoding="utf-8", errors="replace")[-800:]
            raise Failed(f"{' '.join(self.argv[:6])} ended with {found['code']}:\n{said}")
        return Cost(found["wall_s"], found["cpu_s"], found["peak_bytes"])


Side = Callable[[], Cost]


def in_turns(sides: Mapping[str, Side], rounds: int) -> dict[str, list[Cost]]:
    """Each side ``rounds`` times: A B C, A B C, …"""
    found: dict[str, list[Cost]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            found[name].append(side())
    return found


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, smallest and largest of some figures."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """The spread of these figures, at least one."""
        return cls(median(figures), min(figures), max(figures))


def ratios(ours: Sequence[float], other: Sequence[float]) -> Spread:
    """Ours by the other's, round by round."""
    return Spread.of([a / b for a, b in zip(ours, other, strict=True)])


def per_further(long: Sequence[float], short: Sequence[float], steps: int) -> list[float]:
    """What each of ``steps`` further steps costs, round by round: start and end of the program are taken off."""
    return [(a - b) / steps for a, b in zip(long, short, strict=True)]
