"""Containers: one is killed, the client of an exec is killed, the Docker Engine does not answer any more.

The Engine is the tests' own and shared, so it is not restarted: its socket is cut off and given back, which is what a client
sees of that; that its containers end with it is the case of the container that is killed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.evidence.witness import until
from tests.fixtures.containers import exec_in
from tests.runner.killed_program import PATIENCE_S, Program, eventually
from tests.trouble.night import DONE, WAITS, WITHIN_S
from tests.trouble.ways import Way

if TYPE_CHECKING:
    from docker.models.containers import Container

pytestmark = pytest.mark.docker
LEDGER = "/tmp/ledger"
LOST = "the connection to a process in a container was lost"
SOCKET = Path(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://"))


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    made = Program(tmp_path)
    yield made
    made.close()


@pytest.fixture
def box(run_container: Callable[..., Container]) -> Container:
    return run_container()


def marks(box: Container) -> list[str]:
    """What was done in the container, how often."""
    code, output = exec_in(box, ["cat", LEDGER])
    return output.decode().split() if code == 0 else []


def go(box: Container) -> None:
    assert exec_in(box, ["touch", "/tmp/go"])[0] == 0


def begun(program: Program, box: Container) -> None:
    """A plan whose first step waits in the container."""
    inside = {"docker": str(box.name)}
    waits = f"echo a >> {LEDGER}; until [ -e /tmp/go ]; do sleep 0.05; done; echo over >> {LEDGER}"
    first = {"id": "a", "title": "Run a", "uses": "shell.run", "timeout": "60s"}
    path = program.write(
        {**first, "with": {"argv": ["sh", "-c", waits], "host": inside}},  # type: ignore[dict-item]
        program.step("b"),
    )
    program.start("apply", path)
    until(lambda: marks(box) == ["a"], WITHIN_S, "the step runs in the container")
    eventually(program.recorded)


def ended(program: Program) -> tuple[int, str]:
    out, told = program.running[-1].communicate(timeout=PATIENCE_S)
    assert "Traceback" not in out + told
    assert "bug in runbook" not in out + told
    return program.running[-1].returncode, out + told


def resume(program: Program) -> tuple[int, str]:
    program.start("resume")
    return ended(program)


def test_the_client_of_an_exec_is_killed(program: Program, box: Container) -> None:
    begun(program, box)
    _, (client,) = program.pids()
    os.kill(client, signal.SIGKILL)
    code, said = ended(program)
    assert code == WAITS, said
    assert LOST in said
    assert program.statuses() == {"a": "unknown", "b": "pending"}
    assert marks(box) == ["a"], "it runs on in the container"
    go(box)
    code, said = resume(program)
    assert code == DONE, said
    assert marks(box) == ["a", "over"], "once: its end was found there"
    assert program.marks() == ["b"]


def test_the_container_is_killed(program: Program, box: Container) -> None:
    """What ran in it is gone, and nobody saw how: not before the container runs again, and not after."""
    begun(program, box)
    box.kill()
    code, said = ended(program)
    assert code == WAITS, said
    assert f"It ran in docker:{box.name}, and was ended there, or with the container." in said
    assert "docker ps --all" in said
    code, said = resume(program)
    assert code == WAITS, said
    box.start()
    code, said = resume(program)
    assert code == WAITS, said
    assert f"runbook resolve {program.run_directory().name} a" in said
    assert marks(box) == ["a"]
    assert program.run("resolve", "last", "a", "--as", "not-done", "--reason", "it was killed") == DONE
    go(box)
    code, said = resume(program)
    assert code == DONE, said
    assert marks(box) == ["a", "a", "over"]
    assert program.marks() == ["b"]


def test_the_engine_is_away_for_a_while(program: Program, box: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    with Way(SOCKET, at=program.directory / "docker.sock") as way:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{program.directory}/docker.sock")
        begun(program, box)
        way.lose()
        code, said = ended(program)
        assert code == WAITS, said
        assert LOST in said
        assert "the Docker Engine at unix://" in said
        code, said = resume(program)
        assert code == WAITS, said
        assert f"on docker:{box.name} it still runs, or that can't be asked" in said
        assert program.statuses() == {"a": "unknown", "b": "pending"}
        way.mend()
        assert marks(box) == ["a"]
        go(box)
        code, said = resume(program)
        assert code == DONE, said
        assert marks(box) == ["a", "over"], "once"
        assert program.marks() == ["b"]
