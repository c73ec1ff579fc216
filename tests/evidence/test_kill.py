"""kill -9 at random instants of a restore: what runs goes on, `resume` finds it, and the database is right.

The long form, on a large database and with more instants, is `make sweep`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.evidence.kills import Trials, Victim
from tests.evidence.stacks import CIVICQ, stack
from tests.fixtures.seed import SEED

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.docker, pytest.mark.slow]

INSTANTS = 2


@pytest.fixture(scope="module")
def here(docker_client: DockerClient) -> Iterator[Trials]:
    """Trials on a cluster of this machine."""
    with stack(docker_client, CIVICQ, local=True, stopped=("celery-beat",)) as made:
        yield Trials.on(made)


@pytest.fixture(scope="module")
def there(docker_client: DockerClient) -> Iterator[Trials]:
    """Trials on a server in a container."""
    with stack(docker_client, CIVICQ, stopped=("celery-beat",)) as made:
        yield Trials.on(made)


def tried(trials: Trials, victim: Victim, salt: int) -> None:
    seed = SEED + salt
    for part in trials.instants(seed, INSTANTS):
        print(f"RUNBOOK_SEED={SEED}: {victim}, after {part:.0%} of {trials.clean_s:.3f} s")
        print(trials.trial(victim, part))


@pytest.mark.parametrize("victim", [Victim.ENGINE, Victim.EVERYTHING])
def test_on_this_machine(here: Trials, victim: Victim) -> None:
    tried(here, victim, salt=1)


@pytest.mark.parametrize("victim", [Victim.ENGINE, Victim.EVERYTHING])
def test_in_a_container(there: Trials, victim: Victim) -> None:
    tried(there, victim, salt=2)
