"""Crash points kill at the passage that was asked for, and only there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

PASS_THREE_TIMES = """
from runbook.journal.crash import crash_point
for turn in range(3):
    crash_point("here")
    crash_point("there")
    print(turn, flush=True)
"""


def run(setting: str | None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "RUNBOOK_CRASH"}
    if setting is not None:
        environment["RUNBOOK_CRASH"] = setting
    command = [sys.executable, "-c", PASS_THREE_TIMES]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize(("setting", "turns"), [("here:1", 0), ("there:2", 1), ("here:3", 2)])
def test_killed_at_the_passage(setting: str, turns: int) -> None:
    ended = run(setting)
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout.split() == [str(turn) for turn in range(turns)]


@pytest.mark.parametrize("setting", [None, "", "here:4", "elsewhere:1"])
def test_goes_on_otherwise(setting: str | None) -> None:
    ended = run(setting)
    assert (ended.returncode, ended.stdout.split()) == (0, ["0", "1", "2"])


@pytest.mark.parametrize("setting", ["here", "here:0", "here:x", ":1"])
def test_a_setting_that_cannot_be_read_is_a_usage_fault(setting: str) -> None:
    ended = run(setting)
    assert ended.returncode == 1
    assert "E203" in ended.stderr
