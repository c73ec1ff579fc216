"""What earlier runs teach about durations."""

from __future__ import annotations

import time
from pathlib import Path

from runbook.runner.experience import durations
from tests.actions.in_a_run import Rehearsal

PLAN = """\
runbook: 1
name: nap
title: A nap
environment: {environment: here}
steps:
  - id: nap
    title: Sleep
    uses: shell.run
    with: {argv: [sleep, "0.2"]}
    timeout: 5m
"""


def test_nothing_is_known_before_the_first_run(tmp_path: Path) -> None:
    assert durations(tmp_path / "state", "nap", "here") == {}


def test_the_median_of_runs_of_the_same_plan_in_the_same_environment(tmp_path: Path) -> None:
    state, began = tmp_path / "state", time.monotonic()
    assert Rehearsal(PLAN, state).apply() == 0
    assert Rehearsal(PLAN, state).apply() == 0
    both = time.monotonic() - began
    known = durations(state, "nap", "here")
    assert set(known) == {"nap"}
    assert 0.2 <= known["nap"] < both
    assert durations(state, "nap", "elsewhere") == {}
    assert durations(state, "other", "here") == {}


def test_a_damaged_journal_teaches_what_is_whole(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert Rehearsal(PLAN, state).apply() == 0
    journal = next(state.glob("runs/*/journal.jsonl"))
    journal.write_bytes(journal.read_bytes()[:-40])
    assert set(durations(state, "nap", "here")) == {"nap"}
