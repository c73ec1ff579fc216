"""The roll of runs: one entry a run, quickly, and which of them may go.

Owns :class:`Entry`. Promises: a list of a thousand runs costs a thousand glances, and loads neither plans nor pydantic; a run that
could be gone on with, or that holds the only copy of a secret, is never removed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from runbook.engine.status import RunStatus
from runbook.errors import Busy
from runbook.journal.glance import Glance, glance
from runbook.journal.layout import RunDir, refuse_unsafe, runs
from runbook.journal.locks import Lock, LockOwner
from runbook.journal.record import Record
from runbook.report.line import Line
from runbook.units import show_duration

if TYPE_CHECKING:
    from runbook.value import Json

_TRIES = 5
UNREADABLE = "unreadable"
_TONES = {"succeeded": "good", "failed": "bad", "completed_with_failures": "bad", UNREADABLE: "bad", "abandoned": "dim"}
_MARKS = {
    "succeeded": "✓",
    "failed": "✗",
    "completed_with_failures": "✗",
    "running": "▶",
    "waiting": "…",
    "unknown": "?",
    "interrupted": "■",
    "abandoned": "–",
    UNREADABLE: "✗",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A run in the list. ``status`` is a run's status or ``unreadable``; ``duration_s`` None where it can't be told."""

    run: RunDir
    plan: str
    environment: str
    status: str
    operator: str
    duration_s: float | None
    ended_at: datetime | None


def entries(state: Path) -> list[Entry]:
    """All runs of a state directory, newest first."""
    refuse_unsafe(state)
    now = datetime.now(UTC)
    return [entry(glance(run), now) for run in reversed(runs(state))]


def entry(seen: Glance, now: datetime) -> Entry:
    """A run from a glance at it."""
    if seen.first is None or seen.state is None or seen.last is None:
        status = "running" if seen.engine else UNREADABLE
        return Entry(seen.run, "", "", status, "", None, None)
    header = seen.first.payload
    return Entry(
        run=seen.run,
        plan=str(header.get("plan", "")),
        environment=str(header.get("environment", "")),
        status=_status(seen, seen.state),
        operator=str(header.get("operator", "")),
        duration_s=_duration(seen, seen.first, seen.state, now),
        ended_at=None if seen.engine else seen.last.at,
    )


def _status(seen: Glance, state: Record) -> str:
    if seen.engine is not None:
        return RunStatus.RUNNING.value
    match state.event:
        case "run.finished":
            return str(state.payload.get("status"))
        case "run.waiting":
            return RunStatus.WAITING.value
        case _:
            return RunStatus.INTERRUPTED.value


def _duration(seen: Glance, first: Record, state: Record, now: datetime) -> float | None:
    if seen.engine is not None:
        return (now - first.at).total_seconds()
    measured = state.payload.get("duration_s")
    if isinstance(measured, int | float):
        return float(measured)
    return None if seen.last is None else (seen.last.at - first.at).total_seconds()


def as_json(found: Entry) -> dict[str, Json]:
    """The entry as ``runs --json`` has it."""
    return {
        "run": found.run.run,
        "plan": found.plan,
        "environment": found.environment,
        "status": found.status,
        "operator": found.operator,
        "duration_s": found.duration_s,
    }


def as_lines(found: list[Entry], *, width: int) -> list[Line]:
    """A table. Where it would be too wide the plan's name is left out: it is in the run's id."""
    rows = [
        (
            one.run.run,
            one.plan,
            one.environment,
            one.status,
            one.operator,
            "" if one.duration_s is None else show_duration(one.duration_s),
        )
        for one in found
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(6)]
    columns = range(6) if sum(widths) + 2 * len(widths) <= width else (0, 2, 3, 4, 5)
    return [
        Line(
            _MARKS.get(one.status, "·"),
            "  ".join(row[column].ljust(widths[column]) for column in columns).rstrip(),
            _TONES.get(one.status, "ask"),
        )
        for one, row in zip(found, rows, strict=True)
    ]


def removable(found: Iterable[Entry], *, keep: int | None, older_s: float) -> list[Entry]:
    """Those that may go: finished, none of the ``keep`` newest finished ones, and ended longer ago than ``older_s``."""
    now = datetime.now(UTC)
    finished = [one for one in found if _final(one.status) and not _minted(one.run)]
    return [
        one
        for one in finished[keep or 0 :]
        if one.ended_at is not None and (now - one.ended_at).total_seconds() >= older_s
    ]


def remove(found: Entry) -> bool:
    """Remove a run's directory; False where somebody works on it now."""
    owner = LockOwner.me(run=found.run.run, holds=f"the engine of run {found.run.run}", now=datetime.now(UTC))
    try:
        with Lock.take(found.run.engine_lock, owner=owner):
            # out of the list first, in one step: what is half removed is no run any more
            doomed = found.run.path.rename(found.run.path.with_name(f".removed-{found.run.run}"))
            _delete(doomed)
    except Busy:
        return False
    return True


def _delete(directory: Path) -> None:
    """A supervisor that is about to leave takes its socket away meanwhile."""
    for _ in range(_TRIES):
        try:
            shutil.rmtree(directory)
        except FileNotFoundError:
            if not directory.exists():
                return
        else:
            return
    shutil.rmtree(directory, ignore_errors=True)


def _final(status: str) -> bool:
    return status in [one.value for one in RunStatus if one.final]


def _minted(run: RunDir) -> bool:
    """Whether the run keeps a secret that it made: this may be its only copy."""
    return run.escrow.is_dir() and any(run.escrow.iterdir())
