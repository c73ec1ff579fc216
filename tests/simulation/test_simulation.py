"""2,000 seeds in every test run, and the proof that they would show a defence that is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.simulation.mutations import MUTATIONS
from tests.simulation.trial import Trial

SEEDS = 2000
EACH = 100


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


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as found:
        yield found


@pytest.mark.parametrize("takes_out", MUTATIONS)
def test_a_missing_defence_is_found(takes_out: Callable[[pytest.MonkeyPatch], None], patch: pytest.MonkeyPatch) -> None:
    takes_out(patch)
    for seed in range(SEEDS):
        try:
            Trial(seed).go()
        except Exception:
            return
    pytest.fail(f"{SEEDS} seeds show nothing")
