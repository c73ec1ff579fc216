"""Locks of targets, held by the supervisor."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from runbook.errors import Busy
from runbook.transports.supervisor.client import LockMode, Supervisor, SupervisorRefused
from tests.fixtures.patience import eventually

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
    supervisor.unlock(path)
    other.lock(path, EXCLUSIVE, "run r2")
    with pytest.raises(Busy, match="run r2"):
        supervisor.lock(path, SHARED, "run r1")


def test_shared_locks_agree_with_one_another(supervisor: Supervisor, other: Supervisor, tmp_path: Path) -> None:
    path = tmp_path / "target.lock"
    supervisor.lock(path, SHARED, "reader r1")
    other.lock(path, SHARED, "reader r2")
    with pytest.raises(Busy, match=r"(?s)reader r1.*reader r2"):
        other.lock(path, EXCLUSIVE, "writer")
    supervisor.unlock(path)
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


def test_a_removed_lock_file_is_noticed(supervisor: Supervisor, other: Supervisor, tmp_path: Path) -> None:
    path = tmp_path / "target.lock"
    supervisor.lock(path, EXCLUSIVE, "r1")
    supervisor.unlock(path)
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
