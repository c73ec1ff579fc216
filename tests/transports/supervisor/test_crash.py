"""The table of crashes: whoever is killed, what is known afterwards is true."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runbook.errors import JournalFault
from runbook.transports.supervisor.client import Supervisor, SupervisorLost
from runbook.transports.supervisor.ledger import boot_id, frame
from runbook.transports.supervisor.records import State, end_orphans, read_children, settle
from runbook.transports.supervisor.requests import Why
from tests.fixtures.patience import PATIENCE_S, Gate, eventually
from tests.fixtures.process import works_in

from .conftest import alive, one, pid_in

Engine = Callable[[str], "subprocess.Popen[str]"]


def spawn_sleeper(tmp_path: Path, script: str) -> str:
    return f"""
        stage = Stage(("sh", "-c", "echo $$ >{tmp_path}/pid; {script}"), ENV)
        supervisor.spawn(Spawn(id="a", stages=(stage,)))
    """


def test_a_killed_engine_is_followed_by_one_that_attaches_and_waits(
    engine: Engine, run_dir: Path, tmp_path: Path, started: list[int], gate: Gate
) -> None:
    first = engine(spawn_sleeper(tmp_path, f"{gate.wait}; echo done; exit 4"))
    pid = pid_in(tmp_path / "pid")
    first.kill()
    first.wait()
    assert read_children(run_dir)["a"].state is State.RUNNING
    assert pid in [one.pid for one in read_children(run_dir)["a"].living]
    second = Supervisor.attach(run_dir)
    assert second is not None
    started.append(second.pid)
    assert second.status() == ("a",)
    gate.open()
    ended = second.wait("a")
    assert ended is not None
    assert (ended.why, ended.code, ended.stdout.text) == (Why.EXITED, 4, "done\n")
    second.close()


def test_an_end_between_two_engines_is_read_from_its_record(
    engine: Engine, run_dir: Path, tmp_path: Path, started: list[int], gate: Gate
) -> None:
    first = engine(spawn_sleeper(tmp_path, f"{gate.wait}; exit 9"))
    pid = pid_in(tmp_path / "pid")
    first.kill()
    first.wait()
    gate.open()
    eventually(lambda: not alive(pid))
    second = Supervisor.start(run_dir)
    started.append(second.pid)
    eventually(lambda: (ended := second.wait("a")) is not None and ended.code == 9)
    assert second.wait("never") is None
    second.close()


def test_a_killed_supervisor_leaves_a_child_that_goes_on_and_then_can_not_be_known(
    supervisor: Supervisor, engine: Engine, run_dir: Path, tmp_path: Path, gate: Gate
) -> None:
    process = engine(spawn_sleeper(tmp_path, f"{gate.wait}; echo >{tmp_path}/effect"))
    pid = pid_in(tmp_path / "pid")
    os.kill(supervisor.pid, signal.SIGKILL)
    process.wait()
    assert Supervisor.attach(run_dir) is None
    assert alive(pid)
    assert read_children(run_dir)["a"].state is State.RUNNING
    given_up = settle(run_dir, "a", until=lambda: True)
    assert given_up.state is State.RUNNING
    gate.open()
    child = settle(run_dir, "a", until=lambda: False)
    assert child.state is State.UNKNOWABLE
    assert (tmp_path / "effect").exists()


def test_orphans_of_a_killed_supervisor_are_found_by_their_mark_and_ended(
    supervisor: Supervisor, engine: Engine, run_dir: Path, tmp_path: Path, started: list[int]
) -> None:
    process = engine(spawn_sleeper(tmp_path, f"(setsid sleep 300 & echo $! >{tmp_path}/orphan); exec sleep 300"))
    leader, orphan = pid_in(tmp_path / "pid"), pid_in(tmp_path / "orphan")
    started += [leader, orphan]
    os.kill(supervisor.pid, signal.SIGKILL)
    process.wait()
    os.kill(leader, signal.SIGKILL)
    eventually(lambda: not alive(leader))
    assert [one.pid for one in read_children(run_dir)["a"].living] == [orphan]
    assert end_orphans(run_dir, "a", grace_s=PATIENCE_S)
    assert not alive(orphan)
    assert read_children(run_dir)["a"].state is State.UNKNOWABLE


@pytest.mark.parametrize(
    ("point", "state", "effect"),
    [
        ("supervisor.start", None, False),
        ("supervisor.started", State.UNKNOWABLE, False),
        ("supervisor.executed", State.UNKNOWABLE, True),
        ("supervisor.ended", State.UNKNOWABLE, True),
        ("supervisor.recorded", State.ENDED, True),
    ],
)
def test_every_kill_point(
    engine: Engine,
    run_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    state: State,
    effect: bool,
) -> None:
    monkeypatch.setenv("RUNBOOK_CRASH", f"{point}:2")
    process = engine(f"""
        for number in (1, 2):
            stage = Stage(("sh", "-c", f"echo {{number}} >>{tmp_path}/effects"), ENV)
            try:
                supervisor.spawn(Spawn(id=f"op/{{number}}", stages=(stage,)))
            except SupervisorLost:
                print("lost")
    """)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert said == "lost\n"
    if effect:
        eventually(lambda: (tmp_path / "effects").read_text() == "1\n2\n")
    else:
        eventually(lambda: not works_in(run_dir.resolve()))  # as a supervisor and what it starts do from the first
        assert (tmp_path / "effects").read_text() == "1\n"
    eventually(lambda: (c := read_children(run_dir).get("op/2")) is None or c.state is not State.RUNNING)
    child = read_children(run_dir).get("op/2")
    assert (child.state if child else None) == state


def test_a_child_executed_right_before_the_kill_is_found_without_its_pid(
    engine: Engine, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[int]
) -> None:
    monkeypatch.setenv("RUNBOOK_CRASH", "supervisor.executed:1")
    process = engine(spawn_sleeper(tmp_path, "exec sleep 300"))
    process.wait()
    pid = pid_in(tmp_path / "pid")
    started.append(pid)
    child = read_children(run_dir)["a"]
    assert (child.state, [one.pid for one in child.living]) == (State.RUNNING, [pid])
    assert end_orphans(run_dir, "a", grace_s=PATIENCE_S)


DAEMON = """
    stage = Stage(("sh", "-c", "(setsid sleep 300 >/dev/null 2>&1 & echo $! >{folder}/pid)"), ENV)
    try:
        supervisor.spawn(Spawn(id="d", stages=(stage,), lifetime=Lifetime.DAEMON))
    except SupervisorLost:
        print("lost")
"""


def test_what_starts_a_daemon_executes_nothing_before_it_is_on_record(
    engine: Engine, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBOOK_CRASH", "supervisor.executed:1")
    process = engine(DAEMON.format(folder=tmp_path))
    assert process.communicate(timeout=PATIENCE_S)[0] == "lost\n"
    eventually(lambda: not works_in(run_dir.resolve()))
    assert not (tmp_path / "pid").exists()
    assert read_children(run_dir)["d"].state is State.UNKNOWABLE


def test_a_daemon_is_not_taken_for_what_started_it(
    engine: Engine, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[int]
) -> None:
    monkeypatch.setenv("RUNBOOK_CRASH", "supervisor.ended:1")
    process = engine(DAEMON.format(folder=tmp_path))
    pid = pid_in(tmp_path / "pid")
    started.append(pid)
    assert process.communicate(timeout=PATIENCE_S)[0] == "lost\n"
    child = read_children(run_dir)["d"]
    assert (child.state, child.living) == (State.UNKNOWABLE, ())
    assert end_orphans(run_dir, "d", grace_s=PATIENCE_S)
    assert alive(pid)


def test_a_new_supervisor_goes_on_after_a_torn_line(supervisor: Supervisor, run_dir: Path, started: list[int]) -> None:
    supervisor.spawn(one("a", "true"))
    os.kill(supervisor.pid, signal.SIGKILL)
    eventually(lambda: not alive(supervisor.pid))
    with (run_dir / "supervisor.jsonl").open("ab") as file:
        file.write(frame({"event": "start", "id": "torn", "boot": boot_id()})[:30])
    assert set(read_children(run_dir)) == {"a"}
    second = Supervisor.start(run_dir)
    started.append(second.pid)
    second.spawn(one("b", "exit 2"))
    assert {key: child.state for key, child in read_children(run_dir).items()} == {"a": State.ENDED, "b": State.ENDED}
    second.close()


def test_damage_before_a_valid_record_refuses(supervisor: Supervisor, run_dir: Path) -> None:
    supervisor.spawn(one("a", "true"))
    supervisor.spawn(one("b", "true"))
    path = run_dir / "supervisor.jsonl"
    data = path.read_bytes()
    last_two = len(b"\n".join(data.split(b"\n")[:-3]))
    for at in range(0, last_two, 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(JournalFault, match=r"supervisor\.jsonl, line \d"):
            read_children(run_dir)
    path.write_bytes(data)


def test_after_a_reboot_nothing_of_before_counts_as_running(run_dir: Path) -> None:
    boot = {"event": "start", "id": "a", "boot": "another-boot", "daemon": False}
    pids = {"event": "pids", "id": "a", "processes": [{"pid": os.getpid(), "start": 1, "program": "x"}]}
    (run_dir / "supervisor.jsonl").write_bytes(frame(boot) + frame(pids))
    assert read_children(run_dir)["a"].state is State.UNKNOWABLE


def test_a_reused_pid_does_not_count_as_running(run_dir: Path) -> None:
    start = {"event": "start", "id": "a", "boot": boot_id(), "daemon": False}
    pids = {"event": "pids", "id": "a", "processes": [{"pid": os.getpid(), "start": 1, "program": "x"}]}
    (run_dir / "supervisor.jsonl").write_bytes(frame(start) + frame(pids))
    assert read_children(run_dir)["a"].state is State.UNKNOWABLE


def test_no_records_means_nothing_was_started(run_dir: Path) -> None:
    assert read_children(run_dir) == {}
    assert settle(run_dir, "a", until=lambda: False).state is State.NEVER_STARTED


def test_a_lost_supervisor_says_what_to_do(supervisor: Supervisor) -> None:
    os.kill(supervisor.pid, signal.SIGKILL)
    eventually(lambda: not alive(supervisor.pid))
    with pytest.raises(SupervisorLost, match="runbook resume"):
        supervisor.spawn(one("a", "true"))
