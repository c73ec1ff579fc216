"""Processes as ``/proc`` shows them, also in the moment in which they become another program."""

from __future__ import annotations

import subprocess
import time

import pytest

from runbook.transports.supervisor import processes
from tests.fixtures.patience import eventually

OPERATION, RUN_DIR = "s/1/1/op", "/run"
MARKS = {processes.OPERATION: OPERATION, processes.RUN_DIR: RUN_DIR}


def marked(pid: int) -> bool:
    return processes.marked(pid, OPERATION, RUN_DIR)


def test_the_mark_of_a_process_that_becomes_another_program_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, moment = processes._environment, [b""] * 3
    with subprocess.Popen(["sleep", "600"], env=MARKS) as child:
        eventually(lambda: marked(child.pid))
        monkeypatch.setattr(processes, "_environment", lambda pid: moment.pop() if moment else shown(pid))
        assert marked(child.pid)
        child.kill()
    assert not moment


def test_what_has_ended_and_what_was_given_nothing_hold_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen(["true"], env={})
    eventually(lambda: (facts := processes.look(ended.pid)) is not None and not facts.lives)  # nobody has waited for it
    with subprocess.Popen(["sleep", "600"], env={}) as bare:
        eventually(lambda: not processes._becomes_another(bare.pid))
        with monkeypatch.context() as hurried:
            hurried.setattr(time, "sleep", lambda _: pytest.fail("slept"))
            for pid in (ended.pid, bare.pid, 1 << 22):
                assert not marked(pid)
        bare.kill()
    ended.wait()
