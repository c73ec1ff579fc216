"""A terminal for each test, with a state directory of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.terminal import Terminal


@pytest.fixture
def runbook(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """``runbook(…)`` runs a command."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("RUNBOOK_ENV", raising=False)
    monkeypatch.setenv("RUNBOOK_STATE", str(tmp_path / "state"))
    return Terminal(tmp_path / "state", capsys)
