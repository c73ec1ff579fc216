"""Containers: found by labels, changed by calls, reached at their own address, and processes and files inside them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from runbook.host import LOCAL, Compose, Docker, Ssh
from runbook.operation import (
    Call,
    Connection,
    Document,
    MakeDirectory,
    Operation,
    Pipeline,
    Process,
    Remove,
    Rename,
    SecretFile,
    Service,
    Sql,
    Stage,
    Write,
    sql,
)
from runbook.secret import MASK, FromEnv
from runbook.transports.outcome import Begun, Failed, Lost, Outcome, Succeeded, Unsettled
from runbook.transports.supervisor.worker import FarState
from runbook.transports.world import World
from tests.fixtures.containers import BASE, ComposeProject, PostgresContainer
from tests.fixtures.patience import PATIENCE_S, Gate, eventually, meanwhile
from tests.transports.conftest import Uses, problem_of

if TYPE_CHECKING:
    from docker.models.containers import Container

pytestmark = pytest.mark.docker
Projects = Callable[..., ComposeProject]
MARKER = "rb_run_1"
CANARY = "canary-in-container-9"


def call(operation: str, **arguments: str | int) -> Call:
    reads = operation in ("health", "inspect")
    return Call(
        name="c", service=Service.DOCKER, operation=operation, arguments=Document(tuple(arguments.items())), reads=reads
    )


def done(outcome: Outcome) -> dict[str, object]:
    assert isinstance(outcome, Succeeded), outcome
    return dict(outcome.fields)


def failed(outcome: Outcome) -> str:
    assert isinstance(outcome, Failed), outcome
    return outcome.problem.render()


def test_stop_and_start_are_idempotent_and_say_whether_they_changed(
    world: World, uses: Uses, compose_project: Projects
) -> None:
    project = compose_project("web")
    for operation, state, changed in (
        ("stop", "exited", True),
        ("stop", "exited", False),
        ("start", "running", True),
        ("start", "running", False),
    ):
        fields = done(world.perform(call(operation, project=project.name, service="web", timeout_s=1), uses()))
        assert (fields["state"], fields["changed"]) == (state, changed)
    by_name = done(world.perform(call("inspect", container=f"{project.name}_web_1"), uses()))
    assert by_name["container"] == f"{project.name}_web_1"


def test_what_has_no_time_left_is_not_killed_instead_of_stopped(
    world: World, uses: Uses, compose_project: Projects
) -> None:
    project = compose_project("web")
    stop = call("stop", project=project.name, service="web")
    assert "the time was over" in failed(world.perform(stop, uses(within_s=-1)))
    assert done(world.perform(call("inspect", project=project.name, service="web"), uses()))["state"] == "running"


def test_what_the_engine_refuses_and_what_is_not_there(world: World, uses: Uses, compose_project: Projects) -> None:
    project = compose_project()
    assert "no such container" in failed(world.perform(call("stop", container="nothing-here"), uses()))
    assert "no such container" in failed(world.perform(call("stop", project=project.name, service="db"), uses()))
    assert "not built yet" in failed(world.perform(call("remove", container="x"), uses()))
    far = Call(
        name="c", service=Service.DOCKER, operation="stop", arguments=Document((("container", "x"),)), host=Ssh("h")
    )
    assert "E390" in failed(world.perform(far, uses()))


def test_containers_are_seen_without_their_environment(world: World, compose_project: Projects) -> None:
    project = compose_project("b")
    project.add("a", environment={"PASSWORD": CANARY}, volumes={"data": "/data"})
    found = world.look.containers(LOCAL, project.name)
    assert [one.service for one in found] == ["a", "b"]
    assert found[0].state == "running"
    assert found[0].mounts == (f"{project.name}_data:/data",)
    assert found[0].address
    assert CANARY not in repr(found)
    assert world.look.container(Compose(project.name, "a")) == found[0]
    assert world.look.container(Docker("nothing-here")) is None
    assert world.look.containers(LOCAL, "nothing-here") == ()


def test_one_off_containers_are_not_the_service(
    world: World, compose_project: Projects, run_container: Callable[..., object]
) -> None:
    project = compose_project("a")
    run_container(labels=project.labels("a") | {"com.docker.compose.oneoff": "True"})
    assert len(world.look.containers(LOCAL, project.name)) == 1


def test_sql_reaches_a_container_at_its_own_address(
    world: World, uses: Uses, pg_container: PostgresContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PG_PASSWORD", pg_container.password)
    host = Compose(pg_container.project.name, pg_container.service)
    connection = Connection(host, "", 5432, pg_container.user, pg_container.database, FromEnv("PG_PASSWORD"))
    operation = Sql(name="q", connection=connection, statements=(sql("SELECT current_database() AS d"),), reads=True)
    assert done(world.perform(operation, uses()))["d"] == pg_container.database
    assert world.look.login(connection, FromEnv("PG_PASSWORD")) is True
    pg_container.container.stop(timeout=5)
    assert "is exited, not running" in failed(world.perform(operation, uses()))


def test_several_networks_are_not_guessed_between(
    world: World, uses: Uses, compose_project: Projects, docker_client: object
) -> None:
    project, other = compose_project("db"), compose_project()
    other.network.connect(project.containers["db"])
    connection = Connection(Compose(project.name, "db"), "", 5432, "u", "d", None)
    try:
        said = failed(world.perform(Sql(name="q", connection=connection, statements=(sql("SELECT 1"),)), uses()))
    finally:
        other.network.disconnect(project.containers["db"])
    assert "several networks" in said
    assert f"{project.name}_default" in said


@pytest.fixture
def box(compose_project: Projects) -> Compose:
    """A container with a shell, as a host."""
    return Compose(compose_project("box").name, "box")


def test_a_process_runs_in_a_container(world: World, uses: Uses, box: Compose) -> None:
    script = 'cat; id -un; pwd; echo "$OWN"; echo err >&2; exit 3'
    operation = Process(
        name="p",
        argv=("sh", "-c", script),
        host=box,
        user="nobody",
        cwd="/tmp",
        stdin="in\n",
        env=(("OWN", "a b'c"),),
        ok_codes=(3,),
    )
    fields = done(world.perform(operation, uses()))
    assert (fields["exit_code"], fields["stdout"]) == (3, "in\nnobody\n/tmp\na b'c\n")
    assert fields["stderr"] == "err\n"
    assert "exit code 4" in failed(
        world.perform(Process(name="p", argv=("sh", "-c", "exit 4"), host=box), uses("s/1/1/q"))
    )
    missing = world.perform(Process(name="p", argv=("no-such-program",), host=box), uses("s/1/1/r"))
    assert isinstance(missing, Failed)


def test_a_secret_in_a_container_is_in_no_argv_and_no_output(
    world: World, uses: Uses, box: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", CANARY)
    script = (
        'stat -Lc %a "$FILE"; cat "$FILE"; tr "\\0" "\\n" < /proc/self/cmdline; cat /proc/[0-9]*/cmdline | tr "\\0" " "'
    )
    operation = Process(
        name="p",
        argv=("sh", "-c", script),
        host=box,
        env=(("FILE", SecretFile(("password=", FromEnv("CANARY"), "\n"))), ("PASSWORD", FromEnv("CANARY"))),
    )
    fields = done(world.perform(operation, uses()))
    assert str(fields["stdout"]).startswith(f"600\npassword={MASK}\n")
    assert str(fields["stdout"]).count(MASK) == 1
    left = world.look.probe(box, ("find", "/tmp", "/dev/shm", "-type", "f", "-exec", "grep", "-l", CANARY, "{}", "+"))
    assert left.stdout == ""


def test_a_pipeline_goes_through_a_container(world: World, uses: Uses, box: Compose, tmp_path: object) -> None:
    stages = (
        Stage(argv=("head", "-c", "2000000", "/dev/zero"), host=box),
        Stage(argv=("gzip", "-c")),
        Stage(argv=("gunzip",), host=box),
    )
    operation = Pipeline(name="p", stages=stages, sink=f"{tmp_path}/out.partial")
    fields = done(world.perform(operation, uses()))
    assert (fields["bytes"], fields["exit_codes"]) == (2_000_000, "0 0 0")


def alive(world: World, box: Compose, word: str) -> bool:
    ran = world.look.probe(box, ("sh", "-c", f"cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c '[s]leep {word}'"))
    return ran.stdout.strip() != "0"


def test_a_timeout_ends_it_in_the_container_too(world: World, uses: Uses, box: Compose) -> None:
    for number, within_s in enumerate((6.0, 30.0, 120.0)):
        outcome = world.perform(
            Process(name="p", argv=("sleep", "4711"), host=box), uses(f"s/1/{number}/p", within_s=within_s)
        )
        if isinstance(outcome, Lost):
            break  # else the engine was so busy that it hadn't begun
    assert isinstance(outcome, Lost)
    assert not alive(world, box, "4711")


def test_a_stop_ends_it_in_the_container_too(world: World, uses: Uses, box: Compose) -> None:
    with meanwhile(lambda: alive(world, box, "4712"), lambda: world.stop("step", 10.0)):
        outcome = world.perform(Process(name="p", argv=("sleep", "4712"), host=box), uses())
    assert isinstance(outcome, Lost)
    eventually(lambda: not alive(world, box, "4712"))


def test_a_killed_container_is_not_a_failure_of_the_process(
    world: World, uses: Uses, compose_project: Projects
) -> None:
    project = compose_project("box")
    host = Compose(project.name, "box")
    sleeper = Process(name="p", argv=("sleep", "4713"), host=host)
    with meanwhile(lambda: alive(world, host, "4713"), project.containers["box"].kill):
        outcome = world.perform(sleeper, uses())
    assert isinstance(outcome, Lost)
    begun = Begun("step/1/1/op", sleeper, tuple(uses.notes))
    assert isinstance(world.fence(begun, uses()), Unsettled | Lost)


def test_what_can_not_be_ended_in_a_container_has_not_failed(
    world: World, uses: Uses, compose_project: Projects, gate: Gate
) -> None:
    """It sees the end of its input, may take that for the end of the data, and works on: how it ends isn't known here."""
    project = compose_project("box")
    box, host = project.containers["box"], Compose(project.name, "box")

    def pause_and_go_on() -> None:
        box.pause()
        gate.open()

    stages = (
        Stage(argv=("sh", "-c", f"echo half; {gate.wait}; exit 3")),
        Stage(argv=("sh", "-c", "touch /tmp/begun; cat >/tmp/all"), host=host),
    )
    try:
        with meanwhile(lambda: world.look.text(host, "/tmp/begun") is not None, pause_and_go_on):
            outcome = world.perform(Pipeline(name="p", stages=stages), uses())
    finally:
        box.unpause()
    assert isinstance(outcome, Lost)
    assert "sh: exit code 3" in problem_of(outcome)


def test_the_fence_waits_for_the_far_side(
    world: World, uses: Uses, box: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The local client is killed, as with a whole machine's engine; the process in the container goes on and ends."""
    script = "touch /tmp/begun; until [ -e /tmp/go ]; do sleep 0.1; done; echo once >> /tmp/ledger"
    operation = Process(name="op", argv=("sh", "-c", script), host=box)
    stopped = threading.Thread(target=lambda: world.perform(operation, uses("step/1/1/op")), daemon=True)
    stopped.start()
    eventually(lambda: uses.notes and world.look.text(box, "/tmp/begun") is not None)
    begun = Begun("other/1/1/op", operation, tuple(uses.notes))  # an id that no supervisor here knows
    asked: list[bool] = []
    state = world._far._state

    def ask(*about: object) -> FarState | None:
        asked.append(True)
        return state(*about)  # type: ignore[arg-type]

    monkeypatch.setattr(world._far, "_state", ask)
    with meanwhile(lambda: len(asked) > 1, lambda: world.look.probe(box, ("touch", "/tmp/go"))):
        settled = world.fence(begun, uses("other/1/1/op"))
    assert world.look.text(box, "/tmp/ledger") == "once\n"
    assert settled == Succeeded({"exit_code": 0, "log": ""})
    stopped.join(PATIENCE_S)


def test_files_in_a_container(world: World, uses: Uses, box: Compose) -> None:
    def perform(operation: Operation) -> Outcome:
        return world.perform(operation, uses())

    done(perform(MakeDirectory(name="m", path=f"/srv/{MARKER}/a b", host=box, mode=0o750, owner="nobody")))
    folder = world.look.file(box, f"/srv/{MARKER}/a b")
    assert folder is not None
    assert (folder.kind, folder.mode, folder.owner) == ("directory", 0o750, "nobody")
    path = f"/srv/{MARKER}/a b/ü"
    done(perform(Write(name="w", path=path, content="it's\n", host=box, mode=0o640)))
    assert world.look.text(box, path) == "it's\n"
    written = world.look.file(box, path)
    assert written is not None
    assert (written.kind, written.mode, written.bytes) == ("file", 0o640, 5)
    assert [one.path for one in world.look.listing(box, f"/srv/{MARKER}/a b")] == [path]
    assert world.look.listing(box, "/nothing") == ()
    assert world.look.file(box, "/nothing") is None
    assert world.look.text(box, "/nothing") is None
    assert world.look.free_bytes(box, "/nothing/below") > 0
    rename = Rename(name="r", source=path, target=f"/srv/{MARKER}/new", host=box)
    done(perform(rename))
    done(perform(Write(name="w", path=path, content="other", host=box)))
    assert "never replaces" in failed(perform(rename))
    assert world.look.text(box, f"/srv/{MARKER}/new") == "it's\n"
    assert "run's name" in failed(perform(Remove(name="x", path="/etc", marker=MARKER, host=box)))
    world.look.probe(box, ("ln", "-s", "/srv", "/linked"))
    assert "symbolic link" in failed(perform(Remove(name="x", path=f"/linked/{MARKER}", marker=MARKER, host=box)))
    assert done(perform(Remove(name="x", path=f"/srv/{MARKER}", marker=MARKER, host=box))) == {"removed": True}
    assert world.look.file(box, f"/srv/{MARKER}") is None
    assert done(perform(Remove(name="x", path=f"/srv/{MARKER}", marker=MARKER, host=box))) == {"removed": False}


def test_what_is_mounted_in_a_tree_keeps_it_from_being_removed(
    world: World, uses: Uses, run_container: Callable[..., Container]
) -> None:
    """An overlay gives its files and folders several device numbers, so the table of mounts is asked, not they."""
    at = f"/srv/{MARKER}/kept"
    container = run_container(BASE, ["sleep", "infinity"], tmpfs={at: ""})
    host = Docker(str(container.name))
    assert f"mounted at {at}" in failed(
        world.perform(Remove(name="x", path=f"/srv/{MARKER}", marker=MARKER, host=host), uses())
    )
