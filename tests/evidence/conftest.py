"""Stacks for the evidence: one that a whole file may share, where its tests leave everything as it was, and fresh ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.actions.conftest import backups, base, cluster, stage  # noqa: F401 - fixtures
from tests.evidence.stacks import CIVICQ, Guide, Stack, stack

if TYPE_CHECKING:
    from docker import DockerClient


@pytest.fixture(scope="module")
def civicq(docker_client: DockerClient) -> Iterator[Stack]:
    """The CivicQ stack in containers, shared by a file; its service celery-beat is stopped."""
    with stack(docker_client, CIVICQ, stopped=("celery-beat",)) as made:
        yield made


@pytest.fixture(scope="module")
def civicq_here(docker_client: DockerClient) -> Iterator[Stack]:
    """The same with its database in a cluster of this machine."""
    with stack(docker_client, CIVICQ, local=True, stopped=("celery-beat",)) as made:
        yield made


@pytest.fixture
def stand(docker_client: DockerClient) -> Iterator[Callable[..., Stack]]:
    """`made = stand(GUIDE, local=…, stopped=…)`: a stack of this test's own."""
    with ExitStack() as open_stacks:

        def make(guide: Guide, **options: Any) -> Stack:
            return open_stacks.enter_context(stack(docker_client, guide, **options))

        yield make
