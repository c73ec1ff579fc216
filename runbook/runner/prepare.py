"""From a step of the plan to an action with its inputs.

Owns :class:`Prepared` and :func:`prepare`: the one place where templates are rendered for use, used by the dry-run and by the
execution alike. Promises: what is only foreseen gets through :func:`prepare_ahead` alone, which a dry-run calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from runbook.action import Effect, Inputs, Scope
from runbook.check.fields import presumed, system_fields
from runbook.errors import InvalidInput, Problem
from runbook.operation import Json
from runbook.placeholder import AHEAD, Placeholder
from runbook.plan.model import Plan, Step
from runbook.plan.render import condition, render_ahead, render_step
from runbook.plan.scope import RunAhead, Values
from runbook.runner.setting import AnyAction, Setting
from runbook.system import System
from runbook.units import parse_instant


@dataclass(frozen=True, slots=True)
class Prepared:
    """A step that is ready to be observed and planned. ``system`` is None for an action without ``on``."""

    step: Step
    action: AnyAction
    system: Any
    inputs: Inputs
    scope: Scope

    @property
    def effect(self) -> Effect:
        """What the step does with these inputs."""
        return self.action.effect_of(self.inputs)


@dataclass(frozen=True, slots=True)
class Sketch:
    """A step as far as it can be prepared before others have run. ``prepared`` is None where its inputs can't be typed yet.

    ``given_by``: steps for whose outputs something stands in the inputs, and ``stands`` what does, where it is a whole value of
    them. ``only_if``: conditions that can't be decided yet, and
    ``decided_by`` the steps that they wait for.
    """

    prepared: Prepared | None
    given_by: frozenset[str]
    only_if: tuple[str, ...]
    decided_by: frozenset[str]
    stands: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NotNeeded:
    """The step's ``when`` is false, or that of a plan that includes it. ``why`` says so."""

    step: Step
    why: str = ""


class WrongInput(InvalidInput):
    """Inputs of a step that its action can't take. ``fields`` are the keys of ``with`` that are wrong."""

    def __init__(self, *problems: Problem, fields: tuple[str, ...]) -> None:
        super().__init__(*problems)
        self.fields = fields


def values(
    setting: Setting,
    outputs: Mapping[str, Mapping[str, Json]],
    *,
    foreseen: Mapping[str, Mapping[str, Json]] | None = None,
    ended: Mapping[str, Json] | None = None,
    ends_after: frozenset[str] = frozenset(),
) -> Values:
    """What templates may see, with these outputs of steps; a dry-run has foreseen ones, too.

    For the steps of a run's end: how it ``ended``, or in a dry-run the steps that decide it.
    """
    environment = setting.environment
    run: dict[str, Json] = {"id": setting.run, "started_at": setting.started_at, **(ended or {})}
    return Values(
        inputs=setting.inputs,
        systems_public=setting.public,
        outputs=outputs,
        run=RunAhead(run, ends_after) if ends_after else run,
        environment=environment.facts(),
        foreseen=foreseen or {},
    )


def prepare(
    setting: Setting, step: Step, given: Values, *, held: Mapping[str, Json] | None = None, resumed: bool = False
) -> Prepared | NotNeeded:
    """Render the step's inputs and check them. Raises MissingOutput, or InvalidInput with the place in the plan."""
    rendered = render_step(setting.plan, step, given)
    if rendered.when is False:
        return NotNeeded(step, _why_not(setting.plan, step))
    inputs = _bound(setting, step, rendered.with_)
    return _prepared(setting, step, inputs, held=held, resumed=resumed)


def prepare_ahead(
    setting: Setting, step: Step, given: Values, *, held: Mapping[str, Json] | None = None
) -> Sketch | NotNeeded:
    """The same for a dry-run: the inputs may hold placeholders, and a condition may be open."""
    ahead = render_ahead(setting.plan, step, given)
    if ahead.when is False:
        return NotNeeded(step, _why_not(setting.plan, step))
    prepared: Prepared | None = None
    try:
        inputs = _bound(setting, step, ahead.with_, context=AHEAD if ahead.given_by else None)
        prepared = _prepared(setting, step, inputs, held=held, resumed=False)
    except InvalidInput:
        if not ahead.given_by:
            raise
    return Sketch(prepared, ahead.given_by, ahead.only_if, ahead.decided_by, _stands(ahead.with_))


def _stands(value: object) -> frozenset[str]:
    """The placeholders that templates left in the inputs; a text of the plan in angle brackets is none."""
    match value:
        case Placeholder():
            return frozenset((str(value),))
        case Mapping():
            return frozenset[str]().union(*map(_stands, value.values()))
        case list() | tuple():
            return frozenset[str]().union(*map(_stands, value))
    return frozenset()


def _why_not(plan: Plan, step: Step) -> str:
    """The conditions of a step that doesn't run, as they are written, without their braces."""
    written = [_bare(text.strip()) for _, text in condition(plan, step)]
    said = "its condition is false" if len(written) == 1 else "one of its conditions is false"
    return f"{said}: {'; '.join(written)}"


def _bare(text: str) -> str:
    whole = text.startswith("{{") and text.endswith("}}") and text.count("{{") == 1
    return text[2:-2].strip() if whole else text


def _bound(
    setting: Setting, step: Step, rendered: Mapping[str, Json], *, context: Mapping[str, bool] | None = None
) -> Inputs:
    systems = visible_systems(setting.plan, step, setting.environment.systems)
    return bind_inputs(setting.actions[step.uses], step, rendered, systems, context=context)


def _prepared(
    setting: Setting, step: Step, inputs: Inputs, *, held: Mapping[str, Json] | None, resumed: bool
) -> Prepared:
    scope = Scope(
        run=setting.run,
        step=step.id,
        started_at=parse_instant(setting.started_at),
        directory=setting.directory,
        environment=setting.environment.name,
        live=setting.environment.live,
        systems=setting.environment.systems,
        held=held,
        resumed=resumed,
    )
    system = setting.environment.systems[step.on] if step.on else None
    return Prepared(step, setting.actions[step.uses], system, inputs, scope)


def visible_systems(plan: Plan, step: Step, systems: Mapping[str, System]) -> Mapping[str, System]:
    """The systems by the names that the step's own plan has for them: an included plan may have others than ours."""
    names = plan.frames[step.frame].systems
    return {theirs: systems[ours] for theirs, ours in names.items() if ours in systems} if step.frame else systems


def bind_inputs(
    action: AnyAction,
    step: Step,
    rendered: Mapping[str, Json],
    systems: Mapping[str, System],
    *,
    context: Mapping[str, bool] | None = None,
) -> Inputs:
    """The action's typed inputs; a field that is typed as a system gets the environment's system of that name."""
    kinds = system_fields(action.inputs_type)
    given: dict[str, object] = dict(rendered)
    for name, kind in kinds.items():
        wanted = rendered.get(name)
        if isinstance(wanted, str):
            found = systems.get(wanted)
            if not isinstance(found, kind):
                raise WrongInput(_wrong_system(step, name, wanted, kind), fields=(name,))
            given[name] = found
    try:
        return action.inputs_type.model_validate(given, context=context)
    except ValidationError as error:
        faults = error.errors()
        fields = tuple(str(fault["loc"][0]) for fault in faults if fault["loc"])
        raise WrongInput(*(_fault(step, one["loc"], one["msg"]) for one in faults), fields=fields) from None


def presumed_target(action: AnyAction, step: Step, system: System | None) -> str:
    """What a destructive step replaces, as far as its known inputs tell; what is only known later is asked for when it is."""
    try:
        return action.replaces(system, presumed(action, step))
    except (AttributeError, TypeError, ValueError):
        return str(getattr(system, "database", "") or step.on)


def _wrong_system(step: Step, name: str, wanted: str, kind: type[System]) -> Problem:
    return Problem(
        "E225",
        "this is not a system of the right type",
        f"step {step.id}: {name}: {wanted!r} is not a {kind.kind} of this environment",
        "name a system that the environment has",
        step.marks.get(f"with.{name}", step.where),
    )


def _fault(step: Step, loc: tuple[int | str, ...], message: str) -> Problem:
    path = ".".join(str(part) for part in loc)
    return Problem(
        "E224",
        "an input of the step is wrong",
        f"step {step.id}: {f'{path}: ' if path else ''}{message.removeprefix('Value error, ')}",
        f"`runbook actions {step.uses}` lists the fields",
        step.marks.get(f"with.{loc[0]}" if loc else "with", step.where),
    )
