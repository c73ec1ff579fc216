"""A few kills of plans that ship; the many are `python -m tests.sweep.plans`."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.sweep.plans import CASES, sweep

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.docker, pytest.mark.slow]

SEED = int(os.environ.get("RUNBOOK_SEED", random.SystemRandom().randrange(2**31)))
INSTANTS = 2


@pytest.mark.parametrize("name", ["backup-db", "base-backup", "restore-rows", "restore-db-pitr"])
def test_killed_and_resumed_a_plan_comes_to_the_same_end(name: str, docker_client: DockerClient) -> None:
    print(f"RUNBOOK_SEED={SEED}")
    case = next(case for case in CASES if case.plan == name)
    held, _ = sweep(docker_client, case, there=False, seed=SEED, instants=INSTANTS)
    assert held == INSTANTS
