"""Scopes: what the templates of each plan and included plan see.

Owns the views of inputs and outputs that a frame has. Promises: views are lazy, so a step costs what it reads; what a
skipped step would have given is :class:`Absent` with the step's name, so that ``default()`` works and a message can say why;
what is only foreseen is read by :func:`foresee` alone, reckoned with by nobody, and named with what is made of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from runbook.errors import Bug
from runbook.operation import Json
from runbook.placeholder import Placeholder, stand_for
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

AT_THE_END = ("outcome", "problem")
"""What of ``run`` only the steps of a run's end may name: the status that it ends with, and what failed, as text."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a template sees. ``steps`` gives a step's outputs by its id as the template writes it."""

    inputs: Mapping[str, object]
    systems: Mapping[str, object]
    steps: Mapping[str, object]
    item: Json = None
    run: Mapping[str, object] | None = None
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
    for steps that have some; ``run`` has ``id`` and ``started_at``, at a run's end :data:`AT_THE_END` too; ``environment`` has
    ``name`` and ``live``. ``foreseen`` is for dry-runs: what stands for the outputs of steps that have not run, by whole step id.
    """

    inputs: Mapping[str, Json]
    systems_public: Mapping[str, Mapping[str, Json]]
    outputs: Mapping[str, Mapping[str, Json]]
    run: Mapping[str, object]
    environment: Mapping[str, Json]
    foreseen: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A value as far as it can be told beforehand: ``after`` are the steps for whose outputs something stands in it."""

    value: Json
    after: frozenset[str]


class NotYet(Exception):
    """An output that is only foreseen was read: what stands for it, and the steps that will give it."""

    def __init__(self, value: Json, after: frozenset[str]) -> None:
        super().__init__(f"{value}")
        self.value = value
        self.after = after


def render(value: Json, scope: Scope) -> Json:
    """The value with its templates filled; :class:`TemplateFault` with its ``path`` where one can't be."""
    return known(foresee(value, scope))


def foresee(value: Json, scope: Scope) -> Foreseen:
    """The same for a dry-run: placeholders stand where an output isn't known yet. An expression over one is not evaluated."""
    after: set[str] = set()
    filled = _fill(value, scope, after)
    return Foreseen(filled, frozenset(after))


def known(found: Foreseen) -> Json:
    """The value; a broken invariant where it is only foreseen, as it would then be used for what it isn't."""
    if found.after:
        raise Bug(f"What {', '.join(sorted(found.after))} will give was used before it was known.")
    return found.value


def evaluate(expression: str, scope: Scope) -> Json:
    """The value of an expression, written bare or in braces; :class:`TemplateFault` where it has none."""
    return render(as_template(expression), scope)


def frame_scope(plan: Plan, prefix: str, values: Values, *, item: Json = None) -> Scope:
    """The scope of the plan itself (prefix ``""``) or of an included plan."""
    frame = plan.frames[prefix]
    inputs: Mapping[str, object] = values.inputs
    systems: Mapping[str, object] = values.systems_public
    if frame.parent is not None:
        inputs = _BoundInputs(plan, frame, values)
        systems = {theirs: values.systems_public.get(ours, {}) for theirs, ours in frame.systems.items()}
    return Scope(inputs, systems, _Steps(plan, prefix, values), item, values.run, values.environment)


def _fill(value: Json, scope: Scope, after: set[str]) -> Json:
    """``after`` is filled with the steps that what is only foreseen waits for."""
    match value:
        case str():
            return _text(value, scope, after) if is_template(value) else value
        case list():
            return [_inner(item, number, scope, after) for number, item in enumerate(value)]
        case dict():
            return {key: _inner(item, key, scope, after) for key, item in value.items()}
    return value


def _inner(item: Json, part: str | int, scope: Scope, after: set[str]) -> Json:
    try:
        return _fill(item, scope, after)
    except TemplateFault as fault:
        fault.path = (part, *fault.path)
        raise


def _text(text: str, scope: Scope, after: set[str]) -> Json:
    roots = scope.roots()
    template = simple(text)
    if template is None:
        return _computed(text, roots, after)
    if template.native:
        return _value(template.parts[0], roots, after)
    shown = "".join(part if isinstance(part, str) else show(_value(part, roots, after)) for part in template.parts)
    if len(shown) > LARGEST_OUTPUT:
        raise too_large()
    return shown


def _computed(text: str, roots: Mapping[str, object], after: set[str]) -> Json:
    """The value of a template that the sandbox reads; where it needs what isn't known yet, its whole text stands for it."""
    from runbook.plan.sandbox import compiled, render_compiled

    template = compiled(text)
    try:
        return plain(render_compiled(template, roots))
    except NotYet as late:
        after |= late.after
    for reference in template.references:
        if reference.root in roots:
            with suppress(TemplateFault):
                _value([part for part in reference[:3] if part], roots, after)
    sole = template.native and text.count("{{") == 1
    return stand_for(text[2:-2].strip() if sole else text)


def _value(path: str | Sequence[str], roots: Mapping[str, object], after: set[str]) -> Json:
    value: object = roots[path[0]]
    try:
        for name in path[1:]:
            value = value.below(name) if isinstance(value, Placeholder) else _look(value, name, after)
        if isinstance(value, Absent):
            fault = missing(value)
            fault.fragment = ".".join(path)
            raise fault
        return plain(value)
    except NotYet as late:  # it is the whole of a step or of an included plan
        after |= late.after
        return stand_for(".".join(path))


def _look(value: object, name: str, after: set[str]) -> object:
    try:
        return look_up(value, name)
    except NotYet as late:
        after |= late.after
        return late.value


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


class _ForeseenOutputs(_View):
    """The outputs of a step that has not run: nobody reads them without being told so."""

    def __init__(self, step: str, fields: Mapping[str, Json]) -> None:
        self._step = step
        self._fields = fields

    def __getitem__(self, name: str) -> object:
        if name not in self._fields:
            raise Lacking(Absent(f"step '{self._step}' has no output '{name}'", self._step, name))
        raise NotYet(self._fields[name], frozenset({self._step}))

    def _names(self) -> Mapping[str, object]:
        raise NotYet(stand_for(f"steps.{self._step}"), frozenset({self._step}))


class RunAhead(_View):
    """``run`` as a dry-run knows it: how it ends is only foreseen, and given by the steps ``after``."""

    def __init__(self, facts: Mapping[str, Json], after: frozenset[str]) -> None:
        self._facts = facts
        self._after = after

    def __getitem__(self, name: str) -> object:
        if name in AT_THE_END:
            raise NotYet(stand_for(f"run.{name}"), self._after)
        return self._facts[name]

    def _names(self) -> Mapping[str, object]:
        return self._facts


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
        if whole in self._plan.groups:
            members = self._plan.groups[whole]
            if late := frozenset(members) & self._values.foreseen.keys():
                raise NotYet(stand_for(f"steps.{whole}"), late)
            return [self._outputs(each) for each in members]
        if f"{whole}." in self._plan.frames:
            return _FrameOutputs(self._plan, f"{whole}.", self._values)
        return self._outputs(whole)

    def _outputs(self, step: str) -> _View:
        foreseen = self._values.foreseen.get(step)
        return _Outputs(step, self._values.outputs.get(step)) if foreseen is None else _ForeseenOutputs(step, foreseen)

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
            found = foresee(template, self._scope)
        except TemplateFault as fault:
            if fault.absent is None:
                raise
            raise Lacking(fault.absent) from None
        return _passed_on(found)

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
        bound = name in self._frame.bindings
        value = _passed_on(foresee(self._frame.bindings[name], self._parent)) if bound else None
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


def _passed_on(found: Foreseen) -> Json:
    """The value for a template of another frame: one that is only foreseen is that there, too."""
    if found.after:
        raise NotYet(found.value, found.after)
    return found.value
