"""Locks of targets, held by the supervisor."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from runbook.errors import Busy
from runbook.transports.supervisor import locks
from runbook.transports.supervisor.client import LockMode, Supervisor, SupervisorRefused
from runbook.transports.supervisor.locks import Locks
from tests.fixtures.patience import PATIENCE_S, Gate, eventually

from .conftest import alive, one

EXCLUSIVE, SHARED = LockMode.EXCLUSIVE, LockMode.SHARED


@pytest.fixture
def other(tmp_path: Path, started: list[int]) -> Supervisor:
    folder = tmp_path / "other"
    folder.mkdir()
    found = Supervisor.start(folder)
    started.append(found.pid)
    return found


def test_exclusive_excludes_and_names_the_holder(supervisor: Supervisor, other: Supervisor, tmp_path: Path) -> None:
    path = tmp_path / "target.lock"
    supervisor.lock(path, EXCLUSIVE, "run r1 since noon")
    supervisor.lock(path, EXCLUSIVE, "again")
    for mode in (EXCLUSIVE, SHARED):
        with pytest.raises(Busy, match="run r1 since noon"):
            other.lock(path, mode, "run r2")
    assert supervisor.unlock()
    other.lock(path, EXCLUSIVE, "run r2")
    with pytest.raises(Busy, match="run r2"):
        supervisor.lock(path, SHARED, "run r1")


def test_shared_locks_agree_with_one_another(supervisor: Supervisor, other: Supervisor, tmp_path: Path) -> None:
    path = tmp_path / "target.lock"
    supervisor.lock(path, SHARED, "reader r1")
    other.lock(path, SHARED, "reader r2")
    with pytest.raises(Busy, match=r"(?s)reader r1.*reader r2"):
        other.lock(path, EXCLUSIVE, "writer")
    assert supervisor.unlock()
    other.lock(path, EXCLUSIVE, "writer")
    with pytest.raises(Busy, match="writer"):
        supervisor.lock(path, SHARED, "reader r1")


def test_a_refused_upgrade_keeps_the_shared_lock(supervisor: Supervisor, other: Supervisor, tmp_path: Path) -> None:
    path = tmp_path / "target.lock"
    supervisor.lock(path, SHARED, "r1")
    other.lock(path, SHARED, "r2")
    with pytest.raises(Busy):
        supervisor.lock(path, EXCLUSIVE, "r1")
    with pytest.raises(Busy):
        other.lock(path, EXCLUSIVE, "r2")


def test_a_killed_holder_holds_nothing_and_its_children_neither(
    supervisor: Supervisor, other: Supervisor, tmp_path: Path
) -> None:
    path = tmp_path / "target.lock"
    supervisor.lock(path, EXCLUSIVE, "r1")
    from runbook.transports.supervisor.requests import Lifetime

    pid_file = tmp_path / "pid"
    supervisor.spawn(one("d", f"(setsid sleep 600 >/dev/null 2>&1 & echo $! >{pid_file})", lifetime=Lifetime.DAEMON))
    os.kill(supervisor.pid, signal.SIGKILL)
    eventually(lambda: not alive(supervisor.pid))
    other.lock(path, EXCLUSIVE, "r2")
    os.kill(int(pid_file.read_text()), signal.SIGKILL)


def test_what_runs_keeps_the_locks_and_an_earlier_engines_are_given_back_as_well(
    supervisor: Supervisor, other: Supervisor, run_dir: Path, tmp_path: Path, gate: Gate
) -> None:
    path = tmp_path / "target.lock"
    supervisor.lock(path, EXCLUSIVE, "the engine before")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(supervisor.spawn, one("a", gate.wait))
        eventually(lambda: supervisor.status() == ("a",))
        assert not supervisor.unlock()
        with pytest.raises(Busy):
            other.lock(path, EXCLUSIVE, "r2")
        gate.open()
        running.result(PATIENCE_S)
    again = Supervisor.attach(run_dir)
    assert again is not None
    assert again.unlock()
    other.lock(path, EXCLUSIVE, "r2")
    again.close()


def test_a_removed_lock_file_is_noticed(supervisor: Supervisor, other: Supervisor, tmp_path: Path) -> None:
    path = tmp_path / "target.lock"
    supervisor.lock(path, EXCLUSIVE, "r1")
    assert supervisor.unlock()
    path.unlink()
    other.lock(path, EXCLUSIVE, "r2")
    with pytest.raises(Busy, match="r2"):
        supervisor.lock(path, EXCLUSIVE, "r1")


def test_a_lock_that_can_not_be_made_says_why(supervisor: Supervisor, tmp_path: Path) -> None:
    with pytest.raises(SupervisorRefused, match="No such file or directory"):
        supervisor.lock(tmp_path / "none" / "x.lock", EXCLUSIVE, "r1")
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(SupervisorRefused):
        supervisor.lock(tmp_path / "link", EXCLUSIVE, "r1")


def test_a_lock_whose_holder_can_not_be_written_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, ours, others = str(tmp_path / "target.lock"), Locks(), Locks()
    with monkeypatch.context() as full:

        def refuse(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        full.setattr(os, "pwrite", refuse)
        for mode in ("exclusive", "shared"):
            with pytest.raises(OSError, match="No space"):
                ours.take(path, mode, "r1")
    assert others.take(path, "exclusive", "r2") == (True, "")
    others.release(path)
    assert ours.take(path, "shared", "r1") == (True, "")
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", refuse)
        with pytest.raises(OSError, match="No space"):
            ours.take(path, "exclusive", "r1")
    assert others.take(path, "shared", "r2") == (True, "")  # ours is shared again, and is still held
    assert not others.take(path, "exclusive", "r2")[0]


def test_one_who_shares_is_not_in_the_way_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first writes its text it is alone for an instant; the second has to look again."""
    path, first, second, refused = str(tmp_path / "target.lock"), Locks(), Locks(), threading.Event()
    truncate = os.ftruncate
    with ThreadPoolExecutor(1) as pool:
        taken: list[Future[tuple[bool, str]]] = []

        def and_then_comes_another(fd: int, size: int) -> None:
            truncate(fd, size)
            if not taken:
                taken.append(pool.submit(second.take, path, "shared", "r2"))
                assert refused.wait(PATIENCE_S)

        monkeypatch.setattr(os, "ftruncate", and_then_comes_another)
        monkeypatch.setattr(time, "sleep", lambda _: refused.set())
        monkeypatch.setattr(locks, "LOOKS", 1 << 30)
        assert first.take(path, "shared", "r1") == (True, "")
        assert taken[0].result(PATIENCE_S) == (True, "")
