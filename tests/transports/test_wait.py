"""Waits: they look, they end, they say what they saw."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

from runbook.operation import Condition, Process, Ref, Test, Wait
from runbook.transports.outcome import Failed, Succeeded
from runbook.transports.world import World
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
    threading.Timer(0.6, (tmp_path / "f").write_text, args=("ready",)).start()
    outcome = world.perform(wait(f"cat {tmp_path}/f", deadline_s=20), uses())  # fails until the file is there
    assert isinstance(outcome, Succeeded)
    assert outcome.fields["stdout"] == "ready"


def test_what_comes_soon_is_not_waited_for_a_whole_interval(world: World, uses: Uses, tmp_path: Path) -> None:
    began = time.monotonic()
    script = f"echo x >> {tmp_path}/looks; test $(wc -l < {tmp_path}/looks) -lt 3 || echo ready"
    outcome = world.perform(replace(wait(script, deadline_s=60), interval_s=30), uses())
    assert isinstance(outcome, Succeeded)
    assert time.monotonic() - began < 15


def test_no_pause_is_longer_than_the_interval(world: World, uses: Uses, tmp_path: Path) -> None:
    script = f"echo x >> {tmp_path}/looks; test $(wc -l < {tmp_path}/looks) -lt 12 || echo ready"
    assert isinstance(world.perform(replace(wait(script, deadline_s=20), interval_s=0.02), uses()), Succeeded)


def test_its_deadline_is_a_failure_that_shows_what_was_seen(world: World, uses: Uses) -> None:
    began = time.monotonic()
    outcome = world.perform(wait("echo starting", deadline_s=0.8), uses())
    assert isinstance(outcome, Failed)
    assert time.monotonic() - began < 4
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
    assert isinstance(world.perform(wait("sleep 60", deadline_s=60), uses(within_s=0.7)), Failed)
    assert time.monotonic() - began < 6


def test_a_stop_ends_it(world: World, uses: Uses) -> None:
    threading.Timer(0.5, world.stop, args=("step", 1.0)).start()
    began = time.monotonic()
    outcome = world.perform(wait("echo no", deadline_s=60), uses())
    assert isinstance(outcome, Failed)
    assert time.monotonic() - began < 6
