"""What can be written and isn't built yet: refused by name before a run, not in its middle.

Owns the list of such features. Promises: only what the plan would use is refused; what would be silently passed over is noted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runbook.check.codes import fault, note
from runbook.check.places import value
from runbook.errors import Place, Problem
from runbook.host import Compose, Docker, Host, Local, Ssh, parse_host
from runbook.operation import Json
from runbook.plan.compose import holds_template
from runbook.plan.environment import Environment
from runbook.plan.model import Plan, Step
from runbook.system import Store, System

_HOST_FIELDS = ("host", "at")


def unbuilt(plan: Plan, environment: Environment | None) -> Iterator[Problem]:
    """What the plan asks for, or its systems in this environment, that this version can't do."""
    for step in plan.steps:
        yield from _step(step)
    if environment is not None:
        for name in plan.systems:
            if name in environment.systems:
                yield from _system(environment, name, environment.systems[name])
    yield from _unheeded(plan)


def _step(step: Step) -> Iterator[Problem]:
    written = step.with_.get("host")
    if written is None or holds_template(written):
        return
    try:
        host = parse_host(written)
    except ValueError:
        return  # the field's own check says so
    if _over_ssh(host):
        yield _ssh(value(step, "with.host"))


def _system(environment: Environment, name: str, system: System) -> Iterator[Problem]:
    for field in _HOST_FIELDS:
        host = getattr(system, field, None)
        if isinstance(host, Local | Docker | Compose | Ssh) and _over_ssh(host):
            yield _ssh(_place(environment, name, field))
    if isinstance(system, Store) and system.scheme != "file":
        detail = f"System '{name}': stores of the kind {system.scheme}:// can be named, and not yet used."
        yield fault("E390", detail, fix="use a file:// store", where=_place(environment, name, "url"))
    if isinstance(system, Store) and system.encrypt_to:
        detail = f"System '{name}': new artifacts would not be encrypted."
        fix = "leave `encrypt_to` out, and encrypt the file system"
        yield fault("E390", detail, fix=fix, where=_place(environment, name, "encrypt_to"))
    archive = getattr(system, "archive", "")
    if isinstance(archive, str) and "://" in archive and not archive.startswith("file://"):
        detail = f"System '{name}': a WAL archive that isn't a directory can be named, and not yet read."
        yield fault("E390", detail, fix="use a file:// URL", where=_place(environment, name, "archive"))


def _over_ssh(host: Host) -> bool:
    return isinstance(host, Ssh) or (isinstance(host, Docker | Compose) and _over_ssh(host.via))


def _ssh(where: Place | None) -> Problem:
    detail = "Hosts over SSH can be named, and nothing runs there yet."
    return fault("E390", detail, fix="run runbook on that machine, with host: local", where=where)


def _place(environment: Environment, name: str, field: str) -> Place | None:
    marks: Mapping[str, Place] = environment.marks
    return marks.get(f"systems.{name}.{field}")


def _unheeded(plan: Plan) -> Iterator[Problem]:
    keys: tuple[tuple[str, Json, str, str], ...] = (
        (
            "schedule",
            plan.schedule,
            "Nothing starts this plan at these times by itself.",
            f"have cron or a timer run `runbook apply {plan.sources[0].name if plan.sources else 'PLAN'}`",
        ),
        ("escalation", list(plan.escalation), "Nobody is told by itself.", "it is documentation for those who run it"),
    )
    for key, written, detail, fix in keys:
        if written:
            yield note("E390", detail, fix=fix, where=plan.marks.get(key))
    if plan.notify:  # whoever relies on a message that never comes is worse off than without it
        detail = "These channels aren't told by themselves yet."
        yield fault("E390", detail, fix="add steps with `uses: notify`", where=plan.marks.get("notify"))
