"""What a resume would do: the engine's own decisions, with nothing performed."""

from __future__ import annotations

from runbook.engine.events import StepResolved, StepSkipped
from runbook.engine.transitions import RunStatus
from runbook.graph import build
from runbook.plan.model import OnFailure, Section
from runbook.report.forecast import Forecast, forecast
from tests.engine.story import Story, chain, step

NOBODY: frozenset[str] = frozenset()


def test_what_failed_comes_again_and_then_what_follows() -> None:
    run = Story(chain("a", "b", "c")).done("a").started("b").failed("b").cancels("c").run
    assert forecast(run, NOBODY) == Forecast(("b", "c"), ends=RunStatus.SUCCEEDED)
    assert forecast(run, NOBODY, said=StepSkipped("b", "", "kim")) == Forecast(("c",))


def test_what_was_cut_off_is_looked_at_first() -> None:
    run = Story(chain("a", "b")).started("a").run
    assert forecast(run, NOBODY) == Forecast(("a", "b"), settles=frozenset("a"))


def test_what_nobody_can_look_at_stays_unknown_until_somebody_says() -> None:
    run = Story(chain("a", "b")).started("a").unknown("a").run
    assert forecast(run, frozenset("a")) == Forecast((), unseen=("a",), ends=RunStatus.UNKNOWN)
    assert forecast(run, frozenset("a"), StepResolved("a", "done", "kim", "")) == Forecast(("b",))
    assert forecast(run, frozenset("a"), StepResolved("a", "not-done", "kim", "")) == Forecast(("a", "b"))


def test_who_is_waited_for_counts_as_there() -> None:
    run = Story(chain("a", "b")).waiting("a").run
    assert forecast(run, NOBODY).steps == ("a", "b")


def test_the_end_of_the_run_and_what_was_gone_on_from() -> None:
    graph = build(
        [
            step("a", on_failure=OnFailure.CONTINUE),
            step("b", "a"),
            step("warn", section=Section.ON_FAILURE),
            step("tidy", section=Section.FINALLY),
        ]
    )
    run = Story(graph).started("a").failed("a").started("b").failed("b").done("warn", "tidy").run
    assert forecast(run, NOBODY) == Forecast(("b", "tidy"), ends=RunStatus.COMPLETED_WITH_FAILURES)


def test_asking_changes_nothing() -> None:
    run = Story(chain("a", "b")).started("a").run
    forecast(run, NOBODY)
    assert run.step("a").attempt == 1 and run.status is RunStatus.RUNNING
