"""Needs: the programs that the steps of a plan call, and on which host; the systems that it writes to.

Owns the derivation. Pure. Promises: nothing is looked up; what a template decides is left out, not guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from runbook.action import Action, Effect
from runbook.check.fields import effect_of, system_fields
from runbook.doctor.facts import Need
from runbook.doctor.programs import USUAL, Side, known
from runbook.host import LOCAL, Compose, Docker
from runbook.plan.environment import Environment
from runbook.plan.model import Plan, Step
from runbook.system import Postgres, System

AnyAction = Action[Any, Any, Any, Any]


def needs(plan: Plan, environment: Environment, actions: Mapping[str, AnyAction]) -> tuple[Need, ...]:
    """What the plan's steps call, each program on each host once, with the steps that need it."""
    return gathered(found for step in plan.steps for found in _needs(plan, step, environment, actions[step.uses]))


def usual(systems: Iterable[System]) -> tuple[Need, ...]:
    """What most plans call of these systems' PostgreSQL; on this machine where there is none."""
    servers = [system for system in systems if isinstance(system, Postgres)]
    if not servers:
        return tuple(Need(LOCAL, name) for name in USUAL)
    return gathered(Need(db.host, _called(db, name), (db.key,)) for db in servers for name in USUAL)


def changed(plan: Plan, systems: Mapping[str, System], actions: Mapping[str, AnyAction]) -> frozenset[str]:
    """The systems that steps of the plan write to, by the environment's names."""
    found: set[str] = set()
    for step in plan.steps:
        if effect_of(actions[step.uses], step) is not Effect.READS:
            found |= set(_named(plan, step, actions[step.uses], systems))
    return frozenset(found)


def gathered(found: Iterable[Need]) -> tuple[Need, ...]:
    """Each program on each host once, with all its systems and steps, in their order."""
    by_key: dict[tuple[str, str], Need] = {}
    for need in found:
        before = by_key.get(need.key)
        if before is None:
            by_key[need.key] = need
        else:
            steps = tuple(dict.fromkeys((*before.steps, *need.steps)))
            systems = tuple(dict.fromkeys((*before.systems, *need.systems)))
            by_key[need.key] = replace(before, steps=steps, systems=systems)
    return tuple(by_key.values())


def _needs(plan: Plan, step: Step, environment: Environment, action: AnyAction) -> Iterator[Need]:
    for host, program in action.programs_named(step.with_):
        yield Need(host, program, steps=(step.id,))
    systems = [environment.systems[name] for name in _named(plan, step, action, environment.systems)]
    servers = [system for system in systems if isinstance(system, Postgres)]
    for program in action.needs_programs:
        yield from _where(program, servers, step)


def _where(program: str, servers: list[Postgres], step: Step) -> Iterator[Need]:
    match known(program).side:
        case Side.HERE:
            yield Need(LOCAL, program, steps=(step.id,))
        case Side.ENGINE:
            if any(isinstance(db.host, Docker | Compose) for db in servers):
                yield Need(LOCAL, program, steps=(step.id,))
        case Side.SERVER:
            for db in servers:
                if not isinstance(db.host, Docker | Compose):
                    yield Need(db.host, _called(db, program), (db.key,), (step.id,))
        case Side.CLIENT | Side.DATABASE as side:
            for db in servers:
                yield Need(db.host, _called(db, program), (db.key,), (step.id,))
            if not servers and side is Side.CLIENT:
                yield Need(LOCAL, program, steps=(step.id,))


def _called(db: Postgres, program: str) -> str:
    return f"{db.binaries.rstrip('/')}/{program}" if db.binaries else program


def _named(plan: Plan, step: Step, action: AnyAction, systems: Mapping[str, System]) -> tuple[str, ...]:
    """The systems that a step names, by ``on`` and by fields of ``with``; by the environment's names."""
    theirs = plan.frames[step.frame].systems if step.frame in plan.frames else {}
    written = (step.with_.get(name) for name in system_fields(action.inputs_type))
    fields = (theirs.get(name, name) for name in written if isinstance(name, str))
    return tuple(dict.fromkeys(name for name in (step.on, *fields) if name in systems))
