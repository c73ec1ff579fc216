"""From a step of the plan to an action with its inputs.

Owns :class:`Prepared` and :func:`prepare`: the one place where templates are rendered for use, used by the dry-run and by the
execution alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from runbook.action import Effect, Inputs, Scope
from runbook.check.fields import system_fields
from runbook.errors import InvalidInput, Problem
from runbook.operation import Json
from runbook.plan.model import Plan, Step
from runbook.plan.render import render_step
from runbook.plan.scope import Values
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
class NotNeeded:
    """The step's ``when`` is false."""

    step: Step


def values(setting: Setting, outputs: Mapping[str, Mapping[str, Json]]) -> Values:
    """What templates may see, with these outputs of steps."""
    environment = setting.environment
    return Values(
        inputs=setting.inputs,
        systems_public=setting.public,
        outputs=outputs,
        run={"id": setting.run, "started_at": setting.started_at},
        environment=environment.facts(),
    )


def prepare(
    setting: Setting, step: Step, given: Values, *, held: Mapping[str, Json] | None = None, resumed: bool = False
) -> Prepared | NotNeeded:
    """Render the step's inputs and check them. Raises MissingOutput, or InvalidInput with the place in the plan."""
    rendered = render_step(setting.plan, step, given)
    if rendered.when is False:
        return NotNeeded(step)
    action = setting.actions[step.uses]
    systems = visible_systems(setting.plan, step, setting.environment.systems)
    inputs = bind_inputs(action, step, rendered.with_, systems)
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
    return Prepared(step, action, system, inputs, scope)


def visible_systems(plan: Plan, step: Step, systems: Mapping[str, System]) -> Mapping[str, System]:
    """The systems by the names that the step's own plan has for them: an included plan may have others than ours."""
    names = plan.frames[step.frame].systems
    return {theirs: systems[ours] for theirs, ours in names.items() if ours in systems} if step.frame else systems


def bind_inputs(action: AnyAction, step: Step, rendered: Mapping[str, Json], systems: Mapping[str, System]) -> Inputs:
    """The action's typed inputs; a field that is typed as a system gets the environment's system of that name."""
    kinds = system_fields(action.inputs_type)
    given: dict[str, object] = dict(rendered)
    for name, kind in kinds.items():
        wanted = rendered.get(name)
        if isinstance(wanted, str):
            found = systems.get(wanted)
            if not isinstance(found, kind):
                raise InvalidInput(_wrong_system(step, name, wanted, kind))
            given[name] = found
    try:
        return action.inputs_type.model_validate(given)
    except ValidationError as error:
        raise InvalidInput(*(_fault(step, fault["loc"], fault["msg"]) for fault in error.errors())) from None


def _wrong_system(step: Step, name: str, wanted: str, kind: type[System]) -> Problem:
    return Problem(
        "E133",
        "this is not a system of the right type",
        f"step {step.id}: {name}: {wanted!r} is not a {kind.kind} of this environment",
        "name a system that the environment has",
        step.marks.get(f"with.{name}", step.where),
    )


def _fault(step: Step, loc: tuple[int | str, ...], message: str) -> Problem:
    path = ".".join(str(part) for part in loc)
    return Problem(
        "E132",
        "an input of the step is wrong",
        f"step {step.id}: {path}: {message.removeprefix('Value error, ')}",
        f"`runbook actions {step.uses}` lists the fields",
        step.marks.get(f"with.{loc[0]}" if loc else "with", step.where),
    )
