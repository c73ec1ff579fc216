"""A real supervisor per test, in a run directory of its own, ended by its pid."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runbook.transports.supervisor import processes
from runbook.transports.supervisor.client import Supervisor
from runbook.transports.supervisor.requests import Spawn, Stage
from tests.fixtures.patience import eventually

ENV = {"PATH": os.environ["PATH"]}


def sh(script: str, *args: str) -> Stage:
    """A shell script as a stage."""
    return Stage(("sh", "-c", script, "sh", *args), ENV)


def one(operation: str, script: str, **more: object) -> Spawn:
    """An operation of one shell script."""
    return Spawn(id=operation, stages=(sh(script),), **more)  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    """Whether a process of that pid lives."""
    facts = processes.look(pid)
    return facts is not None and facts.lives


def pid_in(path: Path) -> int:
    """The pid that a child writes into a file, as soon as it is there."""
    eventually(lambda: written(path))
    return int(path.read_text())


def written(path: Path) -> bool:
    """Whether something stands in a file already."""
    return path.exists() and path.read_text().strip() != ""


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def started() -> Iterator[list[int]]:
    """Pids to be ended after the test, whatever happened."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        if alive(pid):
            with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def supervisor(run_dir: Path, started: list[int]) -> Iterator[Supervisor]:
    found = Supervisor.start(run_dir)
    started.append(found.pid)
    yield found
    found.close()


@pytest.fixture
def engine(run_dir: Path, started: list[int]) -> Callable[[str], subprocess.Popen[str]]:
    """Another process that talks to the supervisor of ``run_dir``; it may be killed."""

    def start(script: str) -> subprocess.Popen[str]:
        head = f"""
            import pathlib
            from runbook.transports.supervisor.client import *
            from runbook.transports.supervisor.requests import *
            run_dir = pathlib.Path({str(run_dir)!r})
            ENV = {ENV!r}
            supervisor = Supervisor.start(run_dir)
        """
        code = textwrap.dedent(head) + textwrap.dedent(script)
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        started.append(process.pid)
        return process

    return start
