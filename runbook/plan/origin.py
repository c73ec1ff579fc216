"""Where a step's values come from: the plan's own inputs, through the included plans in between.

Owns :func:`inputs_behind`. Promises: the names are those that ``-i NAME=VALUE`` takes, each once, in the order of the step's keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runbook.operation import Json
from runbook.plan.model import Plan, Step
from runbook.plan.reach import texts_of
from runbook.plan.references import references


def inputs_behind(plan: Plan, step: Step, fields: Iterable[str] = ()) -> tuple[str, ...]:
    """The plan's inputs that these fields of ``with`` are made of; of all of them, where none is named."""
    wanted = tuple(fields) or tuple(step.with_)
    found = (name for key in wanted for name in _behind(plan, step.frame, step.with_.get(key)))
    return tuple(dict.fromkeys(found))


def _behind(plan: Plan, prefix: str, value: Json) -> Iterator[str]:
    frame = plan.frames[prefix]
    for _, text in texts_of(value, ()):
        for reference in sorted(references(text)):
            if reference.root != "inputs" or not reference.name:
                continue
            if frame.parent is None:
                yield reference.name
            else:
                yield from _behind(plan, frame.parent, frame.bindings.get(reference.name))
