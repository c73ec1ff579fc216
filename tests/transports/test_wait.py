"""Waits: they look, they end, they say what they saw."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from runbook.operation import Condition, Process, Ref, Test, Wait
from runbook.transports.outcome import Failed, Succeeded
from runbook.transports.world import World
from tests.fixtures.patience import LONGER_S, PATIENCE_S, meanwhile
from tests.transports.conftest import Uses


def wait(script: str, *, deadline_s: float, wanted: str | Ref = "ready") -> Wait:
    return Wait(
        name="w",
        read=Process(name="r", argv=("sh", "-c", script), reads=True),
        until=(Condition("stdout", Test.CONTAINS, wanted),),
        interval_s=0.1,
        deadline_s=deadline_s,
    )


def test_it_looks_until_it_holds(world: World, uses: Uses, tmp_path: Path) -> None:
    looks, found = tmp_path / "looks", tmp_path / "f"
    look = wait(f"echo x >> {looks}; cat {found}", deadline_s=PATIENCE_S)  # fails until the file is there
    with meanwhile(lambda: looks.exists() and len(looks.read_text()) > 4, lambda: found.write_text("ready")):
        outcome = world.perform(look, uses())
    assert isinstance(outcome, Succeeded)
    assert outcome.fields["stdout"] == "ready"


def test_what_comes_soon_is_not_waited_for_a_whole_interval(world: World, uses: Uses, tmp_path: Path) -> None:
    began = time.monotonic()
    script = f"echo x >> {tmp_path}/looks; test $(wc -l < {tmp_path}/looks) -lt 3 || echo ready"
    outcome = world.perform(replace(wait(script, deadline_s=1200), interval_s=600), uses())
    assert isinstance(outcome, Succeeded)
    assert time.monotonic() - began < 300


def test_no_pause_is_longer_than_the_interval(world: World, uses: Uses, tmp_path: Path) -> None:
    script = f"echo x >> {tmp_path}/looks; test $(wc -l < {tmp_path}/looks) -lt 14 || echo ready"
    # pauses that double would come to 400 s
    assert isinstance(world.perform(replace(wait(script, deadline_s=200), interval_s=0.02), uses()), Succeeded)


def test_its_deadline_is_a_failure_that_shows_what_was_seen(world: World, uses: Uses) -> None:
    for number, deadline_s in enumerate(LONGER_S):
        outcome = world.perform(wait("echo starting", deadline_s=deadline_s), uses(f"s/1/{number}/w"))
        assert isinstance(outcome, Failed)
        if "found: starting" in outcome.problem.detail:
            break  # else the last look was cut short: a busy machine gets longer
    assert isinstance(outcome, Failed)
    assert "expected: stdout contains ready; found: starting" in outcome.problem.detail
    assert "Looked " in outcome.problem.detail
    assert outcome.problem.fix == "sh -c 'echo starting'", "the very look, for a person to take again"


def test_deadline_0_is_one_look(world: World, uses: Uses, tmp_path: Path) -> None:
    operation = wait(f"echo once >> {tmp_path}/looks; echo {{}}", deadline_s=0, wanted=Ref("o", "f"))
    assert isinstance(world.perform(operation, uses(results={"o": {"f": "ready"}})), Failed)
    assert isinstance(world.perform(operation, uses("s/1/1/x", results={"o": {"f": "{}"}})), Succeeded)
    assert (tmp_path / "looks").read_text() == "once\n" * 2


def test_the_steps_deadline_comes_first_and_a_look_that_hangs_is_ended(world: World, uses: Uses) -> None:
    began = time.monotonic()
    assert isinstance(world.perform(wait("sleep 600", deadline_s=600), uses(within_s=0.7)), Failed)
    assert time.monotonic() - began < 300


def test_a_stop_ends_it(world: World, uses: Uses, tmp_path: Path) -> None:
    look = wait(f"touch {tmp_path}/looked; echo no", deadline_s=600)
    with meanwhile((tmp_path / "looked").exists, lambda: world.stop("step", 1.0)):
        outcome = world.perform(look, uses())
    assert isinstance(outcome, Failed)
    assert "then it was stopped" in outcome.problem.detail
