"""The rules of disaster recovery: what makes a plan that runs a bad one.

Owns one small function for each rule, with its reason. Promises: pure; today's date is given, never read; a rule says nothing
where it can't decide. Each finding is a warning: ``runbook validate --strict`` makes it count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date

from runbook.action import Effect, Interrupted
from runbook.check import objectives
from runbook.check.codes import warning
from runbook.check.faults import known_actions
from runbook.check.fields import AnyAction, interrupted_of
from runbook.check.places import value
from runbook.check.survey import PEOPLE, Survey
from runbook.errors import Problem
from runbook.graph import build
from runbook.plan.codes import orderly
from runbook.plan.model import Plan

Rule = Callable[[Survey], Iterator[Problem]]


def rules(plan: Plan, catalogue: Mapping[str, AnyAction], *, today: date | None = None) -> list[Problem]:
    """What the rules find in the plan, in order of files and lines. Without ``today``, reviews are never overdue."""
    survey = Survey(plan, build(plan.steps), known_actions(plan, catalogue), today)
    return list(orderly(found for rule in RULES for found in rule(survey)))


def unproven(survey: Survey) -> Iterator[Problem]:
    """DR001. A backup that can't be read is found out when the original is gone, unless it is read before that."""
    for step in survey.steps(Effect.DESTROYS):
        proofs = survey.proofs_before(step)
        proven = {proof.id for proof in proofs}.union(*(survey.origins(proof) for proof in proofs))
        open_ = survey.origins(step) - proven
        if proofs and not open_:
            continue
        if survey.takes_artifact(step):
            source = ", ".join(f"'{name}'" for name in sorted(open_) if name)
            detail = f"Its backup comes from {source or 'outside of the plan'}, and nothing reads it before."
        else:
            detail = f"{step.uses} destroys, and no step before it has read a backup from which to come back."
        fix = "add a step before it that reads the backup: uses: postgres.verify_dump"
        yield warning("DR001", detail, fix=fix, where=value(step, "uses"))


def unverified(survey: Survey) -> Iterator[Problem]:
    """DR002. A restore that ended well may have restored the wrong thing; only the data and the service can tell."""
    for step in survey.steps(Effect.DESTROYS, Effect.CHANGES, Effect.CREATES):
        if not survey.takes_artifact(step) or survey.gives_artifact(step):
            continue
        below = survey.graph.descendants(step.id)
        if not any(survey.verifies(survey.graph.steps[each]) for each in below if each in survey.actions):
            detail = "No step after it looks whether the restored data is there and the service works."
            fix = "add a step after it: uses: postgres.assert, or http.check"
            yield warning("DR002", detail, fix=fix, where=value(step, "uses"))


def unreleased(survey: Survey) -> Iterator[Problem]:
    """DR003. What was stopped for the recovery has to be started by it, and what was made for it removed: else it stays so."""
    released = set(survey.graph.releases())
    for step in survey.steps():
        if survey.actions[step.id].holds and step.id not in released:
            detail = f"What {step.uses} stops or makes stays so: no step has `releases: {step.id}`."
            fix = f"add a step that takes it back, with `releases: {step.id}`"
            yield warning("DR003", detail, fix=fix, where=value(step, "uses"))


def unbounded(survey: Survey) -> Iterator[Problem]:
    """DR004. A step that hangs at night, with nobody looking, costs the whole recovery time."""
    for step in survey.steps():
        waits_only = step.uses in PEOPLE and step.with_.get("verify") is None
        if step.timeout_s is None and not waits_only:
            detail = f"{step.uses} can hang, and the run would wait for it for ever."
            yield warning("DR004", detail, fix="add `timeout:`, longer than it ever took", where=step.where)


def unkept(survey: Survey) -> Iterator[Problem]:
    """DR005. A repair alters what would have shown the cause, and how far the damage reaches."""
    for step in survey.steps():
        if not survey.actions[step.id].repair:
            continue
        above = survey.graph.ancestors(step.id)
        kept = any(each.id in above and each.on == step.on for each in survey.steps(Effect.CREATES))
        if not kept:
            detail = f"{step.uses} alters '{step.on}', and no step before it has kept a copy of its present state."
            fix = "add a step before it that copies the system as it is (a dump, a base backup, a snapshot)"
            yield warning("DR005", detail, fix=fix, where=value(step, "uses"))


def overdue(survey: Survey) -> Iterator[Problem]:
    """DR008. A procedure that nobody has read for a year describes a system that is no longer there."""
    plan = survey.plan
    if survey.today is not None and plan.review_by and date.fromisoformat(plan.review_by) < survey.today:
        days = (survey.today - date.fromisoformat(plan.review_by)).days
        detail = f"It was to be reviewed by {plan.review_by}, {days} day{'' if days == 1 else 's'} ago."
        fix = "read it with those who run it, drill it, and set the next date"
        yield warning("DR008", detail, fix=fix, where=plan.marks.get("review_by"))


def repeated(survey: Survey) -> Iterator[Problem]:
    """DR009. After a crash, a destructive program without a probe would run again on what it has already changed."""
    for step in survey.steps(Effect.DESTROYS):
        action = survey.actions[step.id]
        if "probe" not in action.inputs_type.model_fields:
            continue  # an action that looks for itself
        if interrupted_of(action, step) is Interrupted.REPEATABLE:
            detail = "With `interrupted: repeat` a resume runs it again, whatever it has already destroyed."
            where = value(step, "with.interrupted")
            yield warning("DR009", detail, fix="add `probe:`, or write `interrupted: ask`", where=where)


RULES: tuple[Rule, ...] = (
    unproven,
    unverified,
    unreleased,
    unbounded,
    unkept,
    objectives.too_slow,
    objectives.too_rare,
    overdue,
    repeated,
)
