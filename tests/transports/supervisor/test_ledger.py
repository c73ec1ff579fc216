"""The supervisor's records on the disk: what is synced, in which order, and what a sync that failed means."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runbook.transports.supervisor.ledger import Ledger, frame

START = frame({"event": "start", "id": "op/1"})


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was synced, by name, in order."""
    found: list[str] = []

    def noting(call: Callable[[int], None]) -> Callable[[int], None]:
        def sync(fd: int) -> None:
            found.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
            call(fd)

        return sync

    monkeypatch.setattr(os, "fsync", noting(os.fsync))
    monkeypatch.setattr(os, "fdatasync", noting(os.fdatasync))
    return found


def test_the_files_name_is_on_the_disk_before_anything_starts(tmp_path: Path, synced: list[str]) -> None:
    path = tmp_path / "supervisor.jsonl"
    ledger = Ledger(str(path))
    assert ledger.sync(START)
    assert synced == [str(path), str(tmp_path)]
    assert ledger.sync(START)
    assert synced == [str(path), str(tmp_path), str(path)], "the name is there"
    second = Ledger(str(path))
    assert second.sync(START)
    assert synced[3:] == [str(path), str(tmp_path)], "the supervisor before it may have been killed in between"


@pytest.mark.parametrize("call", ["fsync", "fdatasync"])
def test_a_sync_that_failed_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fails(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    ledger = Ledger(str(tmp_path / "supervisor.jsonl"))
    with monkeypatch.context() as failing:
        failing.setattr(os, call, fails)
        assert not ledger.sync(START)
    size = (tmp_path / "supervisor.jsonl").stat().st_size
    assert not ledger.sync(START)
    assert not ledger.write(START)
    assert ledger.fault == f"sync: {os.strerror(errno.EIO)}"
    assert (tmp_path / "supervisor.jsonl").stat().st_size == size
