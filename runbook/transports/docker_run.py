"""One-off containers: a program with the volumes of a container that is stopped.

Owns the Docker call ``run``. Promises: the container whose volumes it works on does not run when it begins; the one-off container
carries the operation's labels, so that a resume finds it, waits for it and removes it; its exit code is checked; nothing of it
stays. It has the image that the stopped container was made of and no health check; its network, user and secrets are what the
call says (:mod:`runbook.transports.docker_one_off`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runbook.action import Unreachable
from runbook.errors import Problem
from runbook.host import Compose, Docker, Local
from runbook.late import Results
from runbook.operation import Call, Fields
from runbook.transports.bound import Bound
from runbook.transports.docker import DockerEngine, asked
from runbook.transports.docker_one_off import LOOK_FIX, Reveal, create, labels_of, read_one_off
from runbook.transports.outcome import Failed, Lost, NeverStarted, Outcome, Settled, Succeeded, Unsettled
from runbook.transports.trouble import Trouble, not_built, trouble

if TYPE_CHECKING:
    from docker.models.containers import Container

RUN = "run"
LOOKS_EVERY_S = 0.1
ENDS_WITHIN_S = 3600.0
"""How long it is waited for at most, also where the step has no bound."""
LONGEST_TAIL = 40
"""Lines of its output that are kept."""
KILLED = (137, 143, 255)
"""Exit codes of a container that was killed, or went down with the engine or the machine."""
_MOVES = ("running", "restarting", "paused")


def perform_run(engine: DockerEngine, call: Call, results: Results, reveal: Reveal, bound: Bound) -> Outcome:
    """Run ``argv`` with the volumes of the host's container. Result: ``exit_code``, ``stdout``, ``stderr``, ``container``.

    Arguments: ``argv``; ``labels`` (a document), unique to the operation; ``user_of`` (a file), else it runs as root;
    ``network``: "own", else none; ``secrets`` (a document), variables of its environment. An exit code other than 0 is a
    failure. What an earlier executor left of the same operation is waited for and removed first: the program has to bear being
    run again.
    """
    bound = bound.within(ENDS_WITHIN_S)
    try:
        source = _source(engine, call)
        for left in _left(engine, call, results):
            if not _ended(left, bound):
                return _still(left)
            _remove(left)
        one = create(engine, source, read_one_off(call, results, reveal))
    except (Trouble, Unreachable) as error:
        return Failed(error.problem)
    try:
        return _run(one, source, bound)
    except Unreachable as error:
        return Lost(error.problem)


def settle_run(engine: DockerEngine, call: Call, results: Results, bound: Bound) -> Settled | Lost:
    """What came of a run whose end isn't journalled: it is waited for, and removed. Raises Trouble, Unreachable.

    One that was killed says nothing of how far it came.
    """
    found, bound = _left(engine, call, results), bound.within(ENDS_WITHIN_S)
    if not found:
        return Unsettled()  # it was never made, or it ended and was removed: only the world can tell
    settled: Settled | Lost = NeverStarted()
    for one in found:
        if one.status == "created":
            _remove(one)
        elif not _ended(one, bound):
            return _still(one)
        else:
            killed = int(one.attrs["State"].get("ExitCode", -1)) in KILLED
            settled = Unsettled() if killed else _outcome(one, str(call.host))
            _remove(one)
    return settled


def _source(engine: DockerEngine, call: Call) -> Container:
    host = call.host
    if not isinstance(host, Docker | Compose):
        raise trouble(
            "E331",
            "there is no such container",
            "The call names no container.",
            "give the system a `host` that is a container",
        )
    if not isinstance(host.via, Local):
        raise not_built(f"Docker over {host.via}")
    source = engine.one(host)
    if source.status in _MOVES:
        detail = f"{source.name} is {source.status}: its volumes are in use. Nothing was done."
        raise trouble("E335", "the container has not stopped", detail, f"docker stop {source.name}")
    return source


def _run(one: Container, source: Container, bound: Bound) -> Outcome:
    from docker.errors import APIError

    def start() -> APIError | None:
        try:
            one.start()
        except APIError as error:
            return error
        return None

    refused = asked(start)
    if refused is not None:
        _remove(one)
        detail = f"a one-off container beside {source.name}: {refused.explanation or refused}"
        return Failed(Problem("E330", "the Docker Engine said no", detail, LOOK_FIX))
    if not _ended(one, bound):
        return _still(one)
    outcome = _outcome(one, str(source.name))
    _remove(one)
    return outcome


def _left(engine: DockerEngine, call: Call, results: Results) -> list[Container]:
    labels = [f"{key}={value}" for key, value in labels_of(call, results).items()]
    if not labels:
        raise trouble(
            "E330",
            "the Docker Engine said no",
            "A one-off container without labels could not be found again.",
            "give the call labels, by which its container is found again",
        )
    return asked(lambda: engine.client().containers.list(all=True, filters={"label": labels}, ignore_removed=True))


def _ended(one: Container, bound: Bound) -> bool:
    """Wait for its end; False: the bound was met."""
    while True:
        asked(one.reload)
        if one.status not in _MOVES:
            return True
        if bound.over:
            return False
        time.sleep(bound.at_most(LOOKS_EVERY_S))


def _outcome(one: Container, where: str) -> Succeeded | Failed:
    code = int(one.attrs["State"].get("ExitCode", -1))
    out, err = _printed(one, errors=False), _printed(one, errors=True)
    fields: Fields = {"container": where, "exit_code": code, "stdout": out, "stderr": err}
    if code == 0:
        return Succeeded(fields)
    said = (err or out).strip() or "It said nothing."
    detail = f"Beside {where}, exit code {code}: {said}"
    fix = "mend what it says, then try again; the container that said it is gone"
    return Failed(Problem("E336", "the one-off container failed", detail, fix), fields)


def _printed(one: Container, *, errors: bool) -> str:
    def get() -> bytes:
        return one.logs(stdout=not errors, stderr=errors, stream=False, tail=LONGEST_TAIL)

    return asked(get).decode(errors="replace")


def _remove(one: Container) -> None:
    """Without its anonymous volumes: they are those of the stopped container."""
    asked(lambda: one.remove(force=True, v=False))


def _still(one: Container) -> Lost:
    detail = f"The one-off container {one.name} works on the volumes still."
    return Lost(Problem("E333", "the Docker Engine's answer was lost", detail, f"docker logs -f {one.name}"))
