"""The commands that are shown find the run that they are shown for, wherever its state directory is."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook.operation import Json
from tests.cli.terminal import Terminal
from tests.cli.written import plan, shell

LOOK: dict[str, Json] = {"id": "look", "title": "Look", "uses": "manual", "with": {"instructions": "Look at it."}}


def test_commands_say_where_the_run_is_if_they_would_look_elsewhere(
    runbook: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNBOOK_STATE")
    path = plan(tmp_path, LOOK, shell("fails", "exit 1"))
    told = f"  each with --state {runbook.state}; or, once: export RUNBOOK_STATE={runbook.state}"
    for words in (("apply", path), ("show",), ("confirm", "last", "look"), ("resume",)):
        assert runbook(*words).out.splitlines()[-1] == told, words
    monkeypatch.setenv("RUNBOOK_STATE", str(runbook.state))
    assert "each with" not in runbook("show").out
    monkeypatch.delenv("RUNBOOK_STATE")
    assert runbook("abandon", "last", "--reason", "tried").code == 0
    assert "each with" not in runbook("show").out


def test_the_usual_directory_needs_no_word_by_whatever_name(
    runbook: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNBOOK_STATE")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".runbook").symlink_to(runbook.state)
    monkeypatch.chdir(tmp_path / "work")
    assert "each with" not in runbook("apply", plan(tmp_path, LOOK)).out


def test_so_do_the_remedies_of_what_is_refused(
    runbook: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNBOOK_STATE")
    path = plan(tmp_path, shell("works", "true"))
    assert runbook("apply", path).code == 0
    told = f"  with --state {runbook.state}; or, once: export RUNBOOK_STATE={runbook.state}"
    refused = runbook("resume")
    assert "runbook show 2" in refused.err
    assert refused.err.splitlines()[-1] == told
    monkeypatch.setenv("RUNBOOK_STATE", str(runbook.state))
    assert "--state" not in runbook("resume").err
    monkeypatch.delenv("RUNBOOK_STATE")
    assert "--state" not in runbook("apply", str(tmp_path / "none.yaml")).err
