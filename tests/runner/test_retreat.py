"""What a failed attempt takes back at once, and what it tells a person where it can't."""

from __future__ import annotations

import pytest

from runbook.engine.transitions import Status
from runbook.errors import ExitCode
from runbook.plan.model import Backoff, Retry
from tests.runner.memory_run import MemoryRun, step
from tests.runner.world import Crash, Fate, World

BY_HAND = "rm"


def detail(run: MemoryRun) -> str:
    problem = run.step("a").problem
    assert isinstance(problem, dict)
    return str(problem["detail"])


def shut(run: MemoryRun) -> bool:
    return "a.shut" in run.world.facts


@pytest.mark.parametrize("operation", ["close", "exchange"])
def test_after_a_definite_failure_it_is_taken_back_and_the_next_go_begins_anew(operation: str) -> None:
    run = MemoryRun([step("a", "exchange")])
    run.world.meets("a", operation, Fate.FAILS)
    assert run.apply() is ExitCode.FAILED
    assert not shut(run)
    assert run.world.ledger["a~back", "open"] == 1
    assert "Taken back since:" in detail(run)
    assert run.resume() is ExitCode.DONE
    assert run.world.facts["a"] == "new"
    assert run.world.ledger["a~back", "open"] == 1


def test_between_two_attempts_it_is_open() -> None:
    run = MemoryRun([step("a", "exchange", retry=Retry(3, 100.0, Backoff.CONSTANT), thing="a")])
    run.world.meets("a", "exchange", Fate.FAILS, Fate.FAILS)
    assert run.apply() is ExitCode.DONE
    assert run.world.ledger["a~back", "open"] == 2


def test_nothing_is_taken_back_after_it_went_well_or_before_anything_was_begun() -> None:
    run = MemoryRun([step("a", "exchange")])
    assert run.apply() is ExitCode.DONE
    refused = MemoryRun([step("a", "exchange")], World(facts={"a": "forbidden"}))
    assert refused.apply() is ExitCode.REFUSED
    for one in (run, refused):
        assert not [which for which, _ in one.world.ledger if which == "a~back"]


def test_the_steps_own_time_does_not_bound_it() -> None:
    run = MemoryRun([step("a", "exchange", timeout_s=5, thing="a")], World(takes_s={"close": 5.0, "open": 20.0}))
    assert run.apply() is ExitCode.FAILED
    assert run.problem("a") == "E212"
    assert not shut(run)


def test_where_the_end_is_not_known_nothing_is_done_and_the_line_is_shown() -> None:
    run = MemoryRun([step("a", "exchange")])
    run.world.meets("a", "exchange", Fate.LOST_BEFORE)
    assert run.apply() is ExitCode.WAITING
    assert shut(run)
    assert "If nobody goes on with it" in detail(run)
    assert BY_HAND in detail(run)
    run.after_kill()
    assert run.resume() is ExitCode.DONE
    assert not [which for which, _ in run.world.ledger if which == "a~back"]


@pytest.mark.parametrize("fate", [Fate.FAILS, Fate.LOST_BEFORE])
def test_what_could_not_be_taken_back_is_told_with_its_line(fate: Fate) -> None:
    run = MemoryRun([step("a", "exchange")])
    run.world.meets("a", "exchange", Fate.FAILS)
    run.world.meets("a~back", "open", fate)
    assert run.apply() is ExitCode.FAILED
    assert run.status("a") is Status.FAILED, "that it failed is as sure as before"
    assert "Could not be taken back" in detail(run)
    assert BY_HAND in detail(run)
    assert run.resume() is ExitCode.DONE


@pytest.mark.parametrize("fate", [Fate.CRASH_BEFORE, Fate.CRASH_AFTER, Fate.CRASH_AFTER_RECORDED, Fate.CRASH_LIVING])
def test_killed_while_it_is_taken_back_the_next_goes_on_forward(fate: Fate) -> None:
    run = MemoryRun([step("a", "exchange")])
    run.world.meets("a", "exchange", Fate.FAILS)
    run.world.meets("a~back", "open", fate)
    with pytest.raises(Crash):
        run.apply()
    run.after_kill()
    assert run.resume() is ExitCode.DONE
    assert run.world.facts["a"] == "new"


def test_what_an_earlier_executor_began_and_cannot_be_looked_at_is_told() -> None:
    run = MemoryRun([step("a", "exchange")])
    run.world.meets("a", "exchange", Fate.CRASH_BEFORE)
    with pytest.raises(Crash):
        run.apply()
    run.after_kill()
    run.world.unreachable.add("a")
    assert run.resume() is ExitCode.WAITING
    assert BY_HAND in detail(run)
    run.world.unreachable.clear()
    assert run.resume() is ExitCode.DONE


@pytest.mark.parametrize("attempts", [1, 2])
def test_what_is_taken_back_without_an_answer_is_fenced_before_the_next_attempt(attempts: int) -> None:
    """The answer was lost, and the child still works: nothing begins over it, in this execution or the next."""
    run = MemoryRun([step("a", "exchange", retry=Retry(attempts), thing="a")])
    run.world.meets("a", "exchange", Fate.FAILS)
    run.world.meets("a~back", "open", Fate.LOST_LIVING)
    moving: list[str] = []
    run.world.seen = lambda operation, use: moving.extend(left.use.id for left in run.world.alive())
    if attempts == 1:
        assert run.apply() is ExitCode.FAILED
        assert run.resume() is ExitCode.DONE
    else:
        assert run.apply() is ExitCode.DONE
    assert moving == []
    assert run.world.fenced == ["a~back/1/1/open"]
    assert run.world.facts["a"] == "new"
