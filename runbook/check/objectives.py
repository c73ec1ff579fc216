"""The rules about objectives: whether the plan can meet what it promises, by its own numbers.

Owns the sums behind DR006 and DR007. Promises: the numbers are the plan's (timeouts, pauses, the schedule), and are shown; a
step without a timeout counts as nothing, and has a rule of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runbook.check.codes import warning
from runbook.check.cron import CronFault, longest_gap_s
from runbook.check.survey import Survey
from runbook.errors import Problem
from runbook.plan.model import Section, Step
from runbook.units import show_duration


@dataclass(frozen=True, slots=True)
class Chain:
    """The chain of steps that takes longest if each takes its whole timeout."""

    steps: tuple[str, ...]
    seconds: float


def too_slow(survey: Survey) -> Iterator[Problem]:
    """DR006. An objective that the plan's own timeouts overrun is a promise that nobody has added up."""
    rto_s = survey.plan.objectives.rto_s
    if rto_s is None:
        return
    chain = longest(survey)
    if chain.seconds <= rto_s:
        return
    detail = (
        f"Its timeouts add up to {show_duration(chain.seconds)} along {' → '.join(chain.steps)}, pauses between attempts "
        f"included and people's time not; the objective is {show_duration(rto_s)}."
    )
    fix = "shorten the timeouts, let steps run side by side, or promise less"
    yield warning("DR006", detail, fix=fix, where=survey.plan.marks.get("objectives.rto"))


def too_rare(survey: Survey) -> Iterator[Problem]:
    """DR007. A backup holds what was there when it began, and the one before it is all there is until it has ended."""
    plan = survey.plan
    if plan.objectives.rpo_s is None or not plan.schedule or not any(map(survey.makes_backup, survey.steps())):
        return
    try:
        gap_s = longest_gap_s(plan.schedule)
    except CronFault:
        return  # a fault of its own
    taken_s = longest(survey).seconds
    if gap_s + taken_s <= plan.objectives.rpo_s:
        return
    detail = (
        f"Up to {show_duration(gap_s)} lie between two backups, and one may take {show_duration(taken_s)} (its timeouts): "
        f"{show_duration(gap_s + taken_s)} can be lost; the objective is {show_duration(plan.objectives.rpo_s)}."
    )
    yield warning("DR007", detail, fix="back up more often, or promise less", where=plan.marks.get("objectives.rpo"))


def longest(survey: Survey) -> Chain:
    """The critical path of the main section, each step weighed by its bound."""
    reached: dict[str, Chain] = {}
    best = Chain((), 0.0)
    for name in survey.graph.section(Section.STEPS):
        step = survey.graph.steps[name]
        above = [reached[need] for need in survey.graph.before[name] if need in reached]
        before = max(above, key=lambda chain: chain.seconds, default=Chain((), 0.0))
        here = Chain((*before.steps, name), before.seconds + bound_s(step))
        reached[name] = here
        best = max(best, here, key=lambda chain: chain.seconds)
    return best


def bound_s(step: Step) -> float:
    """The longest that a step takes that succeeds: one whole timeout, and the pauses between its attempts, in seconds.

    That every attempt but the last failed at once is assumed: a check that is repeated until a service is up fails quickly.
    """
    return (step.timeout_s or 0.0) + sum(step.retry.pause_s(attempt) for attempt in range(1, step.retry.attempts))
