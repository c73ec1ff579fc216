"""References of templates to outputs: which step each one means, and whether that step has such an output.

Owns the way from ``steps.NAME.FIELD`` in some frame to steps, through included plans' outputs and inputs. Promises: an output
that no action gives is found wherever it is named: in ``with``, in ``when``, in an included plan's inputs and in outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from runbook.check.fields import AnyAction
from runbook.check.places import marks_of
from runbook.errors import Place, Problem, suggest
from runbook.operation import Json
from runbook.plan.codes import problem
from runbook.plan.model import Plan, Step
from runbook.plan.reach import texts_of
from runbook.plan.references import references
from runbook.plan.render import Use, uses_of
from runbook.plan.template import Reference, TemplateFault, as_template


@dataclass(frozen=True)
class Outputs:
    """Who gives what in a plan. ``actions`` are the steps' actions by step id, for those that exist."""

    plan: Plan
    actions: Mapping[str, AnyAction]

    @cached_property
    def _steps(self) -> Mapping[str, Step]:
        return {step.id: step for step in self.plan.steps}

    @cached_property
    def _groups(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for step in self.plan.steps:
            if step.group:
                found[step.group] = (*found.get(step.group, ()), step.id)
        return found

    def faults(self) -> Iterator[Problem]:
        """Every reference to an output that its step's action doesn't have."""
        for step in self.plan.steps:
            for use in _uses(step):
                yield from self._unknown(step.frame, use.reference, use.where)
        for value, frame, where in self._elsewhere():
            for _, text in texts_of(value, ()):
                for reference in sorted(_read(text)):
                    yield from self._unknown(frame, reference, self._place(where, reference))

    def origins(self, step: Step, field: str) -> frozenset[str]:
        """The ids of the steps whose outputs make up the field ``with.FIELD``; "" stands for a value from outside the plan."""
        return frozenset(self._origins(step.frame, step.with_.get(field), depth=0))

    def _origins(self, frame: str, value: Json, *, depth: int) -> Iterator[str]:
        for _, text in texts_of(value, ()):
            for reference in _read(text):
                match reference.root:
                    case "steps":
                        yield from self._given(frame, reference, depth=depth)
                    case "inputs":
                        yield from self._bound(frame, reference, depth=depth)

    def _given(self, frame: str, reference: Reference, *, depth: int) -> Iterator[str]:
        whole = frame + reference.name
        inner = self.plan.frames.get(f"{whole}.")
        if inner is not None and depth < len(self.plan.frames):
            yield from self._origins(inner.prefix, inner.outputs.get(reference.field), depth=depth + 1)
        elif whole in self._steps:
            yield whole
        else:
            yield from self._groups.get(whole, ())

    def _bound(self, frame: str, reference: Reference, *, depth: int) -> Iterator[str]:
        here = self.plan.frames[frame]
        if here.parent is None or reference.name not in here.bindings:
            yield ""
        elif depth < 2 * len(self.plan.frames):
            yield from self._origins(here.parent, here.bindings[reference.name], depth=depth + 1)

    def _unknown(self, frame: str, reference: Reference, where: Place | None) -> Iterator[Problem]:
        action = self.actions.get(frame + reference.name)
        if reference.root != "steps" or not reference.field or action is None:
            return
        step = self._steps[frame + reference.name]
        known = list(action.outputs_type.model_fields)
        if reference.field in known or (step.group and step.foreach is not None):
            return
        listed = f"{action.name} gives: {', '.join(known)}" if known else f"{action.name} gives nothing"
        name = f"steps.{reference.name}.{reference.field}"
        detail = f"Step '{reference.name}' has no such output."
        yield problem("E141", detail, fix=suggest(reference.field, known) or listed, where=where, name=name)

    def _elsewhere(self) -> Iterator[tuple[Json, str, str]]:
        """Templates outside of steps: the value, the frame that it is written in, and the frame whose file it stands in."""
        for prefix, frame in self.plan.frames.items():
            yield dict(self.plan.outputs if frame.parent is None else frame.outputs), prefix, prefix
            if frame.parent is not None:
                yield dict(frame.bindings), frame.parent, frame.parent
                if frame.when:
                    yield as_template(frame.when), frame.parent, frame.parent

    def _place(self, frame: str, reference: Reference) -> Place | None:
        marks = marks_of(self.plan, frame)
        return marks.inside((), ".".join(part for part in reference[:3] if part)) if marks else None


def _uses(step: Step) -> list[Use]:
    try:
        return list(uses_of(step))
    except TemplateFault:
        return []  # the loader has reported it


def _read(text: str) -> frozenset[Reference]:
    try:
        return references(text)
    except TemplateFault:
        return frozenset()  # the loader has reported it
