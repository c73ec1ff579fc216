"""The program as operations call it: this installation, with the SDK's variables; no other program gets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook.transports.own_program import own_environment, own_program, resolved


def test_the_installation_that_runs_the_plan_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    path, *rest = resolved(("runbook", "wal", "program"))
    assert Path(path).is_absolute()
    assert (path, rest) == (own_program(), ["wal", "program"])
    assert resolved(("sh", "-c", "runbook")) == ("sh", "-c", "runbook")
    assert resolved(()) == ()


def test_its_credentials_are_the_engines_and_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "backup")
    monkeypatch.setenv("PGPASSWORD", "hush")
    assert own_environment(("runbook", "wal", "feed"))["AWS_PROFILE"] == "backup"
    assert "PGPASSWORD" not in own_environment(("runbook", "wal", "feed"))
    assert own_environment(("sh", "-c", "runbook")) == {}
