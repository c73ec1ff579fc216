"""The README's promise: one command, under a minute, a database destroyed and restored and proven."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook.cli.demo import path_lines
from runbook.sandbox.damage import ruin, sums
from runbook.sandbox.stack import Stack
from tests.cli.terminal import Terminal


@pytest.fixture
def stack(runbook: Terminal) -> Iterator[Stack]:
    """The demo's stack, deleted afterwards."""
    stack = Stack(runbook.state / "sandbox")
    yield stack
    stack.remove(lambda _line: None)


def test_the_demo_destroys_restores_and_proves(runbook: Terminal, stack: Stack) -> None:
    began = time.monotonic()
    told = runbook("demo")
    assert told.code == 0, told.out + told.err
    assert time.monotonic() - began < 5 * 60, "a minute, on a machine that does other things too"
    assert "document_embeddings   20,000 rows → gone" in told.out
    assert '{"status": "ok", "documents": 2000}' in told.out
    assert "replaces docs" in told.out, "the dry-run of the restore"
    assert "✓ verified: all 65,000 rows in 4 tables are what they were" in told.out
    took = r"(\d+m )?[\d.]+s"
    assert re.search(rf"✓ recovery time: {took}, objective 4h 00m", told.out)
    assert re.search(rf"✓ recovery point: {took}, objective 1d 12h", told.out)
    assert stack.status().running
    assert "SKIP" not in told.out

    run = re.findall(r"runbook show (\S+)", told.out)[-1]
    assert (runbook.state / "runs" / run / "journal.jsonl").exists()
    assert runbook("show", run).code == 0

    whole = sums(stack.login())
    ruin(stack.login())  # as a demo that was stopped after the damage leaves it
    again = runbook("demo")
    assert again.code == 0
    assert "made anew" in again.out
    assert sums(stack.login()) == whole


def test_what_it_says_to_type_is_found_by_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "a venv" / "bin" / "runbook"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert path_lines(own) == [f"export PATH='{own.parent}':$PATH"]
    monkeypatch.setenv("PATH", f"{own.parent}:/usr/bin:/bin")
    assert path_lines(own) == []
    assert path_lines(tmp_path / "absent") == []
