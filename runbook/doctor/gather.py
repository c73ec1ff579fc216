"""Gathering: all facts for some plans in their environments, or for an environment, or for this machine alone.

Owns :func:`gather`, which asks ``machine.py`` and ``systems.py``. Acts, and only reads. Promises: without an environment no
client's library is loaded, and nothing but this machine is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from runbook.doctor import machine
from runbook.doctor.facts import Facts, Need, Program
from runbook.doctor.needs import AnyAction, changed, gathered, needs, usual
from runbook.errors import Problem
from runbook.host import Compose, Docker, Host
from runbook.plan.environment import Environment
from runbook.plan.model import Plan, Source
from runbook.secret import Redactor

if TYPE_CHECKING:
    from runbook.doctor.systems import Gatherer
    from runbook.system import System


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at together: a plan in an environment, or one of both. ``misfit``: why the plan is left out."""

    plan: Plan | None
    path: Path | None
    environment: Environment | None
    misfit: Problem | None = None


def gather(
    subjects: Sequence[Subject], state: Path, actions: Mapping[str, AnyAction], *, redactor: Redactor | None = None
) -> Facts:
    """The facts. Raises nothing for a system that is down: that is what is to be found out. ``redactor`` learns what is read."""
    redactor = redactor or Redactor()
    redactor.disclose(*(source.text for subject in subjects for source in _sources(subject)))
    started = machine.Started.now()
    subjects = _told_apart(subjects)
    systems = {name: system for subject in subjects for name, system in _systems(subject).items()}
    wanted = _needs(subjects, actions)
    hosts = {need.host: tuple(one for one in wanted if one.host == need.host) for need in wanted}
    written = frozenset(name for subject in subjects for name in _changed(subject, actions))
    gatherer = _gatherer(redactor)
    try:
        secrets = gatherer.secrets(systems.values())
        seen, found = gatherer.ask(systems, hosts, changed=written)
    finally:
        gatherer.close()
    return Facts(
        python=machine.python(),
        libraries=machine.libraries(),
        user=machine.user(),
        state=machine.state_directory(state),
        engine=machine.engine(),
        engine_needed=_in_engine(systems.values(), wanted),
        plans=machine.plan_files(subject.path for subject in subjects if subject.path is not None),
        plans_given=any(subject.plan is not None for subject in subjects),
        environment=", ".join(dict.fromkeys(one.environment.name for one in subjects if one.environment is not None)),
        misfits=tuple((str(one.path), one.misfit) for one in subjects if one.misfit is not None),
        needs=wanted,
        programs=_programs(found),
        silent={str(host): answer for host, answer in found.items() if isinstance(answer, Problem)},
        seen=seen,
        secrets=secrets,
        clock=started.read(state),
    )


def _gatherer(redactor: Redactor) -> Gatherer:
    from runbook.doctor.systems import Gatherer

    return Gatherer(redactor=redactor)


def _sources(subject: Subject) -> tuple[Source, ...]:
    """The files that are read anyway: what stands in one is no secret."""
    return tuple(source for read in (subject.plan, subject.environment) if read is not None for source in read.sources)


def _told_apart(subjects: Sequence[Subject]) -> tuple[Subject, ...]:
    """The subjects with their systems' names made unique, where there are several environments."""
    digests = {subject.environment.digest for subject in subjects if subject.environment is not None}
    if len(digests) < 2:
        return tuple(subjects)
    return tuple(replace(one, environment=one.environment and _labelled(one.environment)) for one in subjects)


def _labelled(environment: Environment) -> Environment:
    named = {
        name: system.model_copy(update={"key": f"{environment.name}/{name}"})
        for name, system in environment.systems.items()
    }
    return replace(environment, systems=named)


def _systems(subject: Subject) -> dict[str, System]:
    """The systems that the plan needs, or all of the environment where there is no plan; by the name that is shown."""
    if subject.environment is None or subject.misfit is not None:
        return {}
    known = subject.environment.systems
    wanted = known if subject.plan is None else [name for name in subject.plan.systems if name in known]
    return {known[name].key or name: known[name] for name in wanted}


def _needs(subjects: Sequence[Subject], actions: Mapping[str, AnyAction]) -> tuple[Need, ...]:
    found: list[Need] = []
    for subject in subjects:
        if subject.environment is None or subject.misfit is not None:
            continue
        if subject.plan is None:
            found += usual(subject.environment.systems.values())
        else:
            found += needs(subject.plan, subject.environment, actions)
    if not any(subject.environment is not None for subject in subjects):
        found += usual(())
    return gathered(found)


def _changed(subject: Subject, actions: Mapping[str, AnyAction]) -> frozenset[str]:
    if subject.plan is None or subject.environment is None or subject.misfit is not None:
        return frozenset()
    systems = subject.environment.systems
    return frozenset(systems[name].key or name for name in changed(subject.plan, systems, actions))


def _in_engine(systems: Iterable[System], wanted: Sequence[Need]) -> bool:
    from runbook.doctor.systems import needs_engine

    return needs_engine(systems) or any(isinstance(need.host, Docker | Compose) for need in wanted)


def _programs(found: Mapping[Host, Mapping[str, Program] | Problem]) -> dict[tuple[str, str], Program]:
    return {
        (str(host), asked): program
        for host, answer in found.items()
        if not isinstance(answer, Problem)
        for asked, program in answer.items()
    }
