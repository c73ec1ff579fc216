"""This machine, as it is: what is read is so, and nothing is made by it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runbook.doctor import machine
from runbook.doctor.facts import Filter

HEAVY = {"boto3", "botocore", "docker", "psycopg", "networkx", "apprise", "httpx", "rich"}
PROBE = """
import json, sys
from pathlib import Path
from runbook.catalogue import CATALOGUE
from runbook.doctor.gather import gather
gather([], Path(sys.argv[1]), CATALOGUE)
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def test_this_python_and_its_libraries() -> None:
    found = machine.python()
    assert found.version == sys.version_info[:3]
    assert found.filter in Filter
    assert str(found) == sys.version.split()[0].split("+")[0]
    assert all(library.version for library in machine.libraries()), "they are all needed by the tests"


def test_without_an_environment_no_clients_library_is_loaded_and_nothing_is_made(tmp_path: Path) -> None:
    state = tmp_path / "state"
    argv = [sys.executable, "-c", PROBE, str(state)]
    ended = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=300)
    assert set(json.loads(ended.stdout)) & HEAVY == set()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o750])
def test_a_state_directory(tmp_path: Path, mode: int) -> None:
    place = tmp_path / "state"
    place.mkdir()
    place.chmod(mode)
    found = machine.state_directory(place)
    assert (found.there, found.mode, found.owner, found.writable) == (True, mode, os.geteuid(), True)
    assert found.problem is None
    assert 0 < found.free_bytes < 2**60


def test_a_state_directory_that_is_not_there_yet(tmp_path: Path) -> None:
    found = machine.state_directory(tmp_path / "a" / "b")
    assert (found.there, found.writable, found.problem) == (False, True, None)
    assert found.free_bytes > 0


def test_a_state_directory_that_a_run_would_refuse(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    tmp_path.chmod(0o777)
    problem = machine.state_directory(tmp_path).problem
    assert problem is not None
    assert problem.code == "E472"
    not_one = machine.state_directory(tmp_path / "file").problem
    assert not_one is not None
    assert not_one.code == "E713"


def test_a_plans_file_and_its_directory(tmp_path: Path) -> None:
    plan = tmp_path / "p.yaml"
    plan.touch()
    plan.chmod(0o666)
    tmp_path.chmod(0o1777)
    file, folder = machine.plan_files([plan, plan])
    assert (file.path, file.mode, file.sticky) == (str(plan), 0o666, False)
    assert (folder.path, folder.mode, folder.sticky) == (str(tmp_path), 0o1777, True)


def test_the_clock_knows_the_newest_run(tmp_path: Path) -> None:
    (tmp_path / "runs" / "20260214-120000-small-4f3a").mkdir(parents=True)
    (tmp_path / "runs" / "20310101-000000-small-4f3a").mkdir()
    found = machine.Started.now().read(tmp_path)
    assert found.newest_run == datetime(2031, 1, 1, tzinfo=UTC)
    assert abs(found.stepped_s) < 1
    assert machine.Started.now().read(tmp_path / "none").newest_run is None


def test_a_clock_that_is_set_meanwhile(tmp_path: Path) -> None:
    now = machine.Started.now()
    earlier = machine.Started(now.wall_s - 100, now.monotonic_s)
    assert 99 < earlier.read(tmp_path).stepped_s < 110


@contextmanager
def listening(path: Path, answer: bytes) -> Iterator[None]:
    """A server on a socket of this name that says the same to whoever comes first."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(str(path))
        door.listen()

        def serve() -> None:
            line, _ = door.accept()
            with line:
                line.recv(1024)
                line.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(60)


@pytest.fixture
def engine_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """``DOCKER_HOST`` is a socket of that name."""

    def at(name: str) -> Path:
        place = tmp_path / name
        monkeypatch.setenv("DOCKER_HOST", f"unix://{place}")
        return place

    return at


def test_an_engine_that_answers(engine_at: Callable[[str], Path]) -> None:
    with listening(engine_at("d.sock"), b"HTTP/1.0 200 OK\r\n\r\nOK"):
        found = machine.engine()
    assert (found.there, found.answered, found.problem) == (True, True, "")


def test_an_engine_that_says_no(engine_at: Callable[[str], Path]) -> None:
    with listening(engine_at("d.sock"), b"HTTP/1.0 500 Oh\r\n\r\n"):
        found = machine.engine()
    assert (found.answered, found.problem) == (False, "it answered 'HTTP/1.0 500 Oh'")


def test_an_engine_that_is_not_there(engine_at: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    engine_at("none")
    found = machine.engine()
    assert (found.there, found.answered, found.problem) == (False, False, "No such file or directory")
    monkeypatch.setenv("DOCKER_HOST", "ssh://somewhere")
    assert "ssh://" in machine.engine().problem
    monkeypatch.setenv("DOCKER_HOST", "tcp://nonsense")
    assert not machine.engine().answered
