"""What the journal says of one step, and of its operations: a part of the fold.

Named tuples, where the rest of the house has frozen dataclasses: every record makes new ones, and a tuple is changed in a
quarter of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from runbook.engine.events import JsonObject, OperationFinished, StepApproved, StepConfirmed, StepWaiting
from runbook.engine.transitions import Status
from runbook.operation import Json


@dataclass(frozen=True, slots=True)
class OperationRun:
    """An operation of a step: begun (``finished`` is None) or ended. ``form`` is its canonical form, where it changes something."""

    id: str
    form: Json = None
    notes: tuple[JsonObject, ...] = ()
    finished: OperationFinished | None = None


class StepRun(NamedTuple):
    """What the journal says of a step. ``attempt`` counts from 1; ``tries`` those since a person or a resume looked at it.

    ``approved`` are the digests of the operations that were shown for each round; ``pinned`` the baselines as first taken.
    ``operations`` are those of this attempt and of the one that it goes on with, in the order in which they were begun last;
    ``earlier`` those that succeeded before them.
    ``consent`` is a person's word that the step may begin, ``answer`` what they said to the step's own question.
    ``renewed``: it is to be done wholly again, and may then plan what the world wants by now.
    ``touched``: an operation that may change something was begun, in this attempt or an earlier one; ``in_force``: so it was, or
    it succeeded, and its release, where it has one, did not take it back since. ``skipped_by`` is who said that the step isn't
    needed.
    """

    status: Status = Status.PENDING
    attempt: int = 0
    tries: int = 0
    round: int = 0
    approved: Mapping[int, frozenset[str]] = MappingProxyType({})
    guards: JsonObject = MappingProxyType({})
    pinned: JsonObject = MappingProxyType({})
    operations: Mapping[str, OperationRun] = MappingProxyType({})
    earlier: Mapping[str, OperationRun] = MappingProxyType({})
    outputs: JsonObject | None = None
    question: StepWaiting | None = None
    consent: StepConfirmed | None = None
    answer: StepConfirmed | None = None
    approvals: tuple[StepApproved, ...] = ()
    problem: Json = None
    refused: bool = False
    duration_s: float = 0.0
    reason: str = ""
    renewed: bool = False
    touched: bool = False
    in_force: bool = False
    skipped_by: str = ""

    @property
    def begun(self) -> tuple[OperationRun, ...]:
        """Operations that were begun and whose end isn't journalled."""
        return tuple(operation for operation in self.operations.values() if operation.finished is None)
