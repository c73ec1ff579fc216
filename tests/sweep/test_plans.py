"""A few kills of plans that ship, always at the same instants; the many, at others each time, are `python -m tests.sweep.plans`.

No plan that ships is left out of those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.evidence.program import PLANS
from tests.fixtures.seed import SEED
from tests.sweep.plans import CASES
from tests.sweep.trials import sweep

if TYPE_CHECKING:
    from docker import DockerClient

INSTANTS = 2


def test_every_plan_that_ships_is_swept() -> None:
    assert sorted(case.plan for case in CASES) == sorted(path.stem for path in PLANS.glob("*.yaml"))


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize("name", ["backup-db", "base-backup", "restore-rows", "restore-db-pitr", "switchover"])
def test_killed_and_resumed_a_plan_comes_to_the_same_end(name: str, docker_client: DockerClient) -> None:
    print(f"RUNBOOK_SEED={SEED}")
    case = next(case for case in CASES if case.plan == name)
    found = sweep(docker_client, case, there=False, seed=SEED, instants=INSTANTS)
    assert (found.tried, found.held) == (INSTANTS, INSTANTS)
