"""Journals to begin with: what the tests of the local journal share."""

from __future__ import annotations

from pathlib import Path

from runbook.journal.disk import PosixDisk
from runbook.journal.local import LocalJournal
from runbook.journal.ports import Disk
from runbook.journal.record import Payload
from tests.journal.steady_clock import SteadyClock

RUN = "20260214-120000-restore-db-4f3a"
HERE = Path("/state/runs") / RUN
POSIX = PosixDisk()


def create(directory: Path = HERE, disk: Disk = POSIX) -> LocalJournal:
    return LocalJournal.create(directory, run=RUN, clock=SteadyClock(), boot="b", disk=disk)


def reopen(directory: Path = HERE, disk: Disk = POSIX) -> LocalJournal:
    return LocalJournal.open(directory, run=RUN, clock=SteadyClock(), boot="b", disk=disk)


def step(number: int) -> Payload:
    return {"event": "step.started", "step": f"s{number}"}
