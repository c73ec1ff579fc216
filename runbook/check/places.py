"""Where in the plan's text a step's parts stand.

Owns the look-ups in a step's marks. Promises: each gives the nearest place that there is, so that every problem has one.
"""

from __future__ import annotations

from runbook.errors import Place
from runbook.plan.marks import Below, Marks, Path
from runbook.plan.model import Plan, Step


def value(step: Step, key: str) -> Place | None:
    """The place of the value of ``key`` (``with.artifact``), or of the nearest thing above it."""
    marks = step.marks
    return marks.nearest(key) if isinstance(marks, Below) else marks.get(key, step.where)


def inside(step: Step, path: Path, fragment: str) -> Place | None:
    """The place of ``fragment`` in the text at ``path`` of the step."""
    marks = step.marks
    return marks.marks.inside((*base(step), *path), fragment) if isinstance(marks, Below) else step.where


def base(step: Step) -> Path:
    """The path of the step in its file."""
    return step.marks.path("uses")[:-1] if isinstance(step.marks, Below) else ()


def marks_of(plan: Plan, frame: str) -> Marks | None:
    """The marks of the file that a frame's plan stands in, if one of its steps tells."""
    if not frame and isinstance(plan.marks, Below):
        return plan.marks.marks
    found = (step.marks for step in plan.steps if step.frame == frame)
    return next((marks.marks for marks in found if isinstance(marks, Below)), None)
