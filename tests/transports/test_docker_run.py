"""One-off containers: their volumes, their end, what an earlier executor left; and files of a container that is stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runbook.host import Compose, Ssh
from runbook.operation import Call, Document, DocumentValue, Process, Service
from runbook.secret import FromFile
from runbook.transports import docker_run
from runbook.transports.bound import Bound
from runbook.transports.outcome import Begun, Failed, Lost, NeverStarted, Outcome, Settled, Succeeded, Unsettled
from runbook.transports.world import World
from tests.fixtures.containers import BASE, ComposeProject, exec_in
from tests.fixtures.patience import PATIENCE_S
from tests.transports.conftest import Uses

if TYPE_CHECKING:
    from docker.models.containers import Container

pytestmark = pytest.mark.docker
Projects = Callable[..., ComposeProject]
LABELS = {"runbook.run": "r-1", "runbook.step": "s", "runbook.operation": "c"}


@pytest.fixture
def project(compose_project: Projects) -> ComposeProject:
    """A project with the service ``db``, which has the volume /data."""
    made = compose_project()
    made.add("db", volumes={"data": "/data"}, environment={"SECRET": "x"})
    return made


def script(project: ComposeProject, text: str, *more: tuple[str, DocumentValue]) -> Call:
    labels = Document((*LABELS.items(), ("project", project.name)))
    given: tuple[tuple[str, DocumentValue], ...] = (("argv", ("sh", "-c", text)), ("labels", labels), *more)
    return Call(
        name="c",
        service=Service.DOCKER,
        operation="run",
        arguments=Document(given),
        host=Compose(project.name, "db"),
    )


def left(project: ComposeProject) -> list[Container]:
    return project.client.containers.list(all=True, ignore_removed=True, filters={"label": f"project={project.name}"})


def began(project: ComposeProject, text: str) -> Container:
    """A one-off container as an executor that was killed leaves it."""
    return project.client.containers.create(
        BASE,
        ["-c", text],
        entrypoint=["sh"],
        labels={**LABELS, "project": project.name},
        volumes_from=[str(project.containers["db"].id)],
    )


def told(outcome: Outcome | Settled) -> str:
    assert isinstance(outcome, Failed | Lost), outcome
    return outcome.problem.render()


def test_it_works_on_the_volumes_of_a_stopped_container(world: World, uses: Uses, project: ComposeProject) -> None:
    write = script(project, 'id -u > /data/who; echo said; echo wrong >&2; printf %s "$SECRET"')
    assert "has not stopped" in told(world.perform(write, uses()))
    project.containers["db"].stop(timeout=1)
    outcome = world.perform(write, uses())
    assert isinstance(outcome, Succeeded)
    assert (outcome.fields["exit_code"], outcome.fields["stdout"], outcome.fields["stderr"]) == (0, "said\n", "wrong\n")
    assert left(project) == []
    seen = world.look.file(write.host, "/data/who")
    assert seen is not None
    assert (seen.kind, seen.bytes, seen.inode, seen.owner) == ("file", 2, 0, "")
    folder = world.look.file(write.host, "/data")
    assert folder is not None
    assert folder.kind == "directory"
    assert world.look.file(write.host, "/data/nothing") is None
    project.containers["db"].start()
    assert project.containers["db"].exec_run(["cat", "/data/who"])[1] == b"0\n"


def test_its_exit_code_counts(world: World, uses: Uses, project: ComposeProject) -> None:
    project.containers["db"].stop(timeout=1)
    outcome = world.perform(script(project, "echo no such thing >&2; exit 3"), uses())
    assert "exit code 3: no such thing" in told(outcome)
    assert left(project) == []
    far = script(project, "true")
    assert "E390" in told(world.perform(Call(**{**_fields(far), "host": Compose("p", "s", Ssh("h"))}), uses()))  # type: ignore[arg-type]


def _fields(call: Call) -> dict[str, object]:
    return {name: getattr(call, name) for name in ("name", "service", "operation", "arguments", "host")}


def test_what_was_begun_is_waited_for_and_adopted(world: World, uses: Uses, project: ComposeProject) -> None:
    project.containers["db"].stop(timeout=1)
    one = script(project, "echo again >> /data/log")
    begun = Begun("s/1/1/c", one)
    assert world.fence(begun, uses()) == Unsettled(), "nothing is left: only the world can tell"
    began(project, "true")
    assert world.fence(begun, uses()) == NeverStarted()
    began(project, "sleep 1; echo first >> /data/log").start()
    settled = world.fence(begun, uses())
    assert isinstance(settled, Succeeded)
    began(project, "exit 4").start()
    assert "exit code 4" in told(world.fence(begun, uses()))
    slow = began(project, "sleep 600")
    slow.start()
    assert "works on the volumes still" in told(world.fence(begun, uses(within_s=0.5)))
    slow.kill()
    assert left(project) == [slow]
    assert isinstance(world.perform(one, uses()), Succeeded)
    assert left(project) == []


def test_one_that_was_killed_says_nothing_of_how_far_it_came(world: World, uses: Uses, project: ComposeProject) -> None:
    project.containers["db"].stop(timeout=1)
    killed = began(project, "sleep 600")
    killed.start()
    killed.kill()
    assert world.fence(Begun("s/1/1/c", script(project, "true")), uses()) == Unsettled()
    assert left(project) == []


def test_what_it_may_have(world: World, uses: Uses, project: ComposeProject, tmp_path: Path) -> None:
    """The user whose file it is, the stopped one's networks, and a secret that nobody else is told."""
    db, secret = project.containers["db"], tmp_path / "secret"
    assert db.exec_run(["sh", "-c", "touch /data/own && chown 1234:1235 /data/own"])[0] == 0
    other = project.client.networks.create(f"{project.name}_other", labels={"com.docker.compose.project": project.name})
    try:
        other.connect(db)
        project.add("peer")
        db.stop(timeout=1)
        secret.touch(mode=0o600)
        secret.write_text("it's \\ a: secret")
        inside = 'id -u; id -g; grep -c eth /proc/net/dev; getent hosts peer; echo "$PASSWORD"; ls -A /.runbook-secrets'
        one = script(
            project,
            f"set -e; {{ {inside}; }} > /data/own; until [ -e /tmp/go ]; do sleep 0.1; done",
            ("user_of", "/data/own"),
            ("network", "own"),
            ("secrets", Document((("PASSWORD", FromFile(str(secret))),))),
        )
        outcomes: list[Outcome] = []
        thread = threading.Thread(target=lambda: outcomes.append(world.perform(one, uses())))
        thread.start()
        running: list[Container] = []
        while thread.is_alive() and not running:
            running = [each for each in left(project) if each.status == "running"]
        told_of = str([each.attrs for each in running])
        exec_in(running[0], ["touch", "/tmp/go"])
        thread.join(PATIENCE_S)
        assert isinstance(outcomes[0], Succeeded), outcomes
        assert "a: secret" not in told_of
        db.start()
        said = exec_in(db, ["cat", "/data/own"])[1].decode().splitlines()
        assert said[:3] == ["1234", "1235", "2"], "two networks; some kernels put tunnels beside them"
        assert said[3].split()[1] == "peer"
        assert said[4:] == ["it's \\ a: secret"], "and its file is gone"
        db.stop(timeout=1)
        lost = world.perform(script(project, "true", ("user_of", "/data/nothing")), uses())
        assert "can't be seen" in told(lost)
        assert left(project) == []
    finally:
        project.remove()
        other.remove()


def test_one_that_runs_still_is_not_joined_by_another(
    world: World, uses: Uses, project: ComposeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.containers["db"].stop(timeout=1)
    first = began(project, "until [ -e /data/go ]; do sleep 0.1; done; echo first >> /data/log")
    first.start()
    asked, ended = threading.Event(), docker_run._ended

    def ask(one: Container, bound: Bound) -> bool:
        asked.set()
        return ended(one, bound)

    monkeypatch.setattr(docker_run, "_ended", ask)
    outcomes: list[Outcome] = []
    after = script(project, "cat /data/log")
    thread = threading.Thread(target=lambda: outcomes.append(world.perform(after, uses())))
    thread.start()
    assert asked.wait(PATIENCE_S), "whether the first one has ended"
    time.sleep(0.3)
    assert left(project) == [first]
    exec_in(first, ["touch", "/data/go"])
    thread.join(PATIENCE_S)
    assert isinstance(outcomes[0], Succeeded)
    assert outcomes[0].fields["stdout"] == "first\n"


def test_a_process_in_a_stopped_container_is_not_begun(world: World, uses: Uses, project: ComposeProject) -> None:
    project.containers["db"].stop(timeout=1)
    process = Process(name="p", argv=("true",), host=Compose(project.name, "db"))
    assert "is exited, not running" in told(world.perform(process, uses()))
