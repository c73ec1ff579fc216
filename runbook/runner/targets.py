"""Targets: which real things a run acts on, proven by what they say of themselves.

Owns the identity of each system type and what a run locks. Promises: two names for one thing give one identity, and a thing
that was replaced gives another; *absent* is an identity too. A system that can't be asked is not silently trusted: its
identity says so, and is asked for again before a step changes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runbook.action import Effect, Look, Unreachable
from runbook.check.fields import system_fields
from runbook.engine.events import TargetRebound
from runbook.engine.run import Run
from runbook.engine.step_run import StepRun
from runbook.engine.transitions import Status
from runbook.errors import Problem, Refused
from runbook.host import LOCAL, Compose, Docker, host_json
from runbook.operation import Json, canonical, sql
from runbook.own_address import addresses_of, is_own
from runbook.plan.model import Plan, Step
from runbook.runner.claim import ABSENT, UNREACHED, Claim
from runbook.runner.faults import differing
from runbook.runner.prepare import visible_systems
from runbook.runner.setting import AnyAction
from runbook.system import Channel, ComposeProject, Machine, Postgres, Redis, Store, System, Volume, Web


def identify(look: Look, system: System) -> Json:
    """What the system says of itself, or :data:`ABSENT`, or :data:`UNREACHED`."""
    try:
        return _identity(look, system)
    except Unreachable:
        return UNREACHED


def _identity(look: Look, system: System) -> Json:
    match system:
        case Postgres():
            return _cluster(look, system)
        case Store():
            if system.scheme != "file":
                return {"store": system.url}
            found = look.file(LOCAL, system.directory)
            return ABSENT if found is None else {"store": [found.device, found.inode]}
        case ComposeProject():
            # not its services: one that is added between two attempts makes no other project of it
            return {"compose": system.project, "host": canonical(host_json(system.host))}
        case Volume():
            return {"volume": system.name, "host": canonical(host_json(system.host))}
        case Redis():
            return {"redis": [canonical(host_json(system.host)), system.address, system.port]}
        case Machine():
            return {"host": canonical(host_json(system.at))}
        case Web():
            return {"web": system.url}
        case Channel():
            return {"channel": system.key}
    raise TypeError(f"{type(system).__name__} has no identity")


_CLUSTER = sql(
    "SELECT system_identifier::text AS system_identifier, current_setting('data_directory') AS data_directory"
    " FROM pg_control_system()"
)


def _cluster(look: Look, system: Postgres) -> Json:
    connection = system.connection(application="runbook", database="postgres")
    row = look.query(connection, _CLUSTER)[0]
    directory = str(row["data_directory"])
    place: Json
    if isinstance(system.host, Docker | Compose) or is_own(look, system.host, system.address):
        found = look.file(system.host, directory)
        place = [found.device, found.inode] if found else []
    else:
        place = [*addresses_of(look, system.host, system.address), system.port]
    # a cluster made from a base backup has the live one's identifier, so the directory itself is part of the identity; of a server
    # on another machine, where a standby mostly has its primary's paths, what leads there
    return {
        "cluster": row["system_identifier"],
        "host": canonical(host_json(system.host)),
        "directory": directory,
        "place": place,
    }


def claims(
    look: Look, plan: Plan, actions: Mapping[str, AnyAction], systems: Mapping[str, System]
) -> tuple[Claim, ...]:
    """The targets of the plan's steps, by the environment's names, each probed once.

    A channel is changed by nobody: what one run says there spoils nothing for another, which may need to say something, too.
    """
    changed: dict[str, bool] = {}
    for step in plan.steps:
        changes = actions[step.uses].effect is not Effect.READS
        for system in named_systems(plan, step, actions[step.uses], systems):
            spoils = changes and not isinstance(systems[system], Channel)
            changed[system] = changed.get(system, False) or spoils
    return tuple(
        Claim(name, identify(look, systems[name]), changed[name], _declared(systems[name])) for name in sorted(changed)
    )


def _declared(system: System) -> str:
    """What the environment says of it: its host too, without which two servers in containers would be one."""
    said = [(key, str(value)) for key, value in system.public().items() if key != "name"]
    return repr(sorted((*said, ("host", str(getattr(system, "host", ""))))))


def _environments_name(plan: Plan, step: Step, name: str) -> str:
    return plan.frames[step.frame].systems.get(name, name) if step.frame else name


def named_systems(plan: Plan, step: Step, action: AnyAction, systems: Mapping[str, System]) -> tuple[str, ...]:
    """The systems that a step names, by ``on`` first and then by fields of ``with``: by the environment's names, each once."""
    seen = visible_systems(plan, step, systems)
    written = (step.with_.get(name) for name in system_fields(action.inputs_type))
    fields = (_environments_name(plan, step, name) for name in written if isinstance(name, str) and name in seen)
    return tuple(dict.fromkeys((*((step.on,) if step.on else ()), *fields)))


def excused(run: Run, plan: Plan, actions: Mapping[str, AnyAction], systems: Mapping[str, System]) -> frozenset[str]:
    """Systems that a step began to change and whose identity afterwards isn't journalled: the step's own guards judge them."""
    half_done = [run.graph.steps[step] for step, state in run.steps.items() if state.touched and not _rebound(state)]
    return frozenset(name for step in half_done for name in named_systems(plan, step, actions[step.uses], systems))


def _rebound(state: StepRun) -> bool:
    return state.status is Status.SUCCEEDED


def rebound(
    look: Look, run: Run, step: Step, names: Iterable[str], systems: Mapping[str, System], *, first_use: bool
) -> tuple[TargetRebound, ...]:
    """What the targets of a step say of themselves now, where that isn't what the run is bound to.

    At ``first_use`` those that were absent or could not be asked are bound; after the step, what it made or replaced.
    """
    found = []
    for name in names:
        known = run.rebound.get(name, run.header.targets.get(name, UNREACHED))
        if first_use and known not in (ABSENT, UNREACHED):
            continue
        identity = identify(look, systems[name])
        if identity not in (known, UNREACHED):
            found.append(TargetRebound(step.id, name, identity))
    return tuple(found)


def compare(before: Mapping[str, Json], now: Iterable[Claim], excused: frozenset[str]) -> None:
    """Refuse (exit 4) where a target is not the one that the run began on. ``excused``: a step was changing it when it stopped.

    One that was absent may have been made since, as we may have advised: no step has used it, and the first that does binds it.
    """
    for claim in now:
        bound = before.get(claim.system, UNREACHED)
        if claim.system in excused or UNREACHED in (bound, claim.identity) or bound == ABSENT:
            continue
        if bound != claim.identity:
            raise Refused(
                Problem(
                    "E403",
                    "a target is not the one that this run began on",
                    "\n".join(differing(claim.system, bound, claim.identity)),
                    "is this the right machine, and the right server? If it is, and it was replaced, `runbook abandon` the run"
                    " and apply anew",
                )
            )
