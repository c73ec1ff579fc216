"""Ends by force: requests, deadlines, descendants that hide, leftovers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runbook.transports.supervisor.client import Supervisor
from runbook.transports.supervisor.records import State, read_children
from runbook.transports.supervisor.requests import Ended, Lifetime, Why
from tests.fixtures.patience import LONGER_S, PATIENCE_S, eventually

from .conftest import alive, one, pid_in, written

HIDING = {
    "child": "sleep 300 & echo $! >{f}; wait",
    "own session": "setsid sleep 300 & echo $! >{f}; wait",
    "double fork": "(setsid sh -c 'sleep 300 & echo $! >{f}' &) ; sleep 300",
    "orphan": "(setsid sh -c 'echo $$ >{f}; exec sleep 300' &) ; sleep 300",
    "no environment, known parent": "env -i setsid sleep 300 & echo $! >{f}; wait",
    "ignores TERM": "trap '' TERM; setsid sh -c 'echo $$ >{f}; sleep 300; sleep 300' & wait; wait; sleep 300",
    "stopped": "setsid sh -c 'echo $$ >{f}; kill -STOP $$' & wait; sleep 300",
}


def out_of_time(supervisor: Supervisor, script: str, pid_file: Path, **more: object) -> tuple[Ended, int]:
    """The end of a script by its time limit, which is reached only after it has written its pid, however slow the machine is."""
    for number, timeout_s in enumerate(LONGER_S):
        ended = supervisor.spawn(one(f"a{number}", script, timeout_s=timeout_s, **more))
        if written(pid_file):
            return ended, int(pid_file.read_text())
    raise AssertionError("it never came as far as its pid")


@pytest.mark.parametrize("how", HIDING)
def test_a_timeout_leaves_no_descendant(supervisor: Supervisor, tmp_path: Path, started: list[int], how: str) -> None:
    script = HIDING[how].replace("{f}", str(tmp_path / "pid"))
    ended, pid = out_of_time(supervisor, script, tmp_path / "pid", grace_s=0.4)
    started.append(pid)
    assert ended.why is Why.TIMED_OUT
    assert not alive(pid)
    assert ended.duration_s < 150, "what would sleep for 300 s was not waited for"


def test_term_comes_first_and_lets_it_clean_up(supervisor: Supervisor, tmp_path: Path) -> None:
    script = f"trap 'echo cleaned >{tmp_path}/c; exit 7' TERM; echo $$ >{tmp_path}/pid; while :; do sleep 0.05; done"
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(supervisor.spawn, one("a", script))
        pid_in(tmp_path / "pid")
        supervisor.kill("a", grace_s=PATIENCE_S)
        ended = call.result(PATIENCE_S)
    assert (ended.why, ended.code) == (Why.KILLED, 7)
    assert (tmp_path / "c").exists()


def test_the_first_reason_stays_and_a_shorter_grace_counts(supervisor: Supervisor, tmp_path: Path) -> None:
    script = f"trap 'echo >{tmp_path}/told' TERM; echo $$ >{tmp_path}/pid; while :; do sleep 0.05; done"
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(supervisor.spawn, one("a", script, timeout_s=600))
        pid_in(tmp_path / "pid")
        supervisor.kill("a", grace_s=600)
        eventually((tmp_path / "told").exists)
        assert not call.done()
        supervisor.kill("a", grace_s=0)
        ended = call.result(PATIENCE_S)
    assert (ended.why, ended.exits[0].signal) == (Why.KILLED, 9)


def test_what_outlives_its_process_is_ended_and_counted(supervisor: Supervisor, tmp_path: Path) -> None:
    ended = supervisor.spawn(one("a", f"(setsid sleep 300 & echo $! >{tmp_path}/pid); exit 0"))
    assert (ended.why, ended.code, ended.leftovers) == (Why.EXITED, 0, 1)
    assert not alive(pid_in(tmp_path / "pid"))


def test_a_leftover_of_one_operation_is_not_taken_for_anothers(supervisor: Supervisor, tmp_path: Path) -> None:
    script = f"(setsid sleep 300 & echo $! >{tmp_path}/pid); exec sleep 300"
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(supervisor.spawn, one("other", script))
        pid = pid_in(tmp_path / "pid")
        assert supervisor.spawn(one("quick", "true")).leftovers == 0
        assert alive(pid)
        supervisor.kill("other", grace_s=2)
        assert other.result(PATIENCE_S).why is Why.KILLED
    assert not alive(pid)


def test_a_daemons_timeout_leaves_what_it_detached(supervisor: Supervisor, tmp_path: Path, started: list[int]) -> None:
    detached = (
        f"setsid sh -c 'echo $$ >{tmp_path}/pid; exec sleep 300'"  # it tells its pid once it has a session of its own
    )
    script = f"({detached} >/dev/null 2>&1 &); exec sleep 300"
    ended, pid = out_of_time(supervisor, script, tmp_path / "pid", lifetime=Lifetime.DAEMON, grace_s=1)
    started.append(pid)
    assert ended.why is Why.TIMED_OUT
    assert alive(pid)


def test_a_deadline_holds_without_an_engine(
    engine: Callable[[str], subprocess.Popen[str]], run_dir: Path, tmp_path: Path
) -> None:
    for number, timeout_s in enumerate(LONGER_S):
        operation, pid_file = f"a{number}", tmp_path / f"pid{number}"
        process = engine(f"""
            stage = Stage(("sh", "-c", "echo $$ >{pid_file}; exec sleep 300"), ENV)
            supervisor.spawn(Spawn(id="{operation}", stages=(stage,), timeout_s={timeout_s}, grace_s=1))
        """)
        while not (_over(run_dir, operation) or written(pid_file)):
            time.sleep(0.01)
        process.kill()
        process.wait()
        if not _over(run_dir, operation):
            break  # else the machine was so slow that its time was over before the engine was gone
    pid = pid_in(pid_file)
    eventually(lambda: not alive(pid))
    eventually(lambda: _over(run_dir, operation))
    ended = read_children(run_dir)[operation].ended
    assert ended is not None
    assert ended.why is Why.TIMED_OUT


def _over(run_dir: Path, operation: str) -> bool:
    child = read_children(run_dir).get(operation)
    return child is not None and child.state is State.ENDED
