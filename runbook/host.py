"""Hosts: where a process runs, and how one gets there.

Owns the four kinds of host that an environment may name and their written form (``local``, ``{docker: C}``,
``{compose: {project: P, service: S}}``, ``{ssh: D}``, each with ``via:``). Pure data: an action never asks which kind
it has; a transport turns a host and an argv into something that runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Local:
    """The machine on which the engine runs."""

    def __str__(self) -> str:
        return "local"


@dataclass(frozen=True, slots=True)
class Docker:
    """A running container, by name, on the Docker Engine of ``via``."""

    container: str
    via: Host = Local()

    def __str__(self) -> str:
        return f"docker:{self.container}" + _suffix(self.via)


@dataclass(frozen=True, slots=True)
class Compose:
    """The one container of a Compose service, found by its labels on the Docker Engine of ``via``."""

    project: str
    service: str
    via: Host = Local()

    def __str__(self) -> str:
        return f"compose:{self.project}/{self.service}" + _suffix(self.via)


@dataclass(frozen=True, slots=True)
class Ssh:
    """A machine reached over SSH: a destination as the ssh command takes it."""

    destination: str
    via: Host = Local()

    def __str__(self) -> str:
        return f"ssh:{self.destination}" + _suffix(self.via)


Host: TypeAlias = Local | Docker | Compose | Ssh

LOCAL = Local()


def _suffix(via: Host) -> str:
    return "" if isinstance(via, Local) else f" via {via}"


def parse_host(value: object) -> Host:
    """A host from its written form; ``ValueError`` says what is expected."""
    expected = "expected local, {docker: CONTAINER}, {compose: {project: P, service: S}} or {ssh: DESTINATION}"
    if isinstance(value, Local | Docker | Compose | Ssh):
        return value
    if value == "local":
        return LOCAL
    if not isinstance(value, Mapping):
        raise ValueError(expected)  # noqa: TRY004 - pydantic turns ValueError, not TypeError, into a fault
    rest = dict(value)
    via = parse_host(rest.pop("via", "local"))
    match rest:
        case {"docker": str(name)} if len(rest) == 1 and name:
            return Docker(_argument(name), via)
        case {"ssh": str(destination)} if len(rest) == 1 and destination:
            return Ssh(_argument(destination), via)
        case {"compose": {"project": str(project), "service": str(service), **more}} if len(rest) == 1 and not more:
            return Compose(_argument(project), _argument(service), via)
    raise ValueError(expected)


def _argument(name: str) -> str:
    if name.startswith("-"):
        raise ValueError(f"a name may not begin with '-': {name!r} would be read as an option")
    return name


def host_json(host: Host) -> dict[str, object] | str:
    """The written form of a host, for journals and digests."""
    match host:
        case Local():
            return "local"
        case Docker(container, via):
            body: dict[str, object] = {"docker": container}
        case Compose(project, service, via):
            body = {"compose": {"project": project, "service": service}}
        case Ssh(destination, via):
            body = {"ssh": destination}
    return body if isinstance(via, Local) else body | {"via": host_json(via)}


def named_programs(written: Mapping[str, object], *fields: str) -> tuple[tuple[Host, str], ...]:
    """The first words of the argument lists in these fields, with the host in ``host``; what a template gives is left out."""
    try:
        host = parse_host(written.get("host", "local"))
    except ValueError:
        return ()
    argvs = (written.get(field) for field in fields)
    first = (argv[0] for argv in argvs if isinstance(argv, list | tuple) and argv)
    literal = "{{" not in str(host)
    return tuple((host, program) for program in first if literal and isinstance(program, str) and "{{" not in program)
