"""How a run ends, as the steps of its end may say it: on a pass, on a fail, after a kill, and in a dry-run not at all."""

from __future__ import annotations

import pytest

from runbook.engine.outcome import LONGEST_PROBLEM
from runbook.errors import ExitCode, InvalidInput
from runbook.operation import Process
from runbook.plan.model import OnFailure, Section
from tests.plan.given import plan
from tests.runner.memory_run import MemoryRun, step
from tests.runner.test_loop import crashed, statuses
from tests.runner.world import Fate, World

SAID = "{{ run.outcome }}|{{ run.problem }}"


def telling(uses: str = "make", on_failure: OnFailure = OnFailure.STOP) -> MemoryRun:
    """Work, and two steps of the end, the second of which tells."""
    steps = [
        step("work", uses, on_failure=on_failure),
        step("more", "make", "work"),
        step("tidy", "make", section=Section.FINALLY),
        step("tell", "repeat", "tidy", section=Section.FINALLY, thing=SAID),
    ]
    return MemoryRun(steps, World())


def said(run: MemoryRun) -> list[str]:
    """What was told, in order."""
    return [str(one.argv[1]) for one in run.world.performed if isinstance(one, Process) and one.name == "again"]


def test_a_run_that_succeeded_says_so() -> None:
    run = telling()
    assert run.apply() is ExitCode.DONE
    assert said(run) == ["succeeded|"]


def test_a_run_that_failed_says_what_failed() -> None:
    run = telling("check")
    assert run.apply() is ExitCode.FAILED
    assert said(run) == ["failed|work: it did not work."]


def test_one_that_went_on_says_both() -> None:
    run = telling("check", OnFailure.CONTINUE)
    assert run.apply() is ExitCode.FAILED
    assert said(run) == ["completed_with_failures|work: it did not work."]


def test_a_failure_at_the_end_is_told_too() -> None:
    run = telling()
    run.world.meets("tidy", "make", Fate.FAILS)
    assert run.apply() is ExitCode.FAILED
    assert said(run)[0].startswith("failed|tidy: ")


@pytest.mark.parametrize("fate", [Fate.CRASH_BEFORE, Fate.CRASH_AFTER, Fate.CRASH_LIVING])
def test_killed_while_it_tells_it_tells_again_what_is_true_by_then(fate: Fate) -> None:
    run = telling("check")
    run.world.meets("tell", "again", fate)
    crashed(run).world.facts["work"] = "new"  # what the check wanted
    assert run.resume() is ExitCode.DONE
    assert said(run)[-1] == "succeeded|"
    assert "interrupted|" in said(run) or fate is not Fate.CRASH_BEFORE
    assert set(statuses(run).values()) == {"succeeded"}


def test_a_dry_run_shows_that_it_is_not_known_yet() -> None:
    shown = telling().preview()
    assert shown["tell"].known == "after:more"
    (one,) = shown["tell"].operations
    assert one.argv[1] == "<run.outcome>|<run.problem>"  # type: ignore[union-attr]
    assert shown["tidy"].known == "exact"


def test_what_failed_is_told_in_short() -> None:
    run = telling("check", OnFailure.CONTINUE)
    run.steps = [
        *(step(f"work{n}", "check", on_failure=OnFailure.CONTINUE, thing="x") for n in range(90)),
        *run.steps,
    ]
    assert run.apply() is ExitCode.FAILED
    assert len(said(run)[0].partition("|")[2]) == LONGEST_PROBLEM


def test_before_the_end_nobody_knows_it() -> None:
    head = "runbook: 1\nname: a\nsteps:\n  - {id: a, uses: x.y, with: {a: '{{ run.outcome }}'}}\n"
    with pytest.raises(InvalidInput, match="`finally` and `on_failure_steps` only"):
        plan(head)
    later = "runbook: 1\nname: a\nsteps:\n  - {id: a, uses: x.y}\n"
    for section in ("finally", "on_failure_steps"):
        plan(f"{later}{section}:\n  - {{id: b, uses: x.y, with: {{a: '{{{{ run.problem }}}}'}}}}\n")
