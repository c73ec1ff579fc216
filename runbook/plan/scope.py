"""Scopes: what the templates of each plan and included plan see.

Owns the views of inputs and outputs that a frame has. Promises: views are lazy, so a step costs what it reads; what a
skipped step would have given is :class:`Absent` with the step's name, so that ``default()`` works and a message can say why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runbook.operation import Json
from runbook.plan.model import Frame, Plan
from runbook.plan.template import (
    LARGEST_OUTPUT,
    Absent,
    Lacking,
    TemplateFault,
    as_template,
    is_template,
    look_up,
    missing,
    plain,
    show,
    simple,
    too_large,
)
from runbook.plan.values import from_value


@dataclass(frozen=True, slots=True)
class Scope:
    """What a template sees. ``steps`` gives a step's outputs by its id as the template writes it."""

    inputs: Mapping[str, object]
    systems: Mapping[str, object]
    steps: Mapping[str, object]
    item: Json = None
    run: Mapping[str, Json] | None = None
    environment: Mapping[str, Json] | None = None

    def roots(self) -> dict[str, object]:
        """The names that a template may begin with."""
        return {
            "inputs": self.inputs,
            "systems": self.systems,
            "steps": _Named(self.steps),
            "item": self.item,
            "run": self.run or {},
            "environment": self.environment or {},
        }


@dataclass(frozen=True, slots=True)
class Values:
    """What is known while a run goes on.

    ``inputs`` are the plan's, in JSON form; ``systems_public`` by the environment's names; ``outputs`` by whole step id,
    for steps that have some; ``run`` has ``id`` and ``started_at``; ``environment`` has ``name`` and ``live``.
    """

    inputs: Mapping[str, Json]
    systems_public: Mapping[str, Mapping[str, Json]]
    outputs: Mapping[str, Mapping[str, Json]]
    run: Mapping[str, Json]
    environment: Mapping[str, Json]


def render(value: Json, scope: Scope) -> Json:
    """The value with its templates filled; :class:`TemplateFault` with its ``path`` where one can't be."""
    match value:
        case str():
            return _text(value, scope) if is_template(value) else value
        case list():
            return [_inner(item, number, scope) for number, item in enumerate(value)]
        case dict():
            return {key: _inner(item, key, scope) for key, item in value.items()}
    return value


def evaluate(expression: str, scope: Scope) -> Json:
    """The value of an expression, written bare or in braces; :class:`TemplateFault` where it has none."""
    return _text(as_template(expression), scope)


def frame_scope(plan: Plan, prefix: str, values: Values, *, item: Json = None) -> Scope:
    """The scope of the plan itself (prefix ``""``) or of an included plan."""
    frame = plan.frames[prefix]
    inputs: Mapping[str, object] = values.inputs
    systems: Mapping[str, object] = values.systems_public
    if frame.parent is not None:
        inputs = _BoundInputs(plan, frame, values)
        systems = {theirs: values.systems_public.get(ours, {}) for theirs, ours in frame.systems.items()}
    return Scope(inputs, systems, _Steps(plan, prefix, values), item, values.run, values.environment)


def _inner(item: Json, part: str | int, scope: Scope) -> Json:
    try:
        return render(item, scope)
    except TemplateFault as fault:
        fault.path = (part, *fault.path)
        raise


def _text(text: str, scope: Scope) -> Json:
    template = simple(text)
    if template is None:
        from runbook.plan.sandbox import compiled, render_compiled

        return plain(render_compiled(compiled(text), scope.roots()))
    roots = scope.roots()
    if template.native:
        return plain(_value(template.parts[0], roots))
    shown = "".join(part if isinstance(part, str) else show(_value(part, roots)) for part in template.parts)
    if len(shown) > LARGEST_OUTPUT:
        raise too_large()
    return shown


def _value(path: str | tuple[str, ...], roots: Mapping[str, object]) -> object:
    value: object = roots[path[0]]
    for name in path[1:]:
        value = look_up(value, name)
    if isinstance(value, Absent):
        fault = missing(value)
        fault.fragment = ".".join(path)
        raise fault
    return value


class _View(Mapping[str, object]):
    """A mapping that is asked by name; listing its names is rare."""

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(list(self._names()))

    def _names(self) -> Mapping[str, object]:
        return {}


class _Outputs(_View):
    """The outputs of one step; None where it has none."""

    def __init__(self, step: str, fields: Mapping[str, object] | None) -> None:
        self._step = step
        self._fields = fields

    def __getitem__(self, name: str) -> object:
        if self._fields is None:
            raise Lacking(
                Absent(f"step '{self._step}' has no outputs: it was skipped, failed or didn't run", self._step, name)
            )
        if name not in self._fields:
            raise Lacking(Absent(f"step '{self._step}' has no output '{name}'", self._step, name))
        return self._fields[name]

    def _names(self) -> Mapping[str, object]:
        if self._fields is None:
            raise missing(Absent(f"step '{self._step}' has no outputs", self._step, "*"))
        return self._fields


class _Named(_View):
    """Steps by name, from a mapping that may lack those that have no outputs."""

    def __init__(self, steps: Mapping[str, object]) -> None:
        self._steps = steps

    def __getitem__(self, name: str) -> object:
        try:
            found = self._steps[name]
        except KeyError:
            return _Outputs(name, None)
        return _Outputs(name, found) if isinstance(found, dict) else found

    def _names(self) -> Mapping[str, object]:
        return self._steps


class _Steps(_View):
    """The steps that one frame can name."""

    def __init__(self, plan: Plan, prefix: str, values: Values) -> None:
        self._plan = plan
        self._prefix = prefix
        self._values = values

    def __getitem__(self, name: str) -> object:
        whole = self._prefix + name
        outputs = self._values.outputs
        if whole in self._plan.groups:
            return [_Outputs(each, outputs.get(each)) for each in self._plan.groups[whole]]
        if f"{whole}." in self._plan.frames:
            return _FrameOutputs(self._plan, f"{whole}.", self._values)
        return _Outputs(whole, outputs.get(whole))

    def _names(self) -> Mapping[str, object]:
        raise TemplateFault("E144", "'steps' is read by name: steps.ID.OUTPUT.")


class _FrameOutputs(_View):
    """The outputs of an included plan: its templates, in its own scope."""

    def __init__(self, plan: Plan, prefix: str, values: Values) -> None:
        self._frame = plan.frames[prefix]
        self._scope = frame_scope(plan, prefix, values)

    def __getitem__(self, name: str) -> object:
        template = self._frame.outputs[name]
        try:
            return render(template, self._scope)
        except TemplateFault as fault:
            if fault.absent is None:
                raise
            raise Lacking(fault.absent) from None

    def _names(self) -> Mapping[str, object]:
        return self._frame.outputs


class _BoundInputs(_View):
    """The inputs of an included plan: what the including step gives, in the including plan's scope, else the defaults."""

    def __init__(self, plan: Plan, frame: Frame, values: Values) -> None:
        self._frame = frame
        self._parent = frame_scope(plan, frame.parent or "", values)
        self._known: dict[str, Json] = {}

    def __getitem__(self, name: str) -> object:
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]

    def _find(self, name: str) -> Json:
        spec = self._frame.inputs[name]
        value = render(self._frame.bindings[name], self._parent) if name in self._frame.bindings else None
        if value is None:
            if spec.has_default or spec.optional:
                return spec.default
            raise TemplateFault("E161", f"The including step gives null for '{name}'.", name=name)
        try:
            return from_value(spec, value)
        except ValueError as refusal:
            raise TemplateFault("E161", f"What the including step gives: {refusal}.", name=name) from None

    def _names(self) -> Mapping[str, object]:
        return self._frame.inputs
