"""Containers: one is killed, the client of an exec is killed, the Docker Engine does not answer any more.

The Engine is shared by all tests, so it is not stopped here: its socket is cut off and given back (see test_engine.py).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runner.killed_program import Program
from tests.trouble.containers import begun, ended, go, marks, resume
from tests.trouble.night import DONE, WAITS
from tests.trouble.ways import Way

if TYPE_CHECKING:
    from docker.models.containers import Container

pytestmark = pytest.mark.docker
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


def test_the_client_of_an_exec_is_killed(program: Program, box: Container) -> None:
    begun(program, str(box.name))
    _, (client,) = program.pids()
    os.kill(client, signal.SIGKILL)
    code, said = ended(program)
    assert code == WAITS, said
    assert LOST in said
    assert program.statuses() == {"a": "unknown", "b": "pending"}
    assert marks(str(box.name)) == ["a"], "it runs on in the container"
    go(str(box.name))
    code, said = resume(program)
    assert code == DONE, said
    assert marks(str(box.name)) == ["a", "over"], "once: its end was found there"
    assert program.marks() == ["b"]


@pytest.mark.parametrize("tmpfs", [{}, {"/tmp": ""}], ids=["its records stay", "its records go with it"])
def test_the_container_is_killed(
    program: Program, run_container: Callable[..., Container], tmpfs: dict[str, str]
) -> None:
    """What ran in it is gone, and nobody saw how: not before the container runs again, and not after."""
    box = run_container(tmpfs=tmpfs)
    begun(program, str(box.name))
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
    assert marks(str(box.name)) == ["a"]
    assert program.run("resolve", "last", "a", "--as", "not-done", "--reason", "it was killed") == DONE
    go(str(box.name))
    code, said = resume(program)
    assert code == DONE, said
    assert marks(str(box.name)) == ["a", "a", "over"]
    assert program.marks() == ["b"]


def test_the_engine_is_away_for_a_while(program: Program, box: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    with Way(SOCKET, at=program.directory / "docker.sock") as way:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{program.directory}/docker.sock")
        begun(program, str(box.name))
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
        assert marks(str(box.name)) == ["a"]
        go(str(box.name))
        code, said = resume(program)
        assert code == DONE, said
        assert marks(str(box.name)) == ["a", "over"], "once"
        assert program.marks() == ["b"]
