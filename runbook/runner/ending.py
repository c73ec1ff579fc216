"""How a run ended, measured: status, recovery time and recovery point against their objectives, exit code.

Owns :class:`Ending` and :func:`measure`. Pure: instants come from the journal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from runbook.engine.events import RunFinished
from runbook.engine.run import Run
from runbook.engine.transitions import RunStatus
from runbook.errors import ExitCode
from runbook.operation import Json
from runbook.plan.model import Objectives, Plan
from runbook.units import parse_instant


@dataclass(frozen=True, slots=True)
class Ending:
    """What a command that ran a plan has to say of it."""

    run: str
    status: RunStatus
    exit_code: ExitCode
    state: Run


def measure(run: Run, plan: Plan, status: RunStatus, now: datetime) -> RunFinished:
    """The last record of an execution. Recovery time: from the run's start, waits included. Recovery point: from the outputs
    named ``recovery_point`` (the instant up to which data was recovered), the oldest of them. A run that failed, or of which
    a step's end isn't known, recovered nothing yet, so nothing is said to be met; nor of one at whose end the clock stands before
    its start.
    """
    started = parse_instant(run.header.started_at)
    elapsed = (now - started).total_seconds()
    duration = max(0.0, elapsed)
    if status in (RunStatus.FAILED, RunStatus.UNKNOWN):
        return RunFinished(status.value, round(duration, 6), int(exit_code(run, status)))
    point = recovery_point(run)
    rpo = None if point is None else max(0.0, (started - point).total_seconds())
    rto_json = None if elapsed < 0 else _against(plan.objectives.rto_s, duration)
    rpo_json = None if rpo is None else _against(plan.objectives.rpo_s, rpo)
    code = exit_code(run, status, missed=_missed(rto_json) or _missed(rpo_json))
    return RunFinished(status.value, round(duration, 6), int(code), rto_json, rpo_json)


def recovery_point(run: Run) -> datetime | None:
    """The oldest instant to which a step of the run recovered data; None where there is none, or one that can't be read.

    What stands in the journal once must not keep a run from its end.
    """
    points = [out.get("recovery_point") for out in run.outputs.values()]
    try:
        return min((parse_instant(point) for point in points if isinstance(point, str)), default=None)
    except ValueError:
        return None


def exit_code(run: Run, status: RunStatus, *, missed: bool = False) -> ExitCode:
    """The exit code that a status means."""
    match status:
        case RunStatus.SUCCEEDED:
            return ExitCode.MISSED if missed else ExitCode.DONE
        case RunStatus.FAILED:
            refused = [step for step in run.failed if run.step(step).refused]
            return ExitCode.REFUSED if refused and len(refused) == len(run.failed) else ExitCode.FAILED
        case RunStatus.COMPLETED_WITH_FAILURES:
            return ExitCode.FAILED
        case RunStatus.UNKNOWN | RunStatus.WAITING:
            return ExitCode.WAITING
        case RunStatus.INTERRUPTED | RunStatus.RUNNING:
            return ExitCode.INTERRUPTED
        case RunStatus.ABANDONED:
            return ExitCode.DONE


def objectives_json(objectives: Objectives) -> dict[str, Json]:
    """Objectives as the header carries them."""
    return {"rto_s": objectives.rto_s, "rpo_s": objectives.rpo_s}


def _against(target: float | None, actual: float) -> Json:
    return {"target_s": target, "actual_s": round(actual, 3), "met": None if target is None else actual <= target}


def _missed(measured: Json) -> bool:
    return isinstance(measured, dict) and measured.get("met") is False
