"""A glance at a run: right at any length, quick, and without a claim about what can't be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook.journal.clock import SystemClock
from runbook.journal.glance import BLOCK_BYTES, glance
from runbook.journal.layout import RunDir
from runbook.journal.local import LocalJournal

RUN = "20260214-120000-restore-db-4f3a"


def written(tmp_path: Path, *events: str, padding: int = 0) -> RunDir:
    """A journal of these events."""
    run = RunDir(tmp_path / RUN)
    with LocalJournal.create(run.path, run=RUN, clock=SystemClock(), boot="boot") as journal:
        journal.append([{"event": event, "text": "x" * padding} for event in events])
    return run


@pytest.mark.parametrize("between", [0, 1, 100])
@pytest.mark.parametrize("padding", [0, 10, BLOCK_BYTES // 7, BLOCK_BYTES + 100])
def test_first_last_and_state_at_any_length(tmp_path: Path, between: int, padding: int) -> None:
    if between * padding > 2_000_000:
        padding = 20_000
    steps = ["step.started"] * between
    seen = glance(written(tmp_path, "run.created", *steps, "run.resumed", *steps, padding=padding))
    assert (seen.first and seen.first.seq) == 1
    assert (seen.state and seen.state.event) == "run.resumed"
    assert (seen.last and seen.last.seq) == 2 + 2 * between
    assert seen.engine is None


def test_the_creation_is_the_state_of_a_run_that_only_began(tmp_path: Path) -> None:
    seen = glance(written(tmp_path, "run.created", "step.started"))
    assert (seen.state and seen.state.event) == "run.created"


def test_a_text_that_looks_like_a_state_is_none(tmp_path: Path) -> None:
    run = RunDir(tmp_path / RUN)
    with LocalJournal.create(run.path, run=RUN, clock=SystemClock(), boot="boot") as journal:
        journal.append([{"event": "run.created"}, {"event": "step.failed", "inner": {"event": "run.finished"}}])
    seen = glance(run)
    assert (seen.state and seen.state.event) == "run.created"


def test_a_torn_tail_is_passed_over(tmp_path: Path) -> None:
    run = written(tmp_path, "run.created", "run.waiting")
    with run.journal.open("ab") as journal:
        journal.write(b'{"seq":3,"at":"2026')
    seen = glance(run)
    assert (seen.last and seen.last.event) == "run.waiting"


def test_nothing_is_claimed_of_what_can_not_be_read(tmp_path: Path) -> None:
    assert glance(RunDir(tmp_path / RUN)).first is None
    run = written(tmp_path, "run.created")
    run.journal.write_bytes(b"nonsense\n")
    seen = glance(run)
    assert (seen.first, seen.state, seen.last) == (None, None, None)
