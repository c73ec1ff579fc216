"""The Docker Engine: containers found by name or by Compose's labels, their facts, and calls that change them.

Owns :class:`DockerEngine`, the one user of the Docker SDK (imported late). Promises: a container's environment is never
read into a result; a call that was sent and whose answer was lost is :class:`Lost`; to stop what is stopped changes nothing.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from math import ceil
from typing import TYPE_CHECKING, Any, TypeVar

from runbook.action import ContainerFacts, FileFacts, Unreachable
from runbook.condition import explain, failing
from runbook.errors import Problem
from runbook.host import Compose, Docker, Host, Local
from runbook.late import Results, document
from runbook.operation import Call, Fields, Scalar
from runbook.quoting import shell_word
from runbook.transports.bound import Bound
from runbook.transports.outcome import Failed, Lost, Outcome, Succeeded
from runbook.transports.staying import Staying
from runbook.transports.trouble import LATE, Trouble, not_built, trouble, unreachable

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
NUMBER = "com.docker.compose.container-number"
ONEOFF = "com.docker.compose.oneoff"
ANSWER_WITHIN_S = 60.0
STOP_TIMEOUT_S = 10
"""How long a container may take to end after its stop signal, unless the call says ``timeout_s``."""
STAT = "X-Docker-Container-Path-Stat"
NOT_FOUND = 404
_KINDS: Mapping[int, str] = {1 << 31: "directory", 1 << 27: "link"}
"""Bits of Go's os.FileMode."""
_NOT_REGULAR = sum(1 << bit for bit in (31, 27, 26, 25, 24, 21, 19))
_CHANGES: Mapping[str, Callable[[Any, int], None]] = {
    "start": lambda container, _: container.start(),
    "stop": lambda container, timeout_s: container.stop(timeout=timeout_s),
    "restart": lambda container, timeout_s: container.restart(timeout=timeout_s),
    "pause": lambda container, _: container.pause(),
    "unpause": lambda container, _: container.unpause(),
}
_READS = ("health", "inspect")
_FRACTION = re.compile(r"\.\d+")
"""Of a second: more digits than Python reads."""
RUNNING, STARTING = "running", "starting"
_T = TypeVar("_T")


class DockerEngine:
    """The engine that ``DOCKER_HOST`` (else the default socket) names."""

    def __init__(self) -> None:
        self._client: DockerClient | None = None
        self._lock = threading.Lock()
        self._staying = Staying()

    def client(self) -> DockerClient:
        """The SDK's client. Raises :class:`Unreachable`."""
        import docker
        from docker.errors import DockerException

        with self._lock:
            if self._client is None:
                try:
                    self._client = docker.from_env(timeout=int(ANSWER_WITHIN_S))
                except DockerException as error:
                    raise _no_engine(error) from None
            return self._client

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    @property
    def is_here(self) -> bool:
        """Whether the engine runs on this machine, as far as its address tells."""
        url = str(self.client().api.base_url)
        return url.startswith(("http+docker", "unix", "http://localhost", "http://127.0.0.1"))

    def find(self, host: Docker | Compose) -> tuple[Container, ...]:
        """The containers that the host names: one, none, or a service's several. Raises :class:`Unreachable`."""
        if not isinstance(host.via, Local):
            raise Unreachable(not_built(f"Docker over {host.via}").problem)
        match host:
            case Docker(container, _):
                return self._named(container)
            case Compose(project, service, _):
                return self._labelled(project, service)

    def one(self, host: Docker | Compose) -> Container:
        """The one container of a host. Raises :class:`Trouble` (none, several), :class:`Unreachable`."""
        found = self.find(host)
        if not found:
            raise trouble(
                "E331",
                "there is no such container",
                f"The Docker Engine knows no container for {host}.",
                "docker ps -a",
            )
        if len(found) > 1:
            names = ", ".join(sorted(str(container.name) for container in found))
            raise trouble(
                "E332",
                "several containers where one was meant",
                f"{host} has {names}.",
                "Name one of them in the environment: {docker: NAME}.",
            )
        return found[0]

    def facts(self, host: Docker | Compose) -> ContainerFacts | None:
        """The container that the host names, or None. Raises as :meth:`one`."""
        return facts_of(self.one(host)) if self.find(host) else None

    def settled(self, container: Container) -> ContainerFacts:
        """What observers may see of a container, where one without a health check only `runs` once it has stayed up."""
        facts = facts_of(container)
        stays = self._staying.look(facts.id, container.attrs.get("State", {}))
        return facts if facts.health or facts.state != RUNNING or stays else replace(facts, state=STARTING)

    def stopped_file(self, host: Docker | Compose, path: str) -> FileFacts | None:
        """A file of a container that doesn't run, volumes included, by the engine's archive call; None where it isn't.

        Owner, device and inode can't be told (the call doesn't say them). Raises as :meth:`one`.
        """
        container = self.one(host)

        def get() -> FileFacts | None:
            api = self.client().api
            url = f"{api.base_url}/v{api.api_version}/containers/{container.id}/archive"
            answer = api.head(url, params={"path": path}, timeout=ANSWER_WITHIN_S)
            if answer.status_code == NOT_FOUND:
                return None
            answer.raise_for_status()
            return _stat(path, answer.headers[STAT])

        return asked(get)

    def project(self, project: str) -> tuple[ContainerFacts, ...]:
        """The containers of a Compose project, stopped ones too, by service and number. Raises :class:`Unreachable`."""
        return tuple(facts_of(container) for container in self._labelled(project, ""))

    def _named(self, name: str) -> tuple[Container, ...]:
        from docker.errors import NotFound

        def get() -> tuple[Container, ...]:
            try:
                return (self.client().containers.get(name),)
            except NotFound:
                return ()

        return asked(get)

    def _labelled(self, project: str, service: str) -> tuple[Container, ...]:
        labels = [f"{PROJECT}={project}", *([f"{SERVICE}={service}"] if service else [])]

        def get() -> tuple[Container, ...]:
            found = self.client().containers.list(all=True, filters={"label": labels}, ignore_removed=True)
            kept = [one for one in found if one.labels.get(ONEOFF, "False").lower() != "true"]
            return tuple(sorted(kept, key=_place))

        return asked(get)


def _stat(path: str, header: str) -> FileFacts:
    """What the archive call says of a path: JSON with the mode as Go's os.FileMode has it, in base64."""
    said = json.loads(base64.b64decode(header))
    mode = int(said["mode"])
    kind = next((name for bit, name in _KINDS.items() if mode & bit), "other" if mode & _NOT_REGULAR else "file")
    modified = datetime.fromisoformat(_FRACTION.sub("", str(said["mtime"]))).astimezone(UTC)
    return FileFacts(path, kind, int(said["size"]), modified, mode & 0o777, owner="", device=0, inode=0)


def asked(ask: Callable[[], _T]) -> _T:
    """What a read of the engine gives; its failures as :class:`Unreachable`."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        return ask()
    except (DockerException, RequestException) as error:
        raise _no_engine(error) from None


def facts_of(container: Container) -> ContainerFacts:
    """What observers may see of a container: never its environment."""
    attrs = container.attrs
    state, labels = attrs.get("State", {}), container.labels
    mounts = [
        f"{one.get('Name') or one.get('Source', '')}:{one.get('Destination', '')}" for one in attrs.get("Mounts", ())
    ]
    networks = attrs.get("NetworkSettings", {}).get("Networks") or {}
    found = [one.get("IPAddress", "") for one in networks.values() if one.get("IPAddress")]
    return ContainerFacts(
        id=str(container.id),
        name=str(container.name),
        project=labels.get(PROJECT, ""),
        service=labels.get(SERVICE, ""),
        state=str(state.get("Status", "")),
        health=str((state.get("Health") or {}).get("Status", "")).replace("none", ""),
        image=str(attrs.get("Config", {}).get("Image", "")),
        address=found[0] if len(found) == 1 else "",
        exit_code=int(state.get("ExitCode", 0)),
        mounts=tuple(sorted(mounts)),
        auto_remove=bool(attrs.get("HostConfig", {}).get("AutoRemove")),
        networks=tuple(sorted(networks)),
    )


def perform_call(engine: DockerEngine, call: Call, results: Results, bound: Bound) -> Outcome:
    """Perform a Docker call. Result: ``container``, ``id``, ``image``, ``state``, ``health``, ``exit_code``, ``changed``.

    ``health`` waits for what stays up: a container without a health check is `starting` until it has run for a moment.
    Arguments: ``container`` (name or id), or ``project`` and ``service``; else the host's own container. ``timeout_s`` for
    ``stop`` and ``restart``. A service with several containers has all of them changed, and shown as lines.
    """
    arguments = {key: document(value, results, no_secret) for key, value in call.arguments.items}
    changed = sent = False
    try:
        containers = _meant(engine, call, arguments)
        if call.operation not in _READS:
            if bound.over:  # what would be left of the time to end in is nothing: the engine would kill at once
                raise trouble(
                    "E327",
                    "the time was over",
                    f"{call.operation} {containers[0].name} was not asked for any more.",
                    LATE,
                )
            before = [facts_of(container).state for container in containers]
            timeout_s = arguments.get("timeout_s", STOP_TIMEOUT_S)
            for container in containers:
                lost = _change(container, call.operation, ceil(bound.at_most(float(str(timeout_s)))))
                if lost is not None:
                    return lost
            sent = True
            for container in containers:
                asked(container.reload)
                engine.settled(container)  # its time begins here
            changed = before != [facts_of(container).state for container in containers]
    except Trouble as error:
        return Failed(error.problem)
    except Unreachable as error:
        return Lost(error.problem) if sent else Failed(error.problem)
    tell = engine.settled if call.operation == "health" else facts_of
    fields = _fields(tuple(tell(container) for container in containers), changed=changed)
    missed = failing(call.expect, fields, results)
    if missed:
        detail = "\n".join(explain(one, fields) for one in missed)
        fix = f"docker logs --tail 50 {shell_word(containers[0].name or '')}" if containers else "docker ps --all"
        return Failed(Problem("E314", "the result is not what was expected", detail, fix), fields)
    return Succeeded(fields)


def _meant(engine: DockerEngine, call: Call, arguments: Mapping[str, object]) -> tuple[Container, ...]:
    via = call.host.via if isinstance(call.host, Docker | Compose) else call.host
    if call.operation not in _CHANGES and call.operation not in _READS:
        raise not_built(f"the Docker call {call.operation!r}")
    if not isinstance(via, Local):
        raise not_built(f"Docker over {via}")
    host: Host = call.host
    if "container" in arguments:
        host = Docker(str(arguments["container"]))
    elif "service" in arguments:
        host = Compose(str(arguments.get("project", "")), str(arguments["service"]))
    if not isinstance(host, Docker | Compose):
        raise trouble(
            "E331",
            "there is no such container",
            "The call names no container.",
            "name the container in the call, or give the system a `host` that is one",
        )
    return engine.find(host) or (engine.one(host),)


def _change(container: Container, operation: str, timeout_s: int) -> Lost | None:
    """Do it. Raises :class:`Trouble` for a definite no; gives Lost where the answer didn't come."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    try:
        _CHANGES[operation](container, timeout_s)
    except APIError as error:
        if operation in ("pause", "unpause") and error.status_code == 409 and "already" in str(error.explanation):
            return None
        detail = f"{operation} {container.name}: {error.explanation or error}"
        raise trouble("E330", "the Docker Engine said no", detail, f"docker logs --tail 50 {container.name}") from None
    except (DockerException, RequestException) as error:
        detail = f"{operation} {container.name} was sent; then: {type(error).__name__}."
        fix = f"docker inspect -f '{{{{.State.Status}}}}' {container.name}"
        return Lost(Problem("E333", "the Docker Engine's answer was lost", detail, fix))
    return None


def _fields(containers: tuple[ContainerFacts, ...], *, changed: bool) -> Fields:
    def lines(get: Callable[[ContainerFacts], Scalar]) -> Scalar:
        values = [get(one) for one in containers]
        return values[0] if len(values) == 1 else "\n".join(str(value) for value in values)

    return {
        "container": lines(lambda one: one.name),
        "id": lines(lambda one: one.id),
        "image": lines(lambda one: one.image),
        "state": lines(lambda one: one.state),
        "health": lines(lambda one: one.health),
        "exit_code": lines(lambda one: one.exit_code),
        "changed": changed,
    }


def _place(container: Container) -> tuple[str, int, str]:
    number = container.labels.get(NUMBER, "")
    return (container.labels.get(SERVICE, ""), int(number) if number.isdecimal() else 0, str(container.name))


def no_secret(ref: object) -> str:
    """Refuse a secret in an argument: the engine would show it."""
    raise trouble(
        "E330",
        "the Docker Engine said no",
        f"A Docker call takes no secret ({ref}).",
        "leave the secret out of the call; a container gets its own from its environment",
    )


def _no_engine(error: Exception) -> Unreachable:
    return unreachable(
        "E334",
        "the Docker Engine could not be asked",
        f"{type(error).__name__}: {str(error)[:300]}",
        "docker version    # is the engine running, and may this user use its socket (DOCKER_HOST)?",
    )
