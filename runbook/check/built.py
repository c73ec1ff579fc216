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
from runbook.system import Postgres, Store, System

_HOST_FIELDS = ("host", "at")
_NEED_A_DIRECTORY = ("postgres.find_change",)
"""Actions that read a WAL archive with the server's own programs."""


def unbuilt(plan: Plan, environment: Environment | None) -> Iterator[Problem]:
    """What the plan asks for, or its systems in this environment, that this version can't do."""
    for step in plan.steps:
        yield from _step(step)
    if environment is not None:
        for name in plan.systems:
            if name in environment.systems:
                yield from _system(plan, environment, name, environment.systems[name])
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


def _system(plan: Plan, environment: Environment, name: str, system: System) -> Iterator[Problem]:
    for field in _HOST_FIELDS:
        host = getattr(system, field, None)
        if isinstance(host, Local | Docker | Compose | Ssh) and _over_ssh(host):
            yield _ssh(_place(environment, name, field))
    if isinstance(system, Store) and system.scheme != "file" and not _only_archives(plan, environment, name, system):
        detail = f"System '{name}': stores of the kind {system.scheme}:// can be named, and not yet used."
        yield fault("E390", detail, fix="use a file:// store", where=_place(environment, name, "url"))
    if isinstance(system, Store) and system.encrypt_to:
        detail = f"System '{name}': new artifacts would not be encrypted."
        fix = "leave `encrypt_to` out, and encrypt the file system"
        yield fault("E390", detail, fix=fix, where=_place(environment, name, "encrypt_to"))
    if isinstance(system, Postgres):
        yield from _archive(plan, environment, name, system)


def _archive(plan: Plan, environment: Environment, name: str, system: Postgres) -> Iterator[Problem]:
    """A bucket is for a server on this machine; and what reads WAL itself needs a directory."""
    scheme, found, _ = system.archive.partition("://")
    where = _place(environment, name, "archive")
    if not found or scheme == "file":
        return
    if scheme != "s3":
        detail = f"System '{name}': WAL archives of the kind {scheme}:// can be named, and not yet read."
        yield fault("E390", detail, fix="use a file:// or s3:// URL", where=where)
    elif not isinstance(system.host, Local):
        detail = f"System '{name}': a WAL archive in a bucket is for a server on this machine (host: local)."
        fix = "archive into a directory (file:///DIRECTORY; in a container, on a mount), or run runbook where the server is"
        yield fault("E390", detail, fix=fix, where=where)
    for step in plan.steps:
        if step.uses in _NEED_A_DIRECTORY and step.on == name:
            detail = f"{step.uses} reads the WAL where it lies, and '{name}' has its archive in a bucket."
            yield fault(
                "E390", detail, fix="copy the segments into a directory, and name that", where=value(step, "uses")
            )


def _only_archives(plan: Plan, environment: Environment, name: str, store: Store) -> bool:
    """Whether a bucket serves as the WAL archive of a server on this machine, and as nothing else in this plan."""
    servers = (one for one in environment.systems.values() if isinstance(one, Postgres) and isinstance(one.host, Local))
    folder = f"{store.url.rstrip('/')}/"
    serves = store.scheme == "s3" and any(f"{one.archive.rstrip('/')}/".startswith(folder) for one in servers)
    return serves and not any(step.on == name or _names(step.with_, name) for step in plan.steps)


def _names(written: object, name: str) -> bool:
    """Whether a step's inputs name that system, or may: a template's value isn't known yet."""
    match written:
        case str():
            return written == name or f"systems.{name}" in written
        case Mapping():
            return any(_names(one, name) for one in written.values())
        case list() | tuple():
            return any(_names(one, name) for one in written)
        case _:
            return False


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
