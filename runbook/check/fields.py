"""The fields of a step's ``with``, held against the action's inputs.

Owns what can be said of them before templates are rendered: unknown, missing, a literal of a wrong type, a system that isn't
there. Promises: a value that a template will give is never called wrong; a value is checked by the very model that the run uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeAlias, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from runbook.action import Action, Effect, Inputs, Interrupted
from runbook.artifact import Artifact
from runbook.check.places import base
from runbook.check.refusals import Spotted, likeliest, spot
from runbook.errors import Problem, suggest
from runbook.operation import Json
from runbook.plan.codes import problem
from runbook.plan.compose import holds_template
from runbook.plan.explain import explain
from runbook.plan.marks import Below, Marks
from runbook.plan.model import Plan, Step
from runbook.system import System

AnyAction: TypeAlias = "Action[Any, Any, Any, Any]"


@cache
def system_fields(inputs: type[Inputs]) -> Mapping[str, type[System]]:
    """The fields of an action's inputs that name a system, with the type that they need."""
    return dict(_typed(inputs, System))


@cache
def artifact_fields(model: type[BaseModel]) -> tuple[str, ...]:
    """The fields of inputs or outputs that hold an artifact."""
    return tuple(name for name, _ in _typed(model, Artifact))


def _typed(model: type[BaseModel], wanted: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, wanted):
                yield name, kind


def field_faults(plan: Plan, step: Step, action: AnyAction) -> Iterator[Problem]:
    """Everything that is wrong with the step's ``with``, as far as it can be known without the values of templates."""
    model = action.inputs_type
    given: dict[str, object] = dict(step.with_)
    for name, kind in system_fields(model).items():
        if step.with_.get(name) is not None:
            yield from _system_faults(plan, step, name, kind)
            given[name] = kind.model_construct(key=name)  # stands for the environment's system of that name
    try:
        model.model_validate(given)
    except ValidationError as refused:
        yield from _explained(step, model, refused)


def _system_faults(plan: Plan, step: Step, field: str, kind: type[System]) -> Iterator[Problem]:
    written, marks, path = step.with_[field], _marks(step), (*base(step), "with", field)
    where = marks.value(path) if marks else step.where
    if not isinstance(written, str):
        yield problem("E103", fix=f"name a system of type {kind.kind}", where=where, name=field)
        return
    if holds_template(written):
        detail = "Which systems a step touches has to be known before the run: they are checked and locked."
        yield problem("E146", detail, fix=f"name a system of type {kind.kind}", where=where, name=field)
        return
    known = plan.frames[step.frame].systems
    kinds = {name: plan.systems.get(ours, "") for name, ours in known.items()}
    if written not in kinds:
        fitting = [name for name, found in kinds.items() if found == kind.kind]
        listed = f"the plan has: {', '.join(fitting)}" if fitting else f"declare a {kind.kind} under `systems:`"
        fix = suggest(written, fitting or list(kinds)) or listed
        yield problem(
            "E136", f"Field '{field}' names a system of type {kind.kind}.", fix=fix, where=where, name=written
        )
    elif kinds[written] != kind.kind:
        detail = f"Field '{field}' needs a {kind.kind}; in this plan it is a {kinds[written]}."
        fitting = [name for name, found in kinds.items() if found == kind.kind]
        fix = f"name a {kind.kind}" + (f": {', '.join(fitting)}" if fitting else "")
        yield problem("E172", detail, fix=fix, where=where, name=written)


def _explained(step: Step, model: type[Inputs], refused: ValidationError) -> Iterator[Problem]:
    """The problems behind a refusal, without those that only a template's unknown value causes."""
    tree: Json = dict(step.with_)
    settled: list[Spotted] = []
    for error in refused.errors(include_url=False):
        if not error["loc"]:
            yield from _whole(step, error)
        elif not (spotted := spot(error, tree)).open:
            settled.append(spotted)
    marks = _marks(step)
    if settled and marks is not None:
        narrowed = ValidationError.from_exception_data(refused.title, [each.again() for each in likeliest(settled)])
        yield from explain(narrowed, model, tree, marks, base=(*base(step), "with"))


def _whole(step: Step, error: ErrorDetails) -> Iterator[Problem]:
    """What a model says of its fields together; not asked where a whole field is still open."""
    if any(isinstance(value, str) and _is_expression(value) for value in step.with_.values()):
        return
    marks = _marks(step)
    where = marks.value((*base(step), "with" if step.with_ else "uses")) if marks else step.where
    cause = (error.get("ctx") or {}).get("error")
    yield problem("E103", fix=str(cause or error["msg"]), where=where, name="with")


def _is_expression(text: str) -> bool:
    return text.startswith("{{") and text.endswith("}}")


def _marks(step: Step) -> Marks | None:
    return step.marks.marks if isinstance(step.marks, Below) else None


def effect_of(action: AnyAction, step: Step) -> Effect:
    """What the step does to the world, as far as literal inputs tell; the action's own word otherwise."""
    if type(action).effect_of is Action.effect_of:
        return action.effect
    try:
        return Effect(action.effect_of(presumed(action, step)))
    except (AttributeError, TypeError, ValueError):
        return action.effect


def interrupted_of(action: AnyAction, step: Step) -> Interrupted:
    """What a resume may do with the step, as far as literal inputs tell."""
    if type(action).interrupted_of is Action.interrupted_of:
        return action.interrupted
    try:
        return Interrupted(action.interrupted_of(presumed(action, step)))
    except (AttributeError, TypeError, ValueError):
        return action.interrupted


def presumed(action: AnyAction, step: Step) -> Inputs:
    """The inputs with the step's literals and the defaults of everything else, unchecked. ``ValueError`` for a wrong word."""
    fields = action.inputs_type.model_fields
    literal = {name: value for name, value in step.with_.items() if name in fields and not holds_template(value)}
    return action.inputs_type.model_construct(
        **{name: _member(fields[name].annotation, literal[name]) for name in literal}
    )


def _member(annotation: Any, value: Json) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return annotation(value)
    return value
