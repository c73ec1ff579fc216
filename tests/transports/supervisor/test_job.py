"""A job by itself: the order of its records and its effects."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runbook.transports.supervisor.job import Job
from runbook.transports.supervisor.ledger import Ledger
from runbook.transports.supervisor.wire import StartWire

from .conftest import ENV


class FullAfterTheStart(Ledger):
    """Its disk is full once the start is recorded."""

    def write(self, line: bytes) -> bool:
        if b'"event":"pids"' in line:
            self.fault = "write: No space left on device"
        return super().write(line)


def request(script: str, *, daemon: bool) -> StartWire:
    return {
        "op": "start",
        "id": "a",
        "stages": [
            {
                "argv": ["sh", "-c", script],
                "env": ENV,
                "files": {},
                "cwd": None,
                "umask": 0o77,
                "user": None,
                "ok": [0],
                "preamble": "",
                "most": 0,
            }
        ],
        "input": {"kind": "none", "value": ""},
        "sink": {"kind": "capture", "value": ""},
        "hash": "none",
        "log": None,
        "log_max": 0,
        "capture": 1000,
        "daemon": daemon,
        "timeout_s": None,
        "grace_s": 1,
        "forms": [],
    }


@pytest.mark.parametrize("daemon", [True, False])
def test_what_starts_a_daemon_and_cant_be_recorded_is_not_let_go(tmp_path: Path, daemon: bool) -> None:
    job = Job(request(f"touch {tmp_path}/ran", daemon=daemon), str(tmp_path))
    assert job.start(FullAfterTheStart(str(tmp_path / "supervisor.jsonl")), "boot")
    (member,) = job.members
    _, member.status = os.waitpid(member.pid, 0)
    ended = job.close()
    assert (ended["why"], ended["detail"]) == (
        ("not_started", "write: No space left on device") if daemon else ("exited", "")
    )
    assert (tmp_path / "ran").exists() is not daemon
