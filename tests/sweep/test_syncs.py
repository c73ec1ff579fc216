"""Two passages of the sweep over every sync: one that strace hits, one inside the supervisor. The rest: `make sweep`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.evidence.kills import Trials
from tests.evidence.stacks import CIVICQ, stack
from tests.sweep.syncs import POINTS

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def trials(docker_client: DockerClient) -> Iterator[Trials]:
    with stack(docker_client, CIVICQ, local=True, stopped=("celery-beat",)) as made:
        yield Trials.on(made)


@pytest.mark.parametrize(("point", "number"), [("strace", 9), ("supervisor.executed", 1)])
def test_a_restore_killed_at_a_sync_comes_to_its_end(trials: Trials, point: str, number: int) -> None:
    assert point in POINTS
    assert trials.trial_at(point, number), "the place was reached"
