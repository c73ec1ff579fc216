"""The list of runs, and what may be removed from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from tests.cli.written import plan, shell, until_there, wait_for
from tests.fixtures.patience import eventually


def listed(runbook: Terminal) -> list[dict[str, object]]:
    found = json.loads(runbook("runs", "--json").out)
    assert isinstance(found, list)
    return found


def test_no_run_is_no_fault(runbook: Terminal) -> None:
    told = runbook("runs")
    assert (told.code, told.out) == (0, "  no runs yet\n→ runbook apply PLAN\n")
    assert listed(runbook) == []


def test_the_newest_is_first_with_its_status(runbook: Terminal, tmp_path: Path) -> None:
    assert runbook("apply", plan(tmp_path, shell("a", "exit 0"), name="good")).code == 0
    time.sleep(1.1)  # an id sorts by the second
    assert runbook("apply", plan(tmp_path, shell("a", "exit 3"), name="bad")).code == 1
    told = runbook("runs")
    first, second = told.out.splitlines()
    assert first.startswith("✗ ")
    assert first.split()[2:5] == ["bad", "here", "failed"]
    assert second.split()[2:5] == ["good", "here", "succeeded"]
    newest, oldest = listed(runbook)
    assert list(newest) == ["run", "plan", "environment", "status", "operator", "duration_s", "steps"]
    assert (newest["plan"], newest["status"], oldest["status"]) == ("bad", "failed", "succeeded")
    assert isinstance(newest["duration_s"], float)


def test_json_tells_how_far_each_step_is_and_of_a_spoiled_journal_nothing(runbook: Terminal, tmp_path: Path) -> None:
    steps = shell("good", "exit 0"), shell("bad", "exit 3"), shell("after", "exit 0")
    runbook("apply", plan(tmp_path, *steps))
    (told,) = listed(runbook)
    assert isinstance(told["steps"], list)
    good, bad, after = told["steps"]
    assert {**good, "duration_s": 0} == {"id": "good", "status": "succeeded", "attempts": 1, "duration_s": 0}
    assert (bad["status"], bad["attempts"]) == ("failed", 1)
    assert after == {"id": "after", "status": "cancelled", "attempts": 0, "duration_s": None}
    (runbook.run() / "journal.jsonl").write_bytes(b"spoiled\n")
    assert listed(runbook)[0]["steps"] == []


def test_the_plan_is_left_out_where_the_line_would_be_too_long(
    runbook: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a-plan-with-quite-a-long-name"
    runbook("apply", plan(tmp_path, shell("a", "exit 0"), name=name))
    monkeypatch.setenv("COLUMNS", "80")
    assert runbook("runs").out.split()[2:4] == ["here", "succeeded"]
    monkeypatch.setenv("COLUMNS", "140")
    assert runbook("runs").out.split()[2:5] == [name, "here", "succeeded"]


def test_a_run_is_running_while_its_engine_is_and_interrupted_after_that(runbook: Terminal, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    engine = runbook.start("apply", plan(tmp_path, shell("a", f"echo on; {until_there(seen)}")))
    wait_for_start(runbook)
    assert listed(runbook)[0]["status"] == "running"
    engine.kill()
    engine.communicate()
    assert listed(runbook)[0]["status"] == "interrupted"
    assert runbook("runs", "prune", "--keep", "0", "--yes").out == "– nothing to remove\n"
    seen.touch()


def wait_for_start(runbook: Terminal) -> None:
    """Until the program of step a runs."""
    wait_for_run(runbook)
    wait_for(runbook.run() / "logs" / "a.1.1.run.log", "on")


def wait_for_run(runbook: Terminal) -> None:
    eventually(lambda: list((runbook.state / "runs").glob("*/journal.jsonl")))


def test_a_run_whose_journal_is_spoiled_is_still_listed(runbook: Terminal, tmp_path: Path) -> None:
    runbook("apply", plan(tmp_path, shell("a", "exit 0")))
    journal = runbook.run() / "journal.jsonl"
    journal.write_bytes(b"?" + journal.read_bytes()[1:])
    assert listed(runbook)[0]["status"] == "unreadable"


def test_prune_wants_to_know_which_and_asks(runbook: Terminal, tmp_path: Path) -> None:
    for name in ("one", "two"):
        runbook("apply", plan(tmp_path, shell("a", "exit 0"), name=name))
        time.sleep(1.1)
    runbook("apply", plan(tmp_path, shell("a", "exit 1"), name="failed"))

    assert "E208" in runbook("runs", "prune").err
    assert "E209" in runbook("runs", "prune", "--older", "3x").err
    assert runbook("runs", "prune", "--older", "1d").out == "– nothing to remove\n"
    refused = runbook("runs", "prune", "--keep", "1")
    assert (refused.code, len(listed(runbook))) == (4, 3)

    pruned = runbook("runs", "prune", "--keep", "1", "--yes")
    assert pruned.code == 0
    assert pruned.out.endswith("✓ 1 removed\n")
    assert [run["plan"] for run in listed(runbook)] == ["failed", "two"], "a failed run can be gone on with"
    runbook("runs", "prune", "--older", "0s", "--yes")
    assert [run["plan"] for run in listed(runbook)] == ["failed"]


def test_a_run_that_keeps_a_secret_is_not_removed(runbook: Terminal, tmp_path: Path) -> None:
    runbook("apply", plan(tmp_path, shell("a", "exit 0")))
    (runbook.run() / "escrow" / "password").write_text("the only copy")
    assert runbook("runs", "prune", "--keep", "0", "--yes").out == "– nothing to remove\n"


def test_the_list_is_quick(tmp_path: Path) -> None:
    """It loads no plan, so nothing that reads plans."""
    probe = (
        "import sys; from runbook.cli.main import run; run(['runs'])\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'pydantic', 'jinja2', 'ruamel', 'psycopg', 'rpds'}))"
    )
    environment = {**os.environ, "RUNBOOK_STATE": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=environment, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"
