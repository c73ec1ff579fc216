"""Everything that is wrong with a plan file, in one go: the loader's faults, those of the actions, and the rules.

Owns the order and what depends on what. Promises: what is at fault already is not judged again, so that one mistake is one
problem, and hides no other; the rules are asked of a plan only once it is otherwise whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date

from runbook.check.faults import faults, unknown_actions
from runbook.check.fields import AnyAction
from runbook.check.places import base
from runbook.check.rules import rules
from runbook.errors import Place, Problem, Severity, nearest
from runbook.plan.codes import orderly
from runbook.plan.environment import Environment
from runbook.plan.marks import Below
from runbook.plan.model import Plan, Step
from runbook.plan.shape import StepShape

_KEYS = frozenset(field.alias or name for name, field in StepShape.model_fields.items())
_BESIDE_ITS_ACTION = frozenset(("title", "description", "timeout", "retry", "confirm", "on_failure", "phase"))
"""Keys of a step that its action doesn't hear of."""


def examine(
    plan: Plan,
    loading: Iterable[Problem],
    catalogue: Mapping[str, AnyAction],
    *,
    environment: Environment | None = None,
    today: date | None = None,
) -> list[Problem]:
    """All problems of the plan; ``loading`` are those that the loader found in it."""
    before = tuple(loading)
    whole = plan if not before else replace(plan, steps=_clean(plan.steps, before))
    found = [*before, *unknown_actions(plan, catalogue), *faults(whole, catalogue, environment)]
    if not any(problem.severity is Severity.ERROR for problem in before):
        found += rules(plan, catalogue, today=today)
    return list(orderly(found))


def _clean(steps: tuple[Step, ...], before: tuple[Problem, ...]) -> tuple[Step, ...]:
    """The steps in whose lines nothing was found that says what their action does."""
    begins: dict[str, list[int]] = {}
    for step in steps:
        file, line = _begin(step)
        begins.setdefault(file, []).append(line)
    bad: dict[tuple[str, int], list[Place]] = {}
    for where in (problem.where for problem in before if problem.where):
        bad.setdefault((where.file, _owner(begins.get(where.file, []), where.line)), []).append(where)
    return tuple(step for step in steps if not any(_spoils(step, where) for where in bad.get(_begin(step), ())))


def _spoils(step: Step, where: Place) -> bool:
    """Whether a fault at that place of a step leaves its action without what it is told."""
    if not isinstance(step.marks, Below):
        return True
    marks, path = step.marks.marks, base(step)
    key = marks.part(path, where)
    if key and key not in _KEYS and marks.has((*path, "on")) and marks.has((*path, "with")):
        meant = nearest(key, sorted(_KEYS))  # it may be another one that is misspelt
        return bool(meant) and meant not in _BESIDE_ITS_ACTION
    return key not in _BESIDE_ITS_ACTION


def _begin(step: Step) -> tuple[str, int]:
    """The file, and the line on which the step begins."""
    if isinstance(step.marks, Below):
        place = step.marks.marks.value(base(step))
        return place.file, place.line
    return (step.where.file, step.where.line) if step.where else ("", 0)


def _owner(begins: list[int], line: int) -> int:
    """The line of the last beginning before that line."""
    return max((begin for begin in begins if begin <= line), default=0)
