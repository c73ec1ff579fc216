"""The containers of a Compose project's services, as the actions on them see and name them.

Owns :class:`Member` (one container in its service), :class:`Seen` (its state at one look), how both are observed, and the calls on
them. Promises: a service or project that isn't there is refused and those that are there are listed, so that a wrong name never
passes for "nothing to do"; a member's number, and so an operation's name, is the same at every look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import AfterValidator

from runbook.action import ContainerFacts, Look
from runbook.errors import Problem, Refused, suggest
from runbook.operation import Call, Condition, Document, Json, Scalar, Service, Test, Wait
from runbook.system import ComposeProject
from runbook.units import parse_duration

RUNNING = "running"
_UP = frozenset((RUNNING, "restarting", "paused"))
"""States in which a container's processes are there, or come back by themselves."""
_INTERVAL_S = 0.5


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


Services: TypeAlias = Annotated[tuple[str, ...], AfterValidator(_once)]


@dataclass(frozen=True, slots=True)
class Member:
    """A container of a service. ``number`` counts the service's containers from 1.

    ``container`` is its name; "" stands for all of the service's containers, where nothing was looked up.
    """

    service: str
    number: int
    container: str

    def __str__(self) -> str:
        return f"{self.container or 'containers'} (service {self.service})"


@dataclass(frozen=True, slots=True)
class Seen:
    """A member at one look. ``health`` is '' for a container without a health check."""

    member: Member
    state: str
    health: str

    @property
    def is_up(self) -> bool:
        """Whether its processes are there, or come back by themselves."""
        return self.state in _UP

    @property
    def is_ready(self) -> bool:
        """Whether it runs, and its health check, if it has one, doesn't say otherwise."""
        return self.state == RUNNING and self.health not in ("starting", "unhealthy")


def look_at(look: Look, system: ComposeProject, services: Sequence[str]) -> tuple[Seen, ...]:
    """The containers of these services, in their order. No services: nothing, and nobody is asked.

    Raises :class:`Refused` for a project or a service that has no container.
    """
    if not services:
        return ()
    found = _by_service(look, system)
    unknown = [service for service in services if service not in found]
    if unknown:
        raise Refused(_no_service(system, unknown[0], sorted(found)))
    return tuple(seen for service in services for seen in found[service])


def look_for(look: Look, system: ComposeProject, members: Sequence[Member]) -> tuple[Seen, ...]:
    """These very containers. Raises :class:`Refused` where one is not there any more."""
    if not members:
        return ()
    found = _by_service(look, system)
    by_name = {seen.member.container: seen for group in found.values() for seen in group}
    wanted: list[Seen] = []
    for member in members:
        if not member.container:
            wanted += look_at(look, system, (member.service,))
        elif member.container not in by_name:
            raise Refused(_gone(system, member))
        else:
            seen = by_name[member.container]
            wanted.append(Seen(member, seen.state, seen.health))
    return tuple(wanted)


def assumed(services: Sequence[str]) -> tuple[Member, ...]:
    """A member for each service that stands for all of its containers."""
    return tuple(Member(service, 1, "") for service in services)


def held_members(held: Mapping[str, Json]) -> tuple[Member, ...]:
    """The containers that ran when ``compose.stop`` took the hold, from its pinned facts; none where it never took it."""
    if not held:
        return ()
    match held:
        case {"running": [*members]}:
            return tuple(_member(member) for member in members)
    raise Refused(
        Problem(
            "E663",
            "the hold that is released stopped no services",
            f"Its baselines are: {', '.join(sorted(held))}.",
            "Let `releases` name a step that uses compose.stop.",
        )
    )


def call(system: ComposeProject, operation: str, member: Member, **arguments: Scalar) -> Call:
    """A Docker call on a member, named ``OPERATION_SERVICE_NUMBER``."""
    if member.container:
        where: tuple[tuple[str, Scalar], ...] = (("container", member.container),)
    else:
        where = (("project", system.project), ("service", member.service))
    return Call(
        name=f"{operation}_{member.service}_{member.number}",
        service=Service.DOCKER,
        operation=operation,
        arguments=Document((*where, *arguments.items())),
        host=system.host,
        reads=operation == "health",
    )


def wait(system: ComposeProject, member: Member, until: tuple[Condition, ...], within: str) -> Wait:
    """Wait until a member runs and ``until`` holds, named ``wait_SERVICE_NUMBER``; bounded by ``within``."""
    return Wait(
        name=f"wait_{member.service}_{member.number}",
        read=call(system, "health", member),
        until=(Condition("state", Test.EQUALS, RUNNING), *until),
        interval_s=_INTERVAL_S,
        deadline_s=parse_duration(within),
    )


def services_of(members: Sequence[Member]) -> tuple[str, ...]:
    """Their services, each once, in their order."""
    return tuple(dict.fromkeys(member.service for member in members))


def _by_service(look: Look, system: ComposeProject) -> dict[str, tuple[Seen, ...]]:
    containers = look.containers(system.host, system.project)
    if not containers:
        raise Refused(
            Problem(
                "E660",
                "the Compose project has no containers",
                f"No container on {system.host} carries the label com.docker.compose.project={system.project}.",
                "docker compose ls --all    # is the project's name in the environment right, and is this the right host?",
            )
        )
    groups: dict[str, list[ContainerFacts]] = {}
    for container in containers:
        groups.setdefault(container.service, []).append(container)
    return {
        service: tuple(
            Seen(Member(service, number, one.name), one.state, one.health) for number, one in enumerate(group, start=1)
        )
        for service, group in groups.items()
    }


def _member(form: Json) -> Member:
    match form:
        case {"service": str(service), "number": int(number), "container": str(container)}:
            return Member(service, number, container)
    raise Refused(
        Problem("E663", "the hold's record can't be read", "It was made by another version of runbook.", "runbook show")
    )


def _no_service(system: ComposeProject, service: str, there: list[str]) -> Problem:
    return Problem(
        "E661",
        "the Compose project has no such service",
        f"{service!r} has no container in the project {system.project}. There are: {', '.join(there)}.",
        suggest(service, there) or "Name one of these, or create it: docker compose up --no-start " + service,
    )


def _gone(system: ComposeProject, member: Member) -> Problem:
    return Problem(
        "E662",
        "a container is not there any more",
        f"{member.container} of the service {member.service} ran before it was stopped; the project {system.project} has no"
        " container of that name now.",
        f"docker compose -p {system.project} up -d {member.service}    # then `runbook resolve … --as done`",
    )
