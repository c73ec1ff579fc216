"""Rendering: a step's inputs and condition with the values that are known when it runs.

Owns the way from a step of a plan to the values that its action is given. Promises: rendered once (a value that holds braces
stays text); what can't be rendered is a problem at its place in the YAML; an output that a skipped step never gave is
:class:`MissingOutput`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runbook.errors import InvalidInput, Place, Problem, RunbookError
from runbook.operation import Json
from runbook.plan.codes import problem
from runbook.plan.marks import Below
from runbook.plan.model import Frame, Plan, Step
from runbook.plan.reach import texts_of
from runbook.plan.references import references
from runbook.plan.scalar import kind
from runbook.plan.scope import Scope, Values, evaluate, frame_scope, render
from runbook.plan.template import Reference, TemplateFault, as_template

__all__ = [
    "MissingOutput",
    "Reference",
    "Rendered",
    "Scope",
    "TemplateFault",
    "Use",
    "Values",
    "evaluate",
    "references",
    "render",
    "render_outputs",
    "render_step",
    "uses_of",
]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A step's ``with``, filled, and what its ``when`` says: None where it has none. ``with_`` is empty if ``when`` is false."""

    with_: Mapping[str, Json]
    when: bool | None


@dataclass(frozen=True, slots=True)
class Use:
    """A reference in a step, and where it stands. ``key`` is ``with.artifact`` or ``when``."""

    key: str
    reference: Reference
    where: Place | None


class MissingOutput(RunbookError):
    """A template needs an output that isn't there, as its step was skipped or failed. ``step`` is its whole id."""

    def __init__(self, found: Problem, *, step: str, output: str) -> None:
        super().__init__(found)
        self.step = step
        self.output = output


def render_step(plan: Plan, step: Step, values: Values) -> Rendered:
    """The step's inputs and condition; :class:`MissingOutput`, or :class:`InvalidInput` for any other fault."""
    key = "when"
    try:
        when = _when(plan, step, values)
        if when is False:
            return Rendered({}, when)
        key = "with"
        scope = frame_scope(plan, step.frame, values, item=step.item)
        filled = render(dict(step.with_), scope)
    except TemplateFault as fault:
        raise _raised(step, key, fault) from None
    return Rendered(filled if isinstance(filled, dict) else {}, when)


def render_outputs(plan: Plan, values: Values) -> dict[str, Json]:
    """The plan's own outputs; those that aren't there are null."""
    scope = frame_scope(plan, "", values)
    found: dict[str, Json] = {}
    for name, template in plan.outputs.items():
        try:
            found[name] = render(template, scope)
        except TemplateFault as fault:
            if fault.absent is None:
                raise InvalidInput(problem(fault.code, fault.detail, fix=fault.fix, name=fault.name)) from None
            found[name] = None
    return found


def uses_of(step: Step) -> Iterator[Use]:
    """Every reference that the step's own templates make, for checks that know the actions' outputs."""
    marks = step.marks
    texts = list(texts_of(dict(step.with_), ("with",)))
    if step.when:
        texts.append((("when",), as_template(step.when)))
    for path, text in texts:
        key = ".".join(map(str, path))
        for reference in sorted(references(text)):
            fragment = ".".join(part for part in reference[:3] if part)
            where = marks.inside(key, fragment) if isinstance(marks, Below) else step.where
            yield Use(key, reference, where)


def condition(plan: Plan, step: Step) -> list[tuple[str, str]]:
    """The conditions that guard a step, outermost first: the frame that each is written in, and its expression."""
    found = [(step.frame, step.when)] if step.when else []
    frame: Frame = plan.frames[step.frame]
    while frame.parent is not None:
        if frame.when:
            found.append((frame.parent, frame.when))
        frame = plan.frames[frame.parent]
    return found[::-1]


def _when(plan: Plan, step: Step, values: Values) -> bool | None:
    result: bool | None = None
    for prefix, expression in condition(plan, step):
        item = step.item if prefix == step.frame else None
        result = truth(evaluate(expression, frame_scope(plan, prefix, values, item=item)))
        if not result:
            return False
    return result


def truth(value: Json) -> bool:
    """The value of a condition; only true and false are."""
    if isinstance(value, bool):
        return value
    raise TemplateFault(
        "E144", f"A condition gives true or false; this gives {kind(value)}.", fix="compare it with something"
    )


def _raised(step: Step, key: str, fault: TemplateFault) -> RunbookError:
    path = ".".join(map(str, (key, *fault.path)))
    marks = step.marks
    where = step.where
    if isinstance(marks, Below):
        where = marks.inside(path, fault.fragment) if fault.fragment else marks.nearest(path)
    found = problem(fault.code, fault.detail, fix=fault.fix, name=fault.name, where=where)
    if fault.absent is not None and fault.absent.step:
        return MissingOutput(found, step=fault.absent.step, output=fault.absent.output)
    return InvalidInput(found)
