"""Rendering: a step's inputs and condition with the values that are known when it runs.

Owns the way from a step of a plan to the values that its action is given. Promises: rendered once (a value that holds braces
stays text); what can't be rendered is a problem at its place in the YAML; an output that a skipped step never gave is
:class:`MissingOutput`; a condition that isn't known yet is never decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from runbook.errors import Bug, InvalidInput, Place, Problem, RunbookError
from runbook.operation import Json
from runbook.plan.codes import problem
from runbook.plan.marks import Below
from runbook.plan.model import Frame, Plan, Step
from runbook.plan.reach import texts_of
from runbook.plan.references import references
from runbook.plan.scalar import kind
from runbook.plan.scope import Scope, Values, evaluate, foresee, frame_scope, render
from runbook.plan.template import Reference, TemplateFault, as_template

__all__ = [
    "Ahead",
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
    "render_ahead",
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
class Ahead:
    """The same as far as it can be told before other steps have run.

    ``given_by`` are the steps for whose outputs something stands in ``with_``; ``only_if`` the conditions that can't be decided
    yet, as written, and ``decided_by`` the steps that they wait for. ``when`` is what the others say.
    """

    with_: Mapping[str, Json]
    when: bool | None
    given_by: frozenset[str] = frozenset()
    only_if: tuple[str, ...] = ()
    decided_by: frozenset[str] = frozenset()


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
    ahead = render_ahead(plan, step, values)
    if waits := ahead.given_by | ahead.decided_by:
        raise Bug(f"{step.id} was to run on what {', '.join(sorted(waits))} will give, before it was known.")
    return Rendered(ahead.with_, ahead.when)


def render_ahead(plan: Plan, step: Step, values: Values) -> Ahead:
    """The same for a dry-run, whose values may be foreseen ones."""
    key = "when"
    try:
        ahead = _conditions(plan, step, values)
        if ahead.when is False:
            return ahead
        key = "with"
        filled = foresee(dict(step.with_), frame_scope(plan, step.frame, values, item=step.item))
    except TemplateFault as fault:
        raise _raised(step, key, fault) from None
    with_ = filled.value if isinstance(filled.value, dict) else {}
    return replace(ahead, with_=with_, given_by=filled.after)


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


def _conditions(plan: Plan, step: Step, values: Values) -> Ahead:
    """What the conditions say; the first that is false decides, whatever the others wait for."""
    result: bool | None = None
    only_if: list[str] = []
    decided_by: frozenset[str] = frozenset()
    for prefix, expression in condition(plan, step):
        item = step.item if prefix == step.frame else None
        found = foresee(as_template(expression), frame_scope(plan, prefix, values, item=item))
        if found.after:
            only_if.append(expression)
            decided_by |= found.after
            continue
        result = truth(found.value)
        if not result:
            return Ahead({}, result)
    return Ahead({}, result, only_if=tuple(only_if), decided_by=decided_by)


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
