"""Inputs: what was given, bound to what the plan declares, and the steps that follow from it.

Owns the order of precedence (given, environment, default) and the expansion of ``foreach``. Promises: everything that can be
known before the run is checked now, all at once: names, types, lists, conditions and the inputs of included plans.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import quote

from runbook.errors import InvalidInput, Place, Problem, suggest
from runbook.operation import Json
from runbook.plan.codes import orderly, problem
from runbook.plan.compose import MOST_STEPS
from runbook.plan.environment import Environment
from runbook.plan.model import InputSpec, Plan, Step
from runbook.plan.reach import item_fault
from runbook.plan.references import references
from runbook.plan.render import condition, truth
from runbook.plan.scope import Values, evaluate, frame_scope, render
from runbook.plan.template import TemplateFault, as_template
from runbook.plan.values import from_text, from_value

_LATE = frozenset(("steps", "run"))
MOST_WAITS = 1_000_000
"""How many predecessors all steps may have together: every item of one foreach waits for every item of the one above."""


class Origin(StrEnum):
    """Where an input's value comes from."""

    GIVEN = "given"
    ENVIRONMENT = "environment"
    DEFAULT = "default"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Bound:
    """A plan whose inputs are known: ``foreach`` is expanded. ``inputs`` are in JSON form, one for each that is declared."""

    plan: Plan
    inputs: Mapping[str, Json]
    origins: Mapping[str, Origin]


def bind(plan: Plan, environment: Environment, given: Mapping[str, Json]) -> Bound:
    """The plan with these inputs; text in ``given`` is read as ``-i NAME=VALUE`` writes it.

    :class:`InvalidInput` with every fault.
    """
    problems = list(_unknown(plan, given))
    inputs: dict[str, Json] = {}
    origins: dict[str, Origin] = {}
    for name, spec in plan.inputs.items():
        try:
            inputs[name], origins[name] = _value(spec, environment, given)
        except ValueError as refusal:
            problems.append(_refused(spec, environment, given, str(refusal)))
    if problems:
        raise InvalidInput(*orderly(problems))
    values = Values(inputs, environment.public(), {}, {}, environment.facts())
    problems.extend(_included(plan, values))
    expanded = _expand(plan, values, problems)
    problems.extend(_conditions(expanded, values))
    if problems:
        raise InvalidInput(*orderly(problems))
    return Bound(expanded, inputs, origins)


def _unknown(plan: Plan, given: Mapping[str, Json]) -> Iterable[Problem]:
    for name in given:
        if name not in plan.inputs:
            fix = suggest(name, list(plan.inputs)) or f"the plan has: {', '.join(plan.inputs) or 'no inputs'}"
            yield problem("E160", fix=fix, name=name)


def _value(spec: InputSpec, environment: Environment, given: Mapping[str, Json]) -> tuple[Json, Origin]:
    if spec.name in given:
        value = given[spec.name]
        if value is None and spec.optional:
            return None, Origin.GIVEN
        return from_text(spec, value) if isinstance(value, str) else from_value(spec, value), Origin.GIVEN
    if spec.name in environment.inputs:
        value = environment.inputs[spec.name]
        if value is None and spec.optional:
            return None, Origin.ENVIRONMENT
        return from_value(spec, value), Origin.ENVIRONMENT
    if spec.has_default:
        return spec.default, Origin.DEFAULT
    if spec.optional:
        return None, Origin.ABSENT
    raise ValueError("")


def _refused(spec: InputSpec, environment: Environment, given: Mapping[str, Json], reason: str) -> Problem:
    if not reason:
        detail = f"{spec.help}." if spec.help else ""
        return problem("E162", detail, fix=f"give it: -i {spec.name}=...", where=spec.where, name=spec.name)
    if spec.name in given:
        return problem("E161", f"It was given for this run; {spec.help or 'see the plan'}.", fix=reason, name=spec.name)
    where = environment.marks.get(f"inputs.{spec.name}")
    return problem("E161", f"It stands in the environment {environment.name}.", fix=reason, where=where, name=spec.name)


def _included(plan: Plan, values: Values) -> Iterable[Problem]:
    """Inputs of included plans that are known before the run and have the wrong type."""
    for prefix, frame in plan.frames.items():
        if frame.parent is None:
            continue
        inputs = frame_scope(plan, prefix, values).inputs
        for name, spec in frame.inputs.items():
            try:
                inputs[name]
            except TemplateFault as fault:
                if fault.code == "E161":
                    detail = f"{fault.detail} (step {prefix[:-1]})"
                    yield problem("E161", detail, where=spec.where, name=name)


def _conditions(plan: Plan, values: Values) -> Iterable[Problem]:
    """Conditions that are known before the run and are neither true nor false."""
    for step in plan.steps:
        for prefix, expression in condition(plan, step):
            if {ref.root for ref in references(as_template(expression))} & _LATE:
                continue
            try:
                truth(evaluate(expression, frame_scope(plan, prefix, values, item=step.item)))
            except TemplateFault as fault:
                if fault.absent is None:
                    where = step.marks.get("when", step.where)
                    yield problem(fault.code, fault.detail, fix=fault.fix, where=where, name=fault.name)


def _expand(plan: Plan, values: Values, problems: list[Problem]) -> Plan:
    """The plan with one step for each item of each ``foreach``."""
    if all(step.foreach is None for step in plan.steps):
        return plan
    items = {step.id: _items(plan, step, values, problems) for step in plan.steps if step.foreach is not None}
    if sum(map(len, items.values())) + len(plan.steps) > MOST_STEPS:
        problems.append(problem("E153", f"More than {MOST_STEPS:,} after foreach.", fix="divide the plan"))
        return plan
    waits = sum(
        (len(items[step.id]) if step.id in items else 1) * sum(len(items.get(need, "1")) for need in step.needs)
        for step in plan.steps
    )
    if waits > MOST_WAITS:
        detail = f"Its items would wait for each other {waits:,} times; at most {MOST_WAITS:,} are taken."
        problems.append(
            problem("E153", detail, fix="put a step without foreach between the lists: each waits for it alone")
        )
        return plan
    groups = {group: tuple(iteration_id(group, item) for item in listed) for group, listed in items.items()}
    ends = _ends(plan, groups)
    steps: list[Step] = []
    for step in plan.steps:
        needs = tuple(dict.fromkeys(end for need in step.needs for end in ends.get(need, (need,))))
        if step.id not in groups:
            steps.append(replace(step, needs=needs) if needs != step.needs else step)
            continue
        for item, made in zip(items[step.id], groups[step.id], strict=True):
            steps.append(replace(step, id=made, needs=needs, item=item, foreach=None))
    return replace(plan, steps=tuple(steps), groups=groups)


def iteration_id(group: str, item: str) -> str:
    """The id of one iteration: ``copy[a]``; characters that are unsafe in a path are written as in a URL."""
    return f"{group}[{quote(item, safe='@:+,=')}]"


def _ends(plan: Plan, groups: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """What to wait for in place of each group: its iterations, or if there are none what it would have waited for."""
    from graphlib import TopologicalSorter

    needs = {step.id: step.needs for step in plan.steps}
    ends: dict[str, tuple[str, ...]] = {}
    for step in TopologicalSorter(needs).static_order():
        if step in groups:
            passed = tuple(dict.fromkeys(end for need in needs[step] for end in ends.get(need, (need,))))
            ends[step] = groups[step] or passed
    return ends


def _items(plan: Plan, step: Step, values: Values, problems: list[Problem]) -> list[str]:
    where: Place | None = step.marks.get("foreach", step.where)
    try:
        found = render(step.foreach, frame_scope(plan, step.frame, values))
    except TemplateFault as fault:
        detail = "The list has to be known before the run." if fault.absent else fault.detail
        problems.append(problem("E135", detail, fix=fault.fix, where=where))
        return []
    if not isinstance(found, list):
        problems.append(problem("E135", "It gives no list.", fix="use an input of type list", where=where))
        return []
    listed: list[str] = []
    for item in found:
        reason = item_fault(item, listed) if isinstance(item, str) else "Each item has to be text."
        if reason:
            problems.append(problem("E135", reason, where=where))
        elif isinstance(item, str):
            listed.append(item)
    return listed
