"""Where a step and a run stand: the two closed sets of words, apart from the events that lead from one to the next.

Whoever only reads them (a list of runs) needn't load the events.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a step stands. Done for its successors: succeeded, skipped, and failed where failure continues."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    UNDONE = "undone"


class RunStatus(StrEnum):
    """Where a run stands. ``running`` and a dead executor together are shown as interrupted."""

    RUNNING = "running"
    WAITING = "waiting"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    COMPLETED_WITH_FAILURES = "completed_with_failures"
    ABANDONED = "abandoned"

    @property
    def final(self) -> bool:
        """Whether no resume can follow."""
        return self in (RunStatus.SUCCEEDED, RunStatus.COMPLETED_WITH_FAILURES, RunStatus.ABANDONED)
