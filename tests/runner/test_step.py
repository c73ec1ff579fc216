"""One step's life: the rules that made resume right, each shown by what happens, and would not without it."""

from __future__ import annotations

import pytest

from runbook.engine.events import OperationFinished, OperationStarted, StepPlanned, StepRetried, StepStarted
from runbook.engine.transitions import Status
from runbook.errors import ExitCode, JournalFault
from runbook.journal.tape import JOURNAL
from runbook.operation import Operation
from runbook.plan.model import Backoff, Retry
from runbook.transports.outcome import Use
from tests.journal.memory_disk import Fault
from tests.runner.memory_run import DIRECTORY, RUN, MemoryRun, step
from tests.runner.world import Crash, Fate, World

EIO = 5
BEFORE = (Fate.CRASH_BEFORE, Fate.CRASH_BEFORE_RECORDED)
AFTER = (Fate.CRASH_AFTER, Fate.CRASH_AFTER_RECORDED, Fate.CRASH_LIVING)


def crashed(run: MemoryRun) -> MemoryRun:
    """The run, killed where its world says, and ready for another process."""
    with pytest.raises(Crash):
        run.apply()
    run.after_kill()
    return run


def test_the_intent_is_durable_before_the_effect() -> None:
    run = MemoryRun([step("a"), step("b", "once", "a", parts=2)])
    seen = []

    def look(operation: Operation, use: Use) -> None:
        seen.append(use.id)
        assert f'"{use.id}"'.encode() in run.disk.names[DIRECTORY / JOURNAL].durable

    run.world.seen = look
    assert run.apply() is ExitCode.DONE
    assert seen == ["a/1/1/make", "a/1/1/commit", "b/1/1/part1", "b/1/1/part2"]


def test_nothing_is_performed_whose_intent_could_not_be_written() -> None:
    run = MemoryRun([step("a"), step("b", "make", "a")])
    run.disk.faults = [Fault("fdatasync", 9, EIO)]
    with pytest.raises(JournalFault):
        run.apply()
    assert len(run.world.performed) == 1
    assert run.status("b") is Status.PENDING


def test_what_is_done_already_is_an_empty_list() -> None:
    run = MemoryRun([step("a")], World(facts={"a": "new"}))
    assert run.apply() is ExitCode.DONE
    assert run.world.performed == []
    assert run.step("a").outputs == {"made": "a", "value": "new"}


@pytest.mark.parametrize("fate", [*BEFORE, *AFTER])
@pytest.mark.parametrize("operation", ["make", "commit"])
def test_an_observing_step_is_gone_on_with_and_nothing_happens_twice(operation: str, fate: Fate) -> None:
    run = MemoryRun([step("a")])
    run.world.meets("a", operation, fate)
    assert crashed(run).resume() is ExitCode.DONE
    assert dict(run.world.ledger) == {("a", "make"): 1, ("a", "commit"): 1}
    assert run.world.facts == {"a": "new"}


@pytest.mark.parametrize("depth", [2, 3])
def test_killed_again_while_it_is_gone_on_with(depth: int) -> None:
    run = MemoryRun([step("a")])
    run.world.meets("a", "make", *[Fate.CRASH_BEFORE] * depth, Fate.CRASH_LIVING)
    crashed(run)
    for _ in range(depth):
        with pytest.raises(Crash):
            run.resume()
        run.after_kill()
    assert run.resume() is ExitCode.DONE
    assert run.world.ledger["a", "make"] == 1


def test_the_fence_comes_before_the_first_look() -> None:
    """The world's eyes refuse to look at a thing on which a child still works."""
    run = MemoryRun([step("a")])
    run.world.meets("a", "make", Fate.CRASH_LIVING)
    assert crashed(run).resume() is ExitCode.DONE
    assert run.world.fenced == ["a/1/1/make"]


def test_what_cannot_be_fenced_is_unknown_and_nothing_is_performed() -> None:
    run = MemoryRun([step("a"), step("b", "make", "a")])
    run.world.meets("a", "make", Fate.CRASH_BEFORE)
    crashed(run).world.unfenceable = True
    assert run.resume() is ExitCode.WAITING
    assert run.status("a") is Status.UNKNOWN
    assert run.status("b") is Status.PENDING
    assert not run.world.ledger
    run.after_kill()
    run.world.unfenceable = False
    assert run.resume() is ExitCode.DONE


@pytest.mark.parametrize("fate", [Fate.CRASH_BEFORE, Fate.CRASH_AFTER])
def test_a_step_that_nobody_can_look_at_is_unknown_until_a_person_says(fate: Fate) -> None:
    run = MemoryRun([step("a", "once", parts=2), step("b", "make", "a")])
    run.world.meets("a", "part1", fate)
    assert crashed(run).resume() is ExitCode.WAITING
    assert run.problem("a") == "E601"
    run.after_kill()
    assert run.resume() is ExitCode.WAITING, "still nobody knows"
    run.after_kill()
    if fate is Fate.CRASH_BEFORE:
        run.resolve("a", "not-done")
    else:
        run.resolve("a", "done", said="it was so")
    run.after_kill()
    assert run.resume() is ExitCode.DONE
    assert run.world.ledger["a", "part1"] == 1


def test_records_settle_what_nobody_can_look_at() -> None:
    for fate in (Fate.CRASH_BEFORE_RECORDED, Fate.CRASH_AFTER_RECORDED, Fate.CRASH_LIVING):
        run = MemoryRun([step("a", "once", parts=2)])
        run.world.meets("a", "part1", fate)
        assert crashed(run).resume() is ExitCode.DONE
        assert dict(run.world.ledger) == {("a", "part1"): 1, ("a", "part2"): 1}


def test_an_adopted_result_is_journalled_as_such_and_fills_later_arguments() -> None:
    run = MemoryRun([step("a", "once", parts=2)])
    run.world.meets("a", "part1", Fate.CRASH_AFTER_RECORDED)
    assert crashed(run).resume() is ExitCode.DONE
    finished = [event for event in run.events if isinstance(event, OperationFinished)]
    assert [(event.operation, event.adopted) for event in finished] == [("part1", True), ("part2", False)]
    assert run.step("a").outputs == {"said": "part 2 0"}


def test_a_recorded_failure_is_a_failure() -> None:
    run = MemoryRun([step("a", "once")])
    run.world.meets("a", "part1", Fate.CRASH_FAILED_RECORDED)
    assert crashed(run).resume() is ExitCode.FAILED
    assert run.status("a") is Status.FAILED


def test_what_is_declared_repeatable_runs_again() -> None:
    run = MemoryRun([step("a", "repeat")])
    run.world.meets("a", "again", Fate.CRASH_AFTER)
    assert crashed(run).resume() is ExitCode.DONE
    assert run.world.ledger["a", "again"] == 2


def test_a_resumed_read_is_only_read_again() -> None:
    run = MemoryRun([step("a", "check")], World(facts={"a": "new"}))
    run.world.meets("a", "test", Fate.CRASH_BEFORE)
    assert crashed(run).resume() is ExitCode.DONE
    assert run.world.fenced == []


def test_only_what_was_approved_goes_on() -> None:
    run = MemoryRun([step("a", "mend")])
    run.world.meets("a", "make", Fate.CRASH_BEFORE)
    crashed(run).world.facts["a"] = "foreign"
    assert run.resume() is ExitCode.REFUSED
    assert run.problem("a") == "E402"
    assert not run.world.ledger


def _refused_for_what_was_not_shown() -> MemoryRun:
    run = MemoryRun([step("a", "mend"), step("b", "make", "a")])
    run.world.meets("a", "make", Fate.CRASH_BEFORE)
    crashed(run).world.facts["a"] = "foreign"
    assert run.resume() is ExitCode.REFUSED
    run.after_kill()
    return run


def test_what_was_not_shown_is_done_by_hand_and_the_run_goes_on() -> None:
    run = _refused_for_what_was_not_shown()
    run.world.facts["a"] = "new"
    assert run.resume() is ExitCode.DONE


def test_a_step_that_would_need_what_was_not_shown_can_be_skipped() -> None:
    run = _refused_for_what_was_not_shown()
    problem = run.step("a").problem
    assert isinstance(problem, dict)
    assert f"`runbook resume {RUN}` (with `--skip a --reason …`" in str(problem["fix"])
    assert run.resume({"a": "not needed"}) is ExitCode.DONE
    assert run.status("b").value == "succeeded"


@pytest.mark.parametrize(("found", "added"), [("half", "mend"), ("stray", "tidy")])
def test_a_resume_may_add_its_recovery_and_owned_clean_up(found: str, added: str) -> None:
    run = MemoryRun([step("a", "mend")])
    run.world.meets("a", "make", Fate.CRASH_BEFORE)
    crashed(run).world.facts["a"] = found
    assert run.resume() is ExitCode.DONE
    assert [key[1] for key in run.world.ledger] == [added, "make"]


def test_a_guard_that_differs_is_refused() -> None:
    run = MemoryRun([step("a")], World(facts={"a.owner": "us"}))
    run.world.meets("a", "make", Fate.CRASH_BEFORE)
    crashed(run).world.facts["a.owner"] = "them"
    assert run.resume() is ExitCode.REFUSED
    assert run.problem("a") == "E401"
    assert "step a: owner was us, and is them" in str(run.step("a").problem)
    assert not run.world.ledger


def test_a_baseline_is_taken_once() -> None:
    run = MemoryRun([step("a")], World(facts={"a": "old"}))
    run.world.meets("a", "commit", Fate.CRASH_BEFORE)
    assert crashed(run).resume() is ExitCode.DONE
    planned = [event for event in run.events if isinstance(event, StepPlanned)]
    assert [event.pinned["before"] for event in planned] == ["old", "old"]


def test_the_closing_round_finds_a_wrong_observer() -> None:
    run = MemoryRun([step("a", "lie")])
    assert run.apply() is ExitCode.FAILED
    assert run.problem("a") == "E211"


def test_rounds_follow_one_another_and_each_is_announced() -> None:
    run = MemoryRun([step("a", "grow")])
    assert run.apply() is ExitCode.DONE
    assert [event.round for event in run.events if isinstance(event, StepPlanned)] == [1, 2, 3]


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("fate", [*BEFORE, *AFTER])
def test_a_later_round_is_planned_after_a_crash_in_an_earlier_one(at: int, fate: Fate) -> None:
    run = MemoryRun([step("a", "grow")])
    run.world.meets("a", f"grow{at}", fate)
    assert crashed(run).resume() is ExitCode.DONE
    assert dict(run.world.ledger) == {("a", "grow1"): 1, ("a", "grow2"): 1, ("a", "grow3"): 1}


def test_a_round_that_was_not_reached_is_announced_under_its_own_number() -> None:
    run = MemoryRun([step("a", "grow")])
    run.world.meets("a", "grow1", Fate.CRASH_AFTER)
    assert crashed(run).resume() is ExitCode.DONE
    assert [event.round for event in run.events if isinstance(event, StepPlanned)] == [1, 2, 3]


def test_a_refusal_of_the_action_is_exit_4() -> None:
    run = MemoryRun([step("a")], World(facts={"a": "forbidden"}))
    assert run.apply() is ExitCode.REFUSED
    assert run.step("a").refused


def test_a_state_that_is_not_known_is_a_persons_to_judge() -> None:
    run = MemoryRun([step("a")], World(facts={"a": "muddled"}))
    assert run.apply() is ExitCode.WAITING
    assert run.problem("a") == "E650"


def test_a_system_that_cannot_be_asked_fails_before_and_is_unknown_after_something_was_begun() -> None:
    run = MemoryRun([step("a")], World(unreachable={"a"}))
    assert run.apply() is ExitCode.FAILED
    run = MemoryRun([step("a")])
    run.world.meets("a", "make", Fate.CRASH_BEFORE)
    crashed(run).world.unreachable.add("a")
    assert run.resume() is ExitCode.WAITING
    assert run.status("a") is Status.UNKNOWN


def test_a_change_without_an_answer_is_unknown_and_a_read_failed() -> None:
    run = MemoryRun([step("a")])
    run.world.meets("a", "make", Fate.LOST_AFTER)
    assert run.apply() is ExitCode.WAITING
    run.after_kill()
    assert run.resume() is ExitCode.DONE
    assert run.world.ledger["a", "make"] == 1
    run = MemoryRun([step("b", "check")], World(facts={"b": "new"}))
    run.world.meets("b", "test", Fate.LOST_BEFORE)
    assert run.apply() is ExitCode.FAILED


def test_a_timeout_is_unknown_for_a_change_that_was_begun() -> None:
    run = MemoryRun([step("a", "once", timeout_s=5, parts=1)], World(takes_s={"part1": 60}))
    assert run.apply() is ExitCode.WAITING
    assert run.status("a") is Status.UNKNOWN


def test_what_the_time_does_not_reach_is_not_begun_and_that_is_a_failure() -> None:
    run = MemoryRun([step("a", timeout_s=5)], World(takes_s={"make": 6.0}))
    assert run.apply() is ExitCode.WAITING, "the first was begun in time, and ended too late"
    run = MemoryRun([step("b", "once", timeout_s=5, parts=2)], World(takes_s={"part1": 5.0}))
    assert run.apply() is ExitCode.FAILED
    assert run.problem("b") == "E212"
    assert dict(run.world.ledger) == {("b", "part1"): 1}


def test_time_is_counted_anew_for_each_attempt() -> None:
    retry = Retry(3, 100.0, Backoff.CONSTANT)
    run = MemoryRun([step("a", "once", timeout_s=5, retry=retry, parts=1)])
    run.world.meets("a", "part1", Fate.FAILS, Fate.FAILS)
    assert run.apply() is ExitCode.DONE
    assert run.world.clock.seconds > 200


def test_retries_are_for_definite_failures_and_are_bounded() -> None:
    retry = Retry(3, 2.0, Backoff.DOUBLING)
    run = MemoryRun([step("a", retry=retry, thing="a")])
    run.world.meets("a", "make", Fate.FAILS, Fate.FAILS)
    assert run.apply() is ExitCode.DONE
    assert [event.pause_s for event in run.events if isinstance(event, StepRetried)] == [2.0, 4.0]
    run = MemoryRun([step("a", retry=retry, thing="a")])
    run.world.meets("a", "make", *[Fate.FAILS] * 4)
    assert run.apply() is ExitCode.FAILED
    assert run.step("a").attempt == 3


def test_a_refusal_is_not_tried_again() -> None:
    run = MemoryRun([step("a", retry=Retry(3), thing="a")], World(facts={"a": "forbidden"}))
    assert run.apply() is ExitCode.REFUSED
    assert run.step("a").attempt == 1


def test_unknown_is_tried_again_only_where_repeating_is_safe() -> None:
    run = MemoryRun([step("a", "once", retry=Retry(3), parts=1)])
    run.world.meets("a", "part1", Fate.LOST_BEFORE)
    assert run.apply() is ExitCode.WAITING
    assert run.step("a").attempt == 1
    run = MemoryRun([step("b", "repeat", retry=Retry(3), thing="b")])
    run.world.meets("b", "again", Fate.LOST_AFTER)
    assert run.apply() is ExitCode.DONE
    assert run.world.fenced == ["b/1/1/again"], "and not before what was begun can't move any more"


def test_an_attempt_after_another_knows_that_something_may_have_been_done() -> None:
    """It plans within what was approved, as after a crash."""
    run = MemoryRun([step("a", "mend", retry=Retry(2), thing="a")])
    run.world.meets("a", "make", Fate.FAILS)
    run.world.clock.sleep = lambda seconds: None  # type: ignore[method-assign]
    failing = run.world.perform

    def change_meanwhile(operation: Operation, use: Use) -> object:
        outcome = failing(operation, use)
        run.world.facts["a"] = "foreign"
        return outcome

    run.world.perform = change_meanwhile  # type: ignore[method-assign, assignment]
    assert run.apply() is ExitCode.REFUSED
    assert run.problem("a") == "E402"


def test_where_nobody_can_look_what_succeeded_is_not_done_again_by_another_attempt() -> None:
    run = MemoryRun([step("a", "once", parts=3, retry=Retry(2))])
    run.world.meets("a", "part2", Fate.FAILS)
    assert run.apply() is ExitCode.DONE
    assert set(run.world.ledger.values()) == {1}
    run = MemoryRun([step("a", "once", parts=3)])
    run.world.meets("a", "part3", Fate.FAILS)
    assert run.apply() is ExitCode.FAILED
    run.after_kill()
    assert run.resume() is ExitCode.DONE
    assert set(run.world.ledger.values()) == {1}


def test_the_journal_never_says_done_where_the_world_can_be_asked() -> None:
    """The step's operations are all journalled as ended, and what they made is gone: it is made again, not passed over."""
    run = MemoryRun([step("a"), step("b", "make", "a")])
    run.world.meets("b", "make", Fate.CRASH_BEFORE)
    crashed(run)
    run.world.facts.pop("a")
    assert run.resume() is ExitCode.DONE, "a succeeded: it stays done"
    run = MemoryRun([step("a")])
    run.world.turn = lambda what: None if what != "look a" or "a" not in run.world.facts else _kill(run)
    crashed(run)
    run.world.turn = lambda what: None
    run.world.facts.clear()
    assert run.resume() is ExitCode.DONE
    assert run.world.facts == {"a": "new"}


def _kill(run: MemoryRun) -> None:
    run.world.crash()


def test_use_ids_tell_step_attempt_round_and_operation() -> None:
    run = MemoryRun([step("a", "grow", retry=Retry(2), thing="a")])
    run.world.meets("a", "grow2", Fate.FAILS)
    assert run.apply() is ExitCode.DONE
    ids = [event.id for event in run.events if isinstance(event, OperationStarted)]
    assert ids == ["a/1/1/grow1", "a/1/2/grow2", "a/2/2/grow2", "a/2/3/grow3"]
    assert [event.attempt for event in run.events if isinstance(event, StepStarted)] == [1, 2]
