"""300 seeds in every test run, and the proof that they would show a defence that is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from runbook.engine import decide as decisions
from runbook.engine import run as fold
from runbook.engine.decide import Begin, Decision, Limits, decide
from runbook.engine.events import Event
from runbook.engine.run import Run, satisfied
from runbook.plan.model import Section
from runbook.runner import loop, step
from runbook.runner.ended import Broke
from runbook.runner.ledger import Ledger
from runbook.runner.step import StepLife
from tests.simulation.trial import Trial

SEEDS = 300
EACH = 50
MOST_TO_FIND = 120


@pytest.mark.parametrize("first", range(0, SEEDS, EACH))
def test_every_seed_comes_to_its_end_with_every_rule_kept(first: int) -> None:
    for seed in range(first, first + EACH):
        try:
            Trial(seed).go()
        except Exception as fault:
            fault.add_note(f"again: python -m tests.simulation --seed {seed}")
            raise


def test_a_seed_tells_the_same_story_twice() -> None:
    for seed in range(8):
        one, other = Trial(seed), Trial(seed)
        one.go()
        other.go()
        assert one.story == other.story
        assert one.run.events == other.run.events


def without_syncs(patch: pytest.MonkeyPatch) -> None:
    """Intents are only noted."""

    def commit(self: Ledger, *events: Event) -> None:
        self.note(*events)

    patch.setattr(Ledger, "commit", commit)


def without_a_fence(patch: pytest.MonkeyPatch) -> None:
    """A resume does not ask what came of what was begun."""
    patch.setattr(StepLife, "settle", lambda self: None)


def with_holds_left(patch: pytest.MonkeyPatch) -> None:
    """A resume takes no hold again."""
    patch.setattr("runbook.engine.again._holds_again", lambda graph, steps: steps)


def with_results_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A new attempt begins with the first operation, whatever succeeded."""
    patch.setattr(fold, "_ended_well", lambda step: {})


def with_releases_in_any_case(patch: pytest.MonkeyPatch) -> None:
    """The end of a run starts what was stopped, whatever is half done."""
    patch.setattr("runbook.engine.decide.releasable", lambda run, hold, release: True)


def with_unknown_steps_retried(patch: pytest.MonkeyPatch) -> None:
    """What can't be known is taken for a definite failure."""
    patch.setattr(step, "Adrift", Broke)


def with_two_steps_too_many(patch: pytest.MonkeyPatch) -> None:
    """Steps begin before what they need."""

    def hasty(run: Run, limits: Limits) -> Decision:
        decision = decide(run, limits)
        if isinstance(decision, Begin):
            later = [one for one in run.graph.after[decision.steps[0]] if run.steps[one].status == "pending"]
            return Begin((*decision.steps, *later[:1]))
        return decision

    patch.setattr(loop, "decide", hasty)


def with_ends_that_wait(patch: pytest.MonkeyPatch) -> None:
    """A step of a run's end that was cut off waits for those before it, which are gone through again only after it."""

    def lacking(run: Run, step: str) -> tuple[str, ...]:
        if run.graph.steps[step].section is Section.STEPS:
            return settled_at_once(run, step)
        return tuple(need for need in run.graph.before[step] if not satisfied(run, need))

    settled_at_once = decisions._lacking
    patch.setattr(decisions, "_lacking", lacking)


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as found:
        yield found


@pytest.mark.parametrize(
    "takes_out",
    [
        without_syncs,
        without_a_fence,
        with_holds_left,
        with_results_forgotten,
        with_releases_in_any_case,
        with_unknown_steps_retried,
        with_two_steps_too_many,
        with_ends_that_wait,
    ],
)
def test_a_missing_defence_is_found(takes_out: Callable[[pytest.MonkeyPatch], None], patch: pytest.MonkeyPatch) -> None:
    takes_out(patch)
    for seed in range(MOST_TO_FIND):
        try:
            Trial(seed).go()
        except Exception:
            return
    pytest.fail(f"{MOST_TO_FIND} seeds show nothing")
