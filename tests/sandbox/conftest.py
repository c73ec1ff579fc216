"""One stack for the tests that only use it, a fresh one for those that break it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook.sandbox.data import fill
from runbook.sandbox.stack import Stack


def quiet(line: str) -> None:
    """What the stack says is tested where it matters."""


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that runs and holds a small document service; to be left as it is found."""
    stack = Stack(tmp_path_factory.mktemp("shared") / "sandbox")
    try:
        stack.up(quiet)
        fill(stack.login(), documents=500, users=50)
        yield stack
    finally:
        stack.remove(quiet)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack that isn't up yet."""
    stack = Stack(tmp_path / "sandbox")
    try:
        yield stack
    finally:
        stack.remove(quiet)
