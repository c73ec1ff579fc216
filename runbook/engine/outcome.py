"""How a run is about to end, for the steps of its end: ``run.outcome`` and ``run.problem`` of their templates.

Owns :func:`outcome`. Promises: it is told from the fold alone; a run of which steps have still to run did not succeed.
"""

from __future__ import annotations

from runbook.engine.run import Run
from runbook.engine.transitions import RunStatus, Status
from runbook.operation import Json
from runbook.plan.model import Section

LONGEST_PROBLEM = 2000
"""Characters of ``run.problem``: a message is read on a telephone."""


def outcome(run: Run) -> dict[str, Json]:
    """``outcome``: the status with which the run would end now; ``problem``: what failed and why, '' where nothing did."""
    failed = [step for step in run.graph.listed if step in run.failed or step in run.continued]
    told = "\n".join(_told(run, step) for step in failed)
    if len(told) > LONGEST_PROBLEM:
        told = told[: LONGEST_PROBLEM - 1] + "…"
    return {"outcome": _status(run).value, "problem": told}


def _status(run: Run) -> RunStatus:
    if run.failed:
        return RunStatus.FAILED
    releases = frozenset(run.graph.releases().values())  # one that waits until the end is known
    ahead = (step for step in run.graph.section(Section.STEPS) if step not in releases)
    if any(run.steps[step].status in (Status.PENDING, Status.UNKNOWN, Status.WAITING) for step in ahead):
        return RunStatus.INTERRUPTED
    return RunStatus.COMPLETED_WITH_FAILURES if run.continued else RunStatus.SUCCEEDED


def _told(run: Run, step: str) -> str:
    problem = run.steps[step].problem
    if not isinstance(problem, dict):
        return f"{step}: it failed"
    said = [str(problem.get(key) or "") for key in ("summary", "detail")]
    return f"{step}: " + ". ".join(text.rstrip(".") for text in said if text) + "."
