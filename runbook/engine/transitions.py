"""A step's life as one total table.

Owns :data:`TRANSITIONS`. Every pair of status and event is either in the table or illegal; an illegal
one stops the run, since then the journal and this program disagree about what happened.
"""

from __future__ import annotations

from runbook.engine.events import (
    OperationFinished,
    OperationNoted,
    OperationStarted,
    StepApproved,
    StepCancelled,
    StepConfirmed,
    StepEvent,
    StepFailed,
    StepPlanned,
    StepResolved,
    StepRetried,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepUndone,
    StepUnknown,
    StepWaiting,
)
from runbook.engine.status import RunStatus, Status

__all__ = ["TRANSITIONS", "RunStatus", "Status"]

_P, _R, _W, _U = Status.PENDING, Status.RUNNING, Status.WAITING, Status.UNKNOWN

TRANSITIONS: dict[tuple[Status, type[StepEvent]], Status] = {
    (_P, StepStarted): _R,
    (_P, StepSkipped): Status.SKIPPED,
    (_P, StepCancelled): Status.CANCELLED,
    (_P, StepWaiting): _W,
    (_P, StepFailed): Status.FAILED,
    # an approval that arrives after the step was put back is kept, and changes nothing else
    (_R, StepStarted): _R,
    (_R, StepPlanned): _R,
    (_R, OperationStarted): _R,
    (_R, OperationNoted): _R,
    (_R, OperationFinished): _R,
    (_R, StepSucceeded): Status.SUCCEEDED,
    (_R, StepFailed): Status.FAILED,
    (_R, StepRetried): _R,
    (_R, StepWaiting): _W,
    (_R, StepUnknown): _U,
    (_W, StepConfirmed): _P,
    (_W, StepApproved): _W,  # PENDING once there are enough: the fold decides
    (_W, StepSkipped): Status.SKIPPED,
    (_W, StepCancelled): Status.CANCELLED,
    (_U, StepStarted): _R,
    (_U, OperationFinished): _U,
    (_U, StepUnknown): _U,
    (_U, StepFailed): Status.FAILED,
    (_U, StepResolved): Status.SUCCEEDED,  # PENDING for "not-done": the fold decides
    (Status.FAILED, StepSkipped): Status.SKIPPED,
    (Status.FAILED, StepUndone): Status.UNDONE,
    (Status.SUCCEEDED, StepUndone): Status.UNDONE,
}
