"""A supervisor that was stopped (SIGSTOP) answers nobody: its engine says so and what to do, and waits for no answer for ever."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from runbook.transports.supervisor import line, processes
from runbook.transports.supervisor.client import Supervisor, SupervisorLost
from runbook.transports.supervisor.records import State, read_children
from runbook.transports.supervisor.requests import Spawn, Text
from tests.fixtures.patience import Gate, eventually

from .conftest import one, sh

TOLD_WITHIN_S = 20.0
"""It is looked every 0.1 s in these tests."""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "LOOKS_EVERY_S", 0.1)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """It stands still for that long."""
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: processes.stopped(pid))
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_whoever_waits_is_told_and_the_child_goes_on(supervisor: Supervisor, run_dir: Path, tmp_path: Path) -> None:
    gates = {name: Gate(tmp_path / name) for name in ("a", "b")}
    with ThreadPoolExecutor() as pool:
        waits = [pool.submit(supervisor.spawn, one(name, f"{gate.wait}; echo done")) for name, gate in gates.items()]
        eventually(lambda: set(supervisor.status()) == {"a", "b"})
        try:
            with stopped(supervisor.pid):
                for waiting in waits:
                    with pytest.raises(SupervisorLost) as lost:
                        waiting.result(TOLD_WITHIN_S)
                    (problem,) = lost.value.problems
                    assert str(supervisor.pid) in problem.detail
                    assert problem.fix == f"kill -CONT {supervisor.pid}; then `runbook resume`"
                assert not supervisor.connected
        finally:
            for gate in gates.values():
                gate.open()
    eventually(lambda: all(read_children(run_dir)[name].state is State.ENDED for name in ("a", "b")))
    found = Supervisor.start(run_dir)
    ended = found.wait("a")
    found.close()
    assert ended is not None
    assert ended.stdout.text == "done\n"


def test_no_second_one_is_started_beside_it(supervisor: Supervisor, run_dir: Path) -> None:
    supervisor.close()
    with stopped(supervisor.pid), pytest.raises(SupervisorLost, match=f"its process {supervisor.pid} is stopped"):
        Supervisor.start(run_dir)
    again = Supervisor.start(run_dir)
    assert again.pid == supervisor.pid
    again.close()


def test_however_many_ask_each_is_told(supervisor: Supervisor, run_dir: Path) -> None:
    supervisor.close()
    with stopped(supervisor.pid):
        for _ in range(12):  # more than the kernel keeps waiting
            with pytest.raises(SupervisorLost, match=f"its process {supervisor.pid} is stopped"):
                Supervisor.attach(run_dir)
    eventually(lambda: _attached(run_dir))


def _attached(run_dir: Path) -> bool:
    found = Supervisor.attach(run_dir)
    if found is not None:
        found.close()
    return found is not None


def test_what_is_larger_than_the_kernel_takes_is_not_sent_for_ever(supervisor: Supervisor, run_dir: Path) -> None:
    large = Spawn(id="large", stages=(sh("cat >/dev/null"),), input=Text("x" * 4_000_000))
    with stopped(supervisor.pid):
        with pytest.raises(SupervisorLost, match="is stopped"):
            supervisor.spawn(large)
        with pytest.raises(SupervisorLost, match="is stopped"):
            supervisor.kill("large")
    supervisor.close()
    again = Supervisor.start(run_dir)
    assert again.spawn(large).code == 0, "what was sent in part is nothing"
    again.close()


def test_one_that_goes_on_soon_is_waited_for(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def once(pid: int) -> bool:
        looked.append(pid)
        return len(looked) % 2 == 1  # never twice in a row

    monkeypatch.setattr(processes, "stopped", once)
    ended = supervisor.spawn(one("a", "sleep 0.5; echo done"))
    assert (ended.stdout.text, len(looked) >= 3) == ("done\n", True)
