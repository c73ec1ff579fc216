"""Faults: what makes a plan invalid once the actions are known, found before anything runs.

Owns the list of these checks and their order. The loader has refused faults of shape, of names and of order already. Promises:
pure; all faults at once, each at its place; no false alarm about what a template will only give during the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runbook.action import Effect
from runbook.check import places
from runbook.check.built import unbuilt
from runbook.check.codes import fault
from runbook.check.cron import CronFault, longest_gap_s
from runbook.check.fields import AnyAction, effect_of, field_faults
from runbook.check.references import Outputs
from runbook.check.words import SCRIPT, word_faults
from runbook.errors import Problem, suggest
from runbook.plan.codes import orderly, problem
from runbook.plan.environment import Environment, check_fits
from runbook.plan.model import Plan, Step


def faults(plan: Plan, catalogue: Mapping[str, AnyAction], environment: Environment | None) -> list[Problem]:
    """Every fault of the plan, in order of files and lines; notes among them. With an environment also what it lacks."""
    found: list[Problem] = []
    actions = known_actions(plan, catalogue)
    found += unknown_actions(plan, catalogue)
    for step in plan.steps:
        if step.id not in actions:
            continue
        action = actions[step.id]
        found += _on(plan, step, action)
        found += field_faults(plan, step, action)
        if SCRIPT in action.inputs_type.model_fields or "argv" in action.inputs_type.model_fields:
            found += word_faults(plan, step)
    found += _releases(plan, actions)
    found += Outputs(plan, actions).faults()
    schedule = list(_schedule(plan))
    found += schedule
    found += [each for each in unbuilt(plan, environment) if not schedule or each.where != schedule[0].where]
    if environment is not None:
        found += check_fits(plan, environment)
    return list(orderly(found))


def known_actions(plan: Plan, catalogue: Mapping[str, AnyAction]) -> dict[str, AnyAction]:
    """The steps' actions by step id; steps whose action doesn't exist are left out."""
    used = {name: catalogue[name] for name in dict.fromkeys(step.uses for step in plan.steps) if name in catalogue}
    return {step.id: used[step.uses] for step in plan.steps if step.uses in used}


def unknown_actions(plan: Plan, catalogue: Mapping[str, AnyAction]) -> Iterator[Problem]:
    """Steps whose action doesn't exist."""
    return (_unknown_action(step, catalogue) for step in plan.steps if step.uses not in catalogue)


def _unknown_action(step: Step, catalogue: Mapping[str, AnyAction]) -> Problem:
    family, _, rest = step.uses.partition(".")
    kin = [name for name in sorted(catalogue) if rest and name.startswith(f"{family}.")]
    if kin:
        near = suggest(rest, [name.partition(".")[2] for name in kin]).replace("'", f"'{family}.", 1)
        fix = near or f"there are: {', '.join(kin)}"
    else:
        fix = suggest(step.uses, sorted(catalogue)) or "`runbook actions` lists them"
    return fault("E220", fix=fix, where=places.value(step, "uses"), name=step.uses)


def _on(plan: Plan, step: Step, action: AnyAction) -> Iterator[Problem]:
    wanted = action.system_type
    if wanted is None:
        if step.on:
            detail = f"{action.name} acts on no system."
            yield problem("E154", detail, fix="leave `on` out", where=places.value(step, "on"), name="on")
        return
    fitting = [name for name, ours in plan.frames[step.frame].systems.items() if plan.systems.get(ours) == wanted.kind]
    listed = f": {', '.join(fitting)}" if fitting else f"; declare one under `systems:` (db: {wanted.kind})"
    if not step.on:
        detail = f"{action.name} acts on a system of type {wanted.kind}."
        fix = f"add `on: {fitting[0]}`" if len(fitting) == 1 else f"name one{listed}"
        yield problem("E104", detail, fix=fix, where=places.value(step, "uses"), name="on")
    elif plan.systems.get(step.on) != wanted.kind:
        detail = f"{action.name} acts on a {wanted.kind}; this is a {plan.systems.get(step.on, 'system of no type')}."
        yield problem("E172", detail, fix=f"name a {wanted.kind}{listed}", where=places.value(step, "on"), name=step.on)


def _releases(plan: Plan, actions: Mapping[str, AnyAction]) -> Iterator[Problem]:
    steps = {step.id: step for step in plan.steps}
    for step in plan.steps:
        hold = steps.get(step.releases)
        if hold is None or hold.id not in actions or step.id not in actions:
            continue
        where = places.value(step, "releases")
        action = actions[hold.id]
        if not can_hold(action, hold):
            detail = f"{action.name} has no effect that has to be taken back."
            yield problem("E134", detail, fix="name the step that stops something", where=where, name=hold.id)
        if effect_of(actions[step.id], step) is Effect.READS:
            detail = f"{step.uses} only reads, so it can't end what '{hold.id}' began."
            yield fault("E221", detail, fix="use an action that takes it back", where=where, name=step.id)
        elif step.on and hold.on and step.on != hold.on:
            detail = f"'{hold.id}' acts on '{hold.on}', this step on '{step.on}'."
            yield fault("E221", detail, fix=f"write `on: {hold.on}`", where=where, name=step.id)


def can_hold(action: AnyAction, step: Step) -> bool:
    """Whether the step can be a hold: its action is made for it, or does whatever the plan says."""
    changes = effect_of(action, step) in (Effect.CHANGES, Effect.DESTROYS)
    return action.holds or (action.system_type is None and changes)


def _schedule(plan: Plan) -> Iterator[Problem]:
    if not plan.schedule:
        return
    try:
        longest_gap_s(plan.schedule)
    except CronFault as refusal:
        yield problem("E103", fix=str(refusal), where=plan.marks.get("schedule"), name="schedule")
