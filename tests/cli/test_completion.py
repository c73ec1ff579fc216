"""What the shell is given, and what it is answered."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runbook.cli.main import run
from tests.cli.terminal import Terminal
from tests.cli.written import plan, shell


@pytest.mark.parametrize(
    ("name", "mark"), [("bash", "complete -o nosort"), ("zsh", "#compdef runbook"), ("fish", "complete --no-files")]
)
def test_each_shell_has_its_script(name: str, mark: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", name]) == 0
    script = capsys.readouterr().out
    assert mark in script
    assert "_RUNBOOK_COMPLETE" in script
    assert script.startswith("# ")


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "csh"]) == 2


def completed(words: str, state: Path) -> list[str]:
    """What bash is answered for the last of these words."""
    environment = {
        **os.environ,
        "_RUNBOOK_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "RUNBOOK_STATE": str(state),
    }
    argv = [sys.executable, "-m", "runbook.cli"]
    ended = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    assert ended.stderr == ""
    return [line.partition(",")[2] for line in ended.stdout.splitlines()]


def test_commands_options_and_runs_are_completed(runbook: Terminal, tmp_path: Path) -> None:
    assert completed("runbook res", runbook.state) == ["resume", "resolve"]
    assert "--dry-run" in completed("runbook apply --d", runbook.state)
    assert completed("runbook show ", runbook.state) == ["last"]
    assert "apply" in completed("runbook nothing ", runbook.state), "no complaint while somebody types"
    assert runbook("apply", plan(tmp_path, shell("a", "exit 0"))).code == 0
    assert completed("runbook show 2", runbook.state) == [runbook.run().name]
