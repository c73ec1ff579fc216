"""One stack for the tests that only use it, a fresh one for those that break it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from runbook.sandbox import layout
from runbook.sandbox.data import fill
from runbook.sandbox.stack import Stack
from tests.fixtures.temporary import make_folder


def quiet(line: str) -> None:
    """What the stack says is tested where it matters."""


def thrown_away(stack: Stack) -> None:
    """Kill what runs of it, and remove it: nobody will want its last words. How it ends in peace is tested where it matters."""
    with suppress(FileNotFoundError):
        for part in stack.status().parts:
            if part.running and part.pid is not None:
                os.kill(part.pid, signal.SIGKILL)
    stack.remove(quiet)


@pytest.fixture(scope="session", autouse=True)
def outside() -> Iterator[None]:
    """Where root's sandboxes keep what their servers touch: where servers are quickly thrown away."""
    folder = make_folder("rb-sandbox-")
    folder.chmod(0o711)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "_OUTSIDE", folder)
        yield
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def shared(outside: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that runs and holds a small document service; to be left as it is found."""
    stack = Stack(tmp_path_factory.mktemp("shared") / "sandbox")
    try:
        stack.up(quiet)
        fill(stack.login(), documents=500, users=50)
        yield stack
    finally:
        thrown_away(stack)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack that isn't up yet."""
    stack = Stack(tmp_path / "sandbox")
    try:
        yield stack
    finally:
        thrown_away(stack)
