"""What the trials themselves rely on: that what was killed is gone when the kill is over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.evidence.kills import Victim, kill
from tests.evidence.witness import start_time, until

LARGE = """
import subprocess, sys
child = "x = bytearray(b'x') * (600 << 20); print('large', flush=True); import time; time.sleep(600)"
subprocess.run([sys.executable, "-c", child], start_new_session=True)
"""
"""Its child takes a while to die: its memory is given back first."""


def test_nothing_of_a_run_lives_when_the_kill_is_over(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "20260101-000000-slow-to-die-0001"
    run.mkdir(parents=True)
    engine = subprocess.Popen(["sleep", "600"])
    beside = subprocess.Popen([sys.executable, "-c", LARGE, run.name], stdout=subprocess.PIPE)
    assert beside.stdout is not None
    assert beside.stdout.readline() == b"large\n"
    children = Path(f"/proc/{beside.pid}/task/{beside.pid}/children").read_text().split()
    kill(Victim.EVERYTHING, engine, run)
    alive = [pid for pid in (beside.pid, *map(int, children)) if start_time(pid) is not None]
    beside.wait(60)
    until(lambda: start_time(int(children[0])) is None, 60, "the large one is gone")
    assert alive == []
