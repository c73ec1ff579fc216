"""The end of a run that will not be gone on with."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.cli.terminal import Terminal
from tests.cli.written import plan, shell, until_there, wait_for
from tests.fixtures.patience import eventually


def test_an_abandoned_run_is_over_and_says_why(runbook: Terminal, tmp_path: Path) -> None:
    runbook("apply", plan(tmp_path, shell("a", "exit 1")))
    assert "--reason" in runbook("abandon", "last").err
    told = runbook("abandon", "last", "--reason", "done by hand")
    assert told.code == 0
    assert f"– {runbook.run().name} is abandoned: done by hand\n" in told.out
    assert "? a began to change something and did not end well: Run a" in told.out
    assert "→" not in told.out
    last = json.loads((runbook.run() / "journal.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["status"], last["reason"]) == ("run.finished", "abandoned", "done by hand")
    assert "abandoned (done by hand; by " in runbook("show").out
    assert runbook("resume").code == 2
    assert runbook("abandon", "last", "--reason", "again").code == 2


def test_not_while_a_program_of_the_run_lives(runbook: Terminal, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    engine = runbook.start("apply", plan(tmp_path, shell("a", f"echo on; {until_there(seen)}")))
    while not list(runbook.state.glob("runs/*/logs/a.1.1.run.log")):
        assert engine.poll() is None
        time.sleep(0.02)
    wait_for(runbook.run() / "logs" / "a.1.1.run.log", "on")
    assert runbook("abandon", "last", "--reason", "x").code == 5, "its engine works"
    engine.kill()
    engine.communicate()
    page = runbook("show").out.splitlines()
    assert "? a: Run a  (begun; a resume finds out how it ended)" in page
    assert "waits for what is still at work: a" in [line.strip() for line in page]
    assert "not before what is still at work has ended (a): exit code 5" in [line.strip() for line in page]
    orphaned = runbook("abandon", "last", "--reason", "x")
    assert orphaned.code == 5
    assert "E502" in orphaned.err

    seen.touch()
    eventually(lambda: runbook("abandon", "last", "--reason", "x").code != 5)
    assert "abandoned" in runbook("runs").out
    assert "? a: Run a  (begun; how it ended was not found out)" in runbook("show").out.splitlines()
