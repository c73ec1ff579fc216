"""What a resume puts back, and what it leaves as it is."""

from __future__ import annotations

from dataclasses import replace

from runbook.engine.decide import Await, End
from runbook.engine.events import StepFailed, StepRetried, StepSkipped
from runbook.engine.transitions import RunStatus, Status
from runbook.graph import build
from runbook.plan.model import OnFailure, Retry, Section
from tests.engine.story import PROBLEM, Story, step


def _by_hand(name: str) -> StepSkipped:
    return StepSkipped(name, "done by hand", "kim")


def test_a_step_of_the_end_that_a_person_skipped_stays_skipped() -> None:
    story = Story(build([step("a"), step("tidy", section=Section.FINALLY)])).started("a").failed("a")
    story.started("tidy").failed("tidy").resumed().tell(_by_hand("tidy")).started("a").failed("a")
    story.ends(RunStatus.FAILED).resumed().done("a").ends(RunStatus.SUCCEEDED)
    assert story.run.step("tidy").status is Status.SKIPPED


def test_a_step_of_the_end_that_its_condition_skipped_is_asked_again() -> None:
    story = Story(build([step("a"), step("tidy", section=Section.FINALLY)])).started("a").failed("a")
    story.skipped("tidy").resumed().done("a").begins("tidy")


def test_what_continues_after_its_failure_gets_the_attempts_that_a_stop_kept_it_from() -> None:
    asks = replace(step("ask", on_failure=OnFailure.CONTINUE), retry=Retry(attempts=3))
    story = Story(build([asks, step("then", "ask")])).started("ask").failed("ask")
    assert story.next(stopping=True) == End(RunStatus.INTERRUPTED)
    story.resumed().begins("ask").started("ask")
    for number in (3, 4):
        story.tell(StepRetried("ask", number, 0.0, PROBLEM)).started("ask")
    story.failed("ask").begins("then").resumed().begins("then")


def test_what_was_refused_and_continues_is_not_tried_again() -> None:
    asks = replace(step("ask", on_failure=OnFailure.CONTINUE), retry=Retry(attempts=3))
    story = Story(build([asks, step("then", "ask")])).started("ask")
    story.tell(StepFailed("ask", PROBLEM, 1.0, refused=True)).resumed().begins("then")


def test_a_step_that_is_skipped_ahead_of_its_turn_lets_nobody_by() -> None:
    graph = build([step("prove"), step("tell", "prove"), step("count", "tell"), step("restore", "count")])
    story = Story(graph).started("prove").failed("prove").cancels("tell", "count", "restore").resumed()
    story.tell(_by_hand("count"), _by_hand("tell")).begins("prove").started("prove")
    assert story.next() == Await(), "what is to be restored isn't proven yet"
    story.succeeded("prove").begins("restore").resumed().begins("restore")


def test_a_step_that_is_skipped_ahead_of_its_turn_keeps_its_place_in_the_next_execution() -> None:
    graph = build([step("prove"), step("tell", "prove"), step("restore", "tell")])
    story = Story(graph).started("prove").failed("prove").cancels("tell", "restore").resumed().tell(_by_hand("tell"))
    story.started("prove").failed("prove").cancels("restore").ends(RunStatus.FAILED)
    story.resumed().begins("prove").done("prove").begins("restore").done("restore").ends(RunStatus.SUCCEEDED)


def test_a_failure_that_continues_and_is_skipped_then_counts_once() -> None:
    graph = build([step("warn", on_failure=OnFailure.CONTINUE), step("prove"), step("restore", "warn", "prove")])
    story = Story(graph).started("warn").failed("warn").started("prove").failed("prove").cancels("restore")
    story.resumed().tell(_by_hand("warn")).begins("prove").done("prove").begins("restore")


def _end(*, first: str = "done") -> Story:
    """A run whose steps are done, and whose end is half done: ``tell`` is unknown."""
    graph = build([step("a"), step("tidy", section=Section.FINALLY), step("tell", section=Section.FINALLY)])
    story = Story(graph).done("a")
    story = story.skipped("tidy") if first == "skipped" else story.done("tidy")
    return story.started("tell").unknown("tell").ends(RunStatus.UNKNOWN)


def test_a_step_of_the_end_that_a_person_took_as_done_is_not_begun_again() -> None:
    _end().resolved("tell", "done").resumed().ends(RunStatus.SUCCEEDED)


def test_what_is_done_of_the_end_stays_done_where_nothing_is_left_before_it() -> None:
    _end().resumed().settles("tell")
    story = _end().resolved("tell", "not-done").resumed().begins("tell").done("tell").ends(RunStatus.SUCCEEDED)
    assert story.run.step("tidy").attempt == 1
    _end(first="skipped").resumed().settles("tell")


def test_the_end_comes_once_more_where_a_step_of_it_failed() -> None:
    """What the others told of the run's end is not true any more."""
    graph = build([step("a"), step("tidy", section=Section.FINALLY), step("tell", section=Section.FINALLY)])
    Story(graph).done("a").started("tidy").failed("tidy").done("tell").resumed().begins("tidy", "tell")


def test_the_end_comes_once_more_where_a_step_before_it_is_tried_again() -> None:
    graph = build([step("a"), step("tidy", section=Section.FINALLY)])
    Story(graph).started("a").failed("a").done("tidy").resumed().done("a").begins("tidy")
