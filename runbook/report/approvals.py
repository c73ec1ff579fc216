"""Who approved, as far as it is known: the operating system's user and machine, beside the name that was claimed.

Owns the words and the JSON of an approval. Pure. Promises: a claimed name is never shown without the user who claimed it; an
approval by whoever applied the run is called that.
"""

from __future__ import annotations

from runbook.engine.events import StepApproved
from runbook.engine.run import Run
from runbook.operation import Json


def approver(approval: StepApproved, *, applied_by: str = "") -> str:
    """The approver in words. ``applied_by`` is the user who applied the run, where that is known."""
    user = f"{approval.by} on {approval.host}" if approval.host else approval.by
    own = ", who applied the run" if approval.by == applied_by else ""
    if approval.claimed and approval.claimed != approval.by:
        return f"{approval.claimed} (as claimed by the user {user}{own})"
    return f"{user} ({own.removeprefix(', ')})" if own else user


def as_json(approval: StepApproved, run: Run) -> dict[str, Json]:
    """An approval in ``show --json``: ``own`` says that it is by the user who applied the run."""
    return {
        "by": approval.by,
        "host": approval.host or None,
        "claimed": approval.claimed or None,
        "own": approval.by == run.header.operator,
        "subject": approval.subject,
    }
