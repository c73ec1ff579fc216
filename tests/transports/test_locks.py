"""Locks of a run: given back when it ends, kept while something of it runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runbook.errors import Busy
from runbook.journal.locks import LockOwner
from runbook.operation import Process
from runbook.secret import Redactor
from runbook.transports.world import World
from tests.fixtures.patience import Gate, eventually
from tests.transports.conftest import Uses


def owner(run: str) -> LockOwner:
    """A run that asks for a lock."""
    return LockOwner.me(run=run, holds="the target db", now=datetime.now(UTC))


@contextmanager
def world(directory: Path) -> Iterator[World]:
    """A run's world."""
    directory.mkdir(mode=0o700, exist_ok=True)
    made = World(directory, run=directory.name, redactor=Redactor())
    try:
        yield made
    finally:
        made.close()


def test_the_next_run_need_not_wait_for_the_supervisor_to_leave(tmp_path: Path) -> None:
    lock = tmp_path / "target.lock"
    with world(tmp_path / "first") as first:
        first.lock(lock, exclusive=True, owner=owner("first"))
        with world(tmp_path / "second") as second, pytest.raises(Busy, match="held by another run") as busy:
            second.lock(lock, exclusive=True, owner=owner("second"))
        assert "the target db is held by the run first" in busy.value.problems[0].detail
    with world(tmp_path / "third") as third:
        third.lock(lock, exclusive=True, owner=owner("third"))


def test_what_a_killed_engine_had_locked_is_given_back_by_the_one_that_goes_on(tmp_path: Path) -> None:
    """The target was another for it: the server was down, and nobody could ask who it is."""
    lock = tmp_path / "target.lock"
    killed = World(tmp_path / "first", run="first", redactor=Redactor())
    (tmp_path / "first").mkdir(mode=0o700)
    killed.lock(lock, exclusive=True, owner=owner("first"))
    with world(tmp_path / "first") as resumed:
        resumed.lock(tmp_path / "unreached.lock", exclusive=True, owner=owner("first"))
    with world(tmp_path / "second") as second:
        second.lock(lock, exclusive=True, owner=owner("second"))
    killed.close()


def test_what_still_runs_keeps_its_targets(tmp_path: Path, uses: Uses, gate: Gate) -> None:
    lock, log = tmp_path / "target.lock", tmp_path / "begun"
    first = World(tmp_path, run="first", redactor=Redactor())
    first.lock(lock, exclusive=True, owner=owner("first"))
    script = Process(name="p", argv=("sh", "-c", f"touch {log}; {gate.wait}"))
    waits = threading.Thread(target=first.perform, args=(script, uses()))
    waits.start()
    eventually(log.exists)
    first.close()
    with world(tmp_path / "second") as second, pytest.raises(Busy):
        second.lock(lock, exclusive=True, owner=owner("second"))
    gate.open()
    waits.join()
