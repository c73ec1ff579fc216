"""Rows of figures, as a table for people and as JSON for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from benchmarks.cost import Spread


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: ``ours`` and ``other`` as they are shown, their ratio, and the largest ratio that is aimed at (or none)."""

    what: str
    ours: str
    other: str
    ratio: Spread | None = None
    goal: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the median is within the goal."""
        if self.ratio is None or self.goal is None:
            return ""
        return "met" if self.ratio.middle <= self.goal else "missed"

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as it is printed."""
        found, goal = self.ratio, "" if self.goal is None else f"≤ {self.goal:g}"
        ratio = "" if found is None else f"{found.middle:.2f} ({found.least:.2f}–{found.most:.2f})"
        return (self.what, self.ours, self.other, ratio, goal, self.verdict, self.note)


HEAD = ("what", "ours", "beside it", "ratio (min–max)", "goal", "", "")


def as_text(rows: list[Row]) -> str:
    """The table."""
    cells = [HEAD, *(row.cells for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def as_json(rows: list[Row]) -> list[dict[str, object]]:
    """The rows for programs."""
    return [asdict(row) | {"verdict": row.verdict} for row in rows]


def ms(seconds: float) -> str:
    """Milliseconds."""
    return f"{seconds * 1000:.2f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"


def s(seconds: float) -> str:
    """Seconds."""
    return f"{seconds:.2f} s"


def mib(size: float) -> str:
    """Mebibytes."""
    return f"{size / 2**20:.0f} MiB"
