"""Trouble: a definite failure inside a transport, before it becomes an outcome.

Owns the exception that transports raise among themselves. Promises: it is raised only where it is certain that the effect did
not happen, or the world said no; the world turns it into :class:`~runbook.transports.outcome.Failed`.
"""

from __future__ import annotations

from runbook.action import Unreachable
from runbook.errors import Problem

NOT_BUILT = "E390"


class Trouble(Exception):
    """A definite failure, with the problem to show."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.summary)
        self.problem = problem


LATE = "find out what was slow before this, then `runbook resume`; a longer `timeout` in the plan is for the next apply"
"""The remedy where no time was left: a run keeps its plan, and its steps have their whole time again."""


class Unsure(Exception):
    """It was done, or part of it, and it can't be shown that it lasts; the world makes it a loss."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.summary)
        self.problem = problem


class Absent(Trouble):
    """Nobody is there who could answer (nothing listens, the container is stopped): so nothing moves there either."""


def trouble(code: str, summary: str, detail: str = "", fix: str = "") -> Trouble:
    """Shorthand for a :class:`Trouble` with a problem of these parts."""
    return Trouble(Problem(code, summary, detail, fix))


def unreachable(code: str, summary: str, detail: str = "", fix: str = "") -> Unreachable:
    """Shorthand for an :class:`Unreachable` with a problem of these parts: a system could not be asked."""
    return Unreachable(Problem(code, summary, detail, fix))


def not_built(what: str, instead: str = "") -> Trouble:
    """What this version can't do yet; raised before anything runs."""
    return trouble(NOT_BUILT, "not built yet", f"{what} is not built yet; nothing was run.", instead)
