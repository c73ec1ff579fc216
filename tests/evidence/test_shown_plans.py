"""No plan that ships is forgotten where what is shown is compared with what runs."""

from __future__ import annotations

from tests.evidence import test_shown_is_run, test_shown_is_run_pair, test_shown_is_run_recovery
from tests.evidence.program import PLANS


def test_every_plan_that_ships_is_compared() -> None:
    compared = (*test_shown_is_run.SHOWN, *test_shown_is_run_recovery.SHOWN, *test_shown_is_run_pair.SHOWN)
    assert sorted(compared) == sorted(path.stem for path in PLANS.glob("*.yaml"))
