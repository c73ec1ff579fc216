"""What to do now: the table of *What happens when not all goes well*, case by case."""

from __future__ import annotations

import pytest

from runbook.engine.decide import Await, Begin, End, Settle, open_holds
from runbook.engine.events import StepPlanned, StepSkipped, StepStarted
from runbook.engine.transitions import RunStatus, Status
from runbook.errors import Bug
from runbook.graph import build
from runbook.plan.model import OnFailure, Section
from tests.engine.story import Story, chain, step


def test_a_chain_runs_in_order_to_its_end() -> None:
    story = Story(chain("a", "b", "c"))
    story.begins("a").started("a")
    assert story.next() == Await()
    story.succeeded("a").begins("b").done("b").begins("c").done("c").ends(RunStatus.SUCCEEDED)
    assert story.run.outputs["b"] == {"of": "b"}


def test_branches_run_together_within_the_limit() -> None:
    graph = build([step("a"), step("b"), step("c"), step("end", "a", "b", "c")])
    story = Story(graph).begins("a", "b", parallel=2).started("a").started("b")
    assert story.next(parallel=2) == Await()
    story.succeeded("b").begins("c", parallel=2).started("c").succeeded("c").succeeded("a").begins("end")


def test_a_failure_lets_what_runs_finish_and_cancels_what_follows() -> None:
    graph = build([step("a"), step("b"), step("c", "b")])
    story = Story(graph).started("a").started("b").failed("a")
    assert story.next() == Await()
    story.succeeded("b").cancels("c").ends(RunStatus.FAILED)


def test_failure_runs_its_own_steps_then_finally() -> None:
    graph = build(
        [
            step("a"),
            step("b", "a"),
            step("tell", section=Section.ON_FAILURE),
            step("tidy", section=Section.FINALLY),
        ]
    )
    story = Story(graph).started("a").failed("a").cancels("b")
    story.begins("tell").done("tell").begins("tidy").done("tidy").ends(RunStatus.FAILED)


def test_success_runs_finally_and_not_the_failure_steps() -> None:
    graph = build([step("a"), step("tell", section=Section.ON_FAILURE), step("tidy", section=Section.FINALLY)])
    story = Story(graph).done("a").cancels("tell").begins("tidy").done("tidy").ends(RunStatus.SUCCEEDED)
    assert story.run.step("tell").status is Status.CANCELLED


def test_finally_goes_on_after_one_of_its_steps_failed() -> None:
    graph = build([step("a"), step("x", section=Section.FINALLY), step("y", "x", section=Section.FINALLY)])
    story = Story(graph).done("a").started("x").failed("x").begins("y").done("y").ends(RunStatus.FAILED)
    assert story.run.step("y").status is Status.SUCCEEDED


def test_continue_satisfies_successors_and_is_remembered() -> None:
    graph = build([step("a", on_failure=OnFailure.CONTINUE), step("b", "a")])
    Story(graph).started("a").failed("a").begins("b").done("b").ends(RunStatus.COMPLETED_WITH_FAILURES)


def test_a_skipped_step_satisfies_its_successors() -> None:
    Story(chain("a", "b")).skipped("a").begins("b")


def test_an_unknown_step_lets_nothing_new_start_and_finally_waits() -> None:
    graph = build([step("a"), step("b"), step("c"), step("tidy", section=Section.FINALLY)])
    story = Story(graph).started("a").started("b").unknown("a")
    assert story.next() == Await()
    story.succeeded("b").ends(RunStatus.UNKNOWN)
    assert story.run.step("c").status is Status.PENDING
    assert story.run.step("tidy").status is Status.PENDING


def test_a_waiting_step_lets_independent_branches_finish() -> None:
    graph = build([step("a"), step("b"), step("c", "a")])
    story = Story(graph).waiting("a").begins("b").started("b")
    assert story.next() == Await()
    story.succeeded("b").ends(RunStatus.WAITING).confirmed("a").begins("a").done("a").begins("c")


def test_stopping_lets_what_runs_finish_and_starts_nothing() -> None:
    story = Story(build([step("a"), step("b"), step("tidy", section=Section.FINALLY)])).started("a")
    assert story.next(stopping=True) == Await()
    assert story.succeeded("a").next(stopping=True) == End(RunStatus.INTERRUPTED)


def test_resume_settles_what_ran_before_anything_begins() -> None:
    story = Story(build([step("a"), step("b")])).started("a").resumed()
    assert story.run.step("a").status is Status.UNKNOWN
    story.settles("a").started("a").begins("b").succeeded("a").begins("b")


def test_while_an_unknown_step_is_looked_at_nothing_new_begins() -> None:
    story = Story(build([step("a"), step("b")])).started("a").unknown("a").ends(RunStatus.UNKNOWN).resumed()
    story.settles("a").tell(StepStarted("a", 2, resumed=True))
    assert story.next() == Await(), "it may turn out to be as unknown as before"
    story.tell(StepPlanned("a", 1, ())).begins("b")


def test_a_step_that_stays_unknown_is_settled_once_a_resume() -> None:
    story = Story(chain("a", "b")).started("a").resumed().settles("a").unknown("a").ends(RunStatus.UNKNOWN)
    story.resumed().settles("a")


@pytest.mark.parametrize(("outcome", "then"), [("done", "b"), ("not-done", "a")])
def test_a_person_settles_an_unknown_step(outcome: str, then: str) -> None:
    Story(chain("a", "b")).started("a").unknown("a").resolved("a", outcome).begins(then)


def test_resume_tries_failed_and_cancelled_steps_again_and_keeps_done_ones() -> None:
    story = Story(chain("a", "b", "c")).done("a").started("b").failed("b").cancels("c").ends(RunStatus.FAILED)
    story.resumed().begins("b").done("b").begins("c").done("c").ends(RunStatus.SUCCEEDED)
    assert story.run.step("a").attempt == 1
    assert story.run.step("b").attempt == 2


def _hold_plan() -> Story:
    return Story(
        build(
            [
                step("stop"),
                step("restore", "stop"),
                step("check", "restore"),
                step("start", "check", releases="stop"),
                step("tidy", section=Section.FINALLY),
            ]
        )
    )


def test_a_hold_stays_when_a_changing_step_inside_it_failed() -> None:
    story = _hold_plan().done("stop").started("restore").failed("restore").cancels("check")
    story.begins("tidy").done("tidy").cancels("start").ends(RunStatus.FAILED)
    assert open_holds(story.run) == (("stop", "start"),)


def test_a_hold_is_released_when_only_a_read_inside_it_failed() -> None:
    story = _hold_plan().done("stop", "restore").started("check", touching=False).failed("check")
    story.begins("tidy").done("tidy").begins("start").done("start").ends(RunStatus.FAILED)
    assert open_holds(story.run) == ()


def test_a_hold_is_released_when_the_changing_step_never_began() -> None:
    story = _hold_plan().done("stop").started("restore", touching=False).failed("restore").cancels("check")
    story.begins("tidy").done("tidy").begins("start").done("start").ends(RunStatus.FAILED)


def test_a_failure_before_the_hold_leaves_it_untaken() -> None:
    story = _hold_plan().started("stop", touching=False)
    graph = build([step("pick"), step("stop", "pick"), step("start", "stop", releases="stop")])
    story = Story(graph).started("pick", touching=False).failed("pick").cancels("stop", "start").ends(RunStatus.FAILED)
    assert open_holds(story.run) == ()


def test_on_resume_a_released_hold_is_taken_again_before_a_step_inside_goes_on() -> None:
    story = _hold_plan().done("stop", "restore").started("check", touching=False).failed("check")
    story.done("tidy", "start").ends(RunStatus.FAILED)
    story.resumed().begins("stop").done("stop").begins("check").done("check").begins("start").done("start")
    story.begins("tidy").done("tidy").ends(RunStatus.SUCCEEDED)
    assert story.run.step("restore").attempt == 1


def test_a_hold_that_a_resume_put_back_and_did_not_take_again_is_in_force() -> None:
    story = _hold_plan().done("stop").started("restore").failed("restore").resumed()
    assert story.run.step("stop").status is Status.PENDING
    assert open_holds(story.run) == (("stop", "start"),)
    story.done("stop", "restore", "check", "start")
    assert open_holds(story.run) == ()
    story.resumed()
    assert open_holds(story.run) == ()


def test_a_hold_that_was_released_and_put_back_is_not_in_force() -> None:
    story = _hold_plan().done("stop", "restore").started("check", touching=False).failed("check")
    story.done("tidy", "start").ends(RunStatus.FAILED).resumed()
    assert story.run.step("stop").status is Status.PENDING
    assert open_holds(story.run) == ()


def test_a_hold_that_another_failure_kept_from_being_taken_again_is_released_where_nothing_inside_was_changed() -> None:
    graph = build([step("load"), step("stop"), step("check", "stop"), step("start", "check", releases="stop")])
    story = Story(graph).started("load").done("stop").started("check", touching=False).failed("load").failed("check")
    story.started("start").failed("start").ends(RunStatus.FAILED).resumed().started("load").failed("load")
    assert open_holds(story.run) == (("stop", "start"),)
    story.cancels("stop", "check").begins("start").done("start").ends(RunStatus.FAILED)
    assert open_holds(story.run) == ()


def test_a_hold_that_is_being_taken_when_its_executor_dies_is_in_force() -> None:
    story = _hold_plan().started("stop", touching=False)
    assert open_holds(story.run) == (), "nothing of it was begun"
    story = _hold_plan().started("stop")
    assert open_holds(story.run) == (("stop", "start"),)


def test_a_release_that_its_condition_skips_releases_nothing() -> None:
    story = _hold_plan().done("stop", "restore", "check").skipped("start")
    assert open_holds(story.run) == (("stop", "start"),)
    story = _hold_plan().done("stop", "restore", "check").tell(StepSkipped("start", "by hand", "kim"))
    assert open_holds(story.run) == ()


def test_a_step_that_is_put_back_forgets_why_it_did_not_begin() -> None:
    story = Story(chain("a", "b")).started("a").failed("a").cancels("b").ends(RunStatus.FAILED)
    assert story.run.step("b").reason == "a failed"
    assert story.resumed().run.step("b").reason == ""


def test_an_interrupt_inside_a_hold_leaves_it_and_the_resume_takes_it_again() -> None:
    story = _hold_plan().done("stop")
    assert story.next(stopping=True) == End(RunStatus.INTERRUPTED)
    story.resumed().begins("stop").done("stop").begins("restore")


def test_an_illegal_event_stops_the_run() -> None:
    story = Story(chain("a"))
    with pytest.raises(Bug, match="step a is pending"):
        story.succeeded("a")


def test_deciding_costs_the_same_in_a_long_chain() -> None:
    """The books are kept by the fold: no decision looks at each step (counted, not timed)."""
    names = tuple(f"s{i}" for i in range(2_000))
    story = Story(chain(*names))
    for name in names:
        decision = story.next()
        assert decision == Begin((name,))
        story.done(name)
    story.ends(RunStatus.SUCCEEDED)


def test_a_house_that_is_full_cancels_nothing() -> None:
    """Two last steps are gone on with and take all the room; the main steps, put back by the resume, only wait for it."""
    last = [step(name, section=Section.FINALLY) for name in ("x", "y")]
    story = Story(build([step("a"), step("b", "a"), *last])).started("a").failed("a").cancels("b")
    story.started("x").started("y").resumed()
    assert story.next(parallel=2) == Settle(("x", "y"))
    story.started("x").started("y")
    assert story.next(parallel=2) == Await()
    story.succeeded("x").begins("a", parallel=2)


def test_what_was_running_inside_a_hold_waits_until_the_hold_is_taken_again() -> None:
    story = _hold_plan().done("stop").started("restore").resumed()
    story.begins("stop").started("stop")
    assert story.next() == Await()
    story.succeeded("stop").settles("restore")


def test_a_hold_that_cannot_be_taken_again_leaves_unknown_what_is_inside() -> None:
    story = _hold_plan().done("stop").started("restore").resumed().started("stop").failed("stop")
    story.ends(RunStatus.UNKNOWN)


def test_a_hold_round_a_hold_is_taken_first() -> None:
    graph = build(
        [
            step("outer"),
            step("inner", "outer"),
            step("work", "inner"),
            step("inner_end", "work", releases="inner"),
            step("outer_end", "inner_end", releases="outer"),
        ]
    )
    story = Story(graph).done("outer", "inner").started("work").resumed()
    story.begins("outer").done("outer").begins("inner").done("inner").settles("work")


def test_a_hold_that_stands_inside_another_puts_that_one_back_too() -> None:
    graph = build(
        [
            step("one"),
            step("two", "one"),
            step("one_end", "two", releases="one"),
            step("work", "one_end"),
            step("two_end", "work", releases="two"),
        ]
    )
    story = Story(graph).done("one", "two", "one_end").started("work").failed("work")
    story.resumed().begins("one").done("one").begins("two").done("two").begins("one_end").done("one_end").begins("work")


def test_a_hold_is_not_taken_over_its_own_release_which_is_then_to_be_done_again() -> None:
    story = _hold_plan().done("stop", "restore").started("check", touching=False).failed("check")
    story.done("tidy").started("start").resumed()
    story.settles("start").started("start")
    assert story.next() == Await(), "what starts the services still runs"
    story.succeeded("start")
    assert story.run.step("start").status is Status.PENDING
    story.begins("stop").done("stop").begins("check").done("check").begins("start")


def test_a_release_waits_for_everything_inside() -> None:
    assert set(_hold_plan().run.graph.before["start"]) == {"stop", "restore", "check"}


def test_a_resume_keeps_what_continued_and_runs_what_follows() -> None:
    graph = build([step("a", on_failure=OnFailure.CONTINUE), step("b", "a"), step("c", "b")])
    story = Story(graph).started("a").failed("a").done("b").started("c").failed("c").resumed()
    story.begins("c").done("c").ends(RunStatus.COMPLETED_WITH_FAILURES)


def test_what_waits_while_something_of_the_end_runs_is_not_cancelled() -> None:
    graph = build([step("a"), step("tell", section=Section.ON_FAILURE)])
    story = Story(graph).started("a").failed("a").started("tell").resumed().settles("tell").started("tell").waiting("a")
    assert story.next() == Await()
    story.succeeded("tell").ends(RunStatus.WAITING)


def test_a_hold_that_is_needed_only_for_another_hold_is_taken_too() -> None:
    graph = build(
        [
            step("one"),
            step("two", "one"),
            step("one_end", "two", releases="one"),
            step("work", "two"),
            step("two_end", "work", "one_end", releases="two"),
        ]
    )
    story = Story(graph).done("one", "two", "one_end").started("work").resumed()
    story.begins("one").done("one").begins("two").done("two").settles("work")


def test_a_hold_that_waits_for_its_release_in_the_run_s_end_is_not_cancelled() -> None:
    """The end was cut off, and is settled while the steps have still to be done: they wait for it."""
    graph = build(
        [
            step("stop"),
            step("work", "stop"),
            step("start", releases="stop", section=Section.FINALLY),
            step("tidy", section=Section.FINALLY),
        ]
    )
    story = Story(graph).done("stop").started("work", touching=False).failed("work").started("start").started("tidy")
    story.resumed().settles("start", "tidy").started("start").started("tidy")
    assert story.next() == Await(), "what releases the hold still runs, so that the hold can't be taken again"
    story.succeeded("start").begins("stop").succeeded("tidy").done("stop").begins("work").done("work")
    story.begins("start", "tidy").done("start", "tidy").ends(RunStatus.SUCCEEDED)
