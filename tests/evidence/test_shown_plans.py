"""No plan that ships is forgotten where what is shown is compared with what runs."""

from __future__ import annotations

from tests.evidence import test_shown_is_run, test_shown_is_run_recovery
from tests.evidence.program import PLANS

NOT_YET = {"enable-archiving", "failover", "rejoin-standby", "switchover"}
"""Run by other evidence, but their programs and statements are not yet compared with their dry-run."""


def test_every_plan_that_ships_is_compared_or_named() -> None:
    compared = {*test_shown_is_run.SHOWN, *test_shown_is_run_recovery.SHOWN}
    assert not compared & NOT_YET
    assert compared | NOT_YET == {path.stem for path in PLANS.glob("*.yaml")}
