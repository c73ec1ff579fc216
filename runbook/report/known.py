"""What the plan tells of a run's steps beside the run itself: enough to say what each command would do.

Owns :class:`Known` and :func:`known`. Pure: plan and actions in, sets of step ids out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runbook.action import Effect, Interrupted
from runbook.check.fields import AnyAction, effect_of, interrupted_of
from runbook.engine.run import Run
from runbook.plan.model import Plan
from runbook.plan.render import condition, uses_of
from runbook.plan.template import TemplateFault
from runbook.report.held import Hold

_PEOPLE = frozenset(("manual", "approval"))


@dataclass(frozen=True, slots=True)
class Known:
    """``unseen``: steps of which nobody can see afterwards how they ended; ``blind``: those, and others that don't look before they
    act again. ``asking``: steps that a person has to answer before or while they run; ``conditional``: steps with a condition.
    ``needed``: by step, who can't do without its outputs; None where that can't be told. ``holds``: what is held, with the commands
    that take it back; ``alive``: steps of which a program is still at work, though no engine is.
    """

    unseen: frozenset[str] = frozenset()
    blind: frozenset[str] = frozenset()
    asking: frozenset[str] = frozenset()
    conditional: frozenset[str] = frozenset()
    needed: Mapping[str, tuple[str, ...]] | None = field(default_factory=dict)
    holds: tuple[Hold, ...] = ()
    alive: frozenset[str] = frozenset()


NOTHING = Known()


def known(
    plan: Plan,
    run: Run,
    actions: Mapping[str, AnyAction],
    *,
    holds: tuple[Hold, ...] = (),
    alive: frozenset[str] = frozenset(),
) -> Known:
    """What is to be known of the plan's steps. Steps of actions that this program doesn't have are left out."""
    steps = [(step, actions[step.uses]) for step in plan.steps if step.uses in actions]
    live = run.header.live
    return Known(
        unseen=frozenset(step.id for step, action in steps if interrupted_of(action, step) is Interrupted.ASK),
        blind=frozenset(step.id for step, action in steps if interrupted_of(action, step) is not Interrupted.OBSERVE),
        asking=frozenset(
            step.id
            for step, action in steps
            if step.uses in _PEOPLE or step.confirm or (live and effect_of(action, step) is Effect.DESTROYS)
        ),
        conditional=frozenset(step.id for step in plan.steps if condition(plan, step)),
        needed=_needed(plan),
        holds=holds,
        alive=alive,
    )


def _needed(plan: Plan) -> Mapping[str, tuple[str, ...]] | None:
    if len(plan.frames) > 1:
        return None  # an output may go through an included plan's inputs
    found: dict[str, tuple[str, ...]] = {}
    for step in plan.steps:
        try:
            for use in uses_of(step):
                reference = use.reference
                if reference.root == "steps" and not reference.guarded:
                    found[reference.name] = (*found.get(reference.name, ()), step.id)
        except TemplateFault:
            return None
    return found
