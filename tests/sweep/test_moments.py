"""A few trials of the sweep over moments, so that the sweep itself stays whole: every kind of target once."""

from __future__ import annotations

import pytest

from tests.sweep.moments import KINDS, ground, sweep

SEED = 20260214


@pytest.mark.slow
def test_exactly_the_commits_before_a_random_point_are_there() -> None:
    with ground() as made:
        made.write(SEED, seconds=4)
        trials = list(made.trials(SEED, len(KINDS)))
        assert {trial.kind for trial in trials} == set(KINDS)
        assert {trial.base.name for trial in trials} <= {one.name for one in made.bases}
        assert [wrong for _, wrong in sweep(made, trials) if wrong] == []
