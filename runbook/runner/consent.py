"""What can be foreseen is asked for before step one, not in the middle of the night's third hour.

Owns :func:`refuse_unforeseen` and :func:`refuse_ahead`. Promises: where nobody sits at a terminal, a run whose
confirmations aren't all given does not begin; neither does one whose moment of an accident is still to come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from runbook.action import Effect
from runbook.check.fields import effect_of
from runbook.check.moments import ahead, past_fields, read_moment
from runbook.engine.events import StepWaiting
from runbook.errors import InvalidInput, Problem, Refused
from runbook.operation import Json
from runbook.plan.model import Plan, Step
from runbook.plan.origin import inputs_behind
from runbook.plan.render import MissingOutput, render_step
from runbook.plan.scope import Scope, Values, frame_scope, render
from runbook.plan.template import TemplateFault
from runbook.quoting import shell_word
from runbook.runner.execution import Order
from runbook.runner.prepare import presumed_target
from runbook.runner.setting import AnyAction, Reply


def refuse_unforeseen(
    order: Order, actions: Mapping[str, AnyAction], foreseen: Callable[[StepWaiting], Reply | None]
) -> None:
    """Raise Refused (exit 4) where a confirmation is needed that nobody gave."""
    missing = [question for question in questions(order, actions) if foreseen(question) is None]
    if not missing:
        return
    wanted = dict.fromkeys(f"--confirm {shell_word(q.target)}" if q.target else "--yes" for q in missing)
    raise Refused(
        Problem(
            "E410",
            "a confirmation is missing, and nobody is at a terminal to give it",
            "\n".join(f"{q.step}: {q.instructions.strip()}" for q in missing),
            f"review `runbook plan`, then add {' '.join(wanted)}",
        )
    )


def refuse_ahead(order: Order, actions: Mapping[str, AnyAction], now: datetime) -> None:
    """Raise Refused (exit 4) for moments that have to be past and are not, wherever in the plan they are used first."""
    given = Values(order.inputs, order.environment.public(), {}, {}, order.environment.facts())
    found: dict[str, Problem] = {}
    for step in order.plan.steps:
        for field in past_fields(actions[step.uses].inputs_type):
            known = _known(order.plan, step, given)
            moment = read_moment(known.with_, field) if known is not None else None
            names = inputs_behind(order.plan, step, (field,))
            option = " ".join(f"-i {name}=…" for name in names)
            called = ", ".join(names) or f"{step.id}: {field}"
            problem = ahead(called, moment, now, option=option) if moment is not None else None
            if problem is not None:
                found.setdefault(called, problem)
    if found:
        raise Refused(*found.values())


def questions(order: Order, actions: Mapping[str, AnyAction]) -> Iterable[StepWaiting]:
    """The confirmations that the plan's steps will ask for (those of its ends too), as far as they are known before the run."""
    given = Values(order.inputs, order.environment.public(), {}, {}, order.environment.facts())
    for step in order.plan.steps:
        known = _known(order.plan, step, given)
        if known is not None and (question := _question(order, actions[step.uses], known)) is not None:
            yield question


def _known(plan: Plan, step: Step, given: Values) -> Step | None:
    """The step with those of its inputs filled that need nothing of the run; None if its condition is false already."""
    try:
        if render_step(plan, replace(step, with_={}), given).when is False:
            return None
    except (MissingOutput, InvalidInput):
        pass  # its condition needs something of the run
    scope = frame_scope(plan, step.frame, given, item=step.item)
    return replace(step, with_={key: _filled(value, scope) for key, value in step.with_.items()})


def _filled(value: Json, scope: Scope) -> Json:
    try:
        return render(value, scope)
    except TemplateFault:
        return value


def _question(order: Order, action: AnyAction, step: Step) -> StepWaiting | None:
    destroys = effect_of(action, step) is Effect.DESTROYS and order.environment.live
    if not destroys and not step.confirm:
        return None
    target = presumed_target(action, step, order.environment.systems.get(step.on)) if destroys else ""
    return StepWaiting(step.id, "confirm", step.confirm or f"{step.title or step.id} {action.verb} {target}.", target)
