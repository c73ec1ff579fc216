"""The world of a rehearsal: which operations of which steps have had their effect, and what becomes of each.

Owns :class:`StubWorld`, the performing half of a world, and the fates that an operation can meet. Promises: an effect is counted
the moment it happens; after a kill nothing of the dead engine happens any more, but for a child that lives on; a fence says
what the records of a supervisor could show, and no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import assert_never

from runbook.errors import Problem
from runbook.operation import Operation, Operations
from runbook.rehearse.disk import Killed, MemoryDisk
from runbook.transports.outcome import (
    Begun,
    Failed,
    Lost,
    NeverStarted,
    Outcome,
    Settled,
    Succeeded,
    Unsettled,
    Use,
)

TAKES_S = 0.001
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
FAILS = Problem("E300", "it failed, since the rehearsal wants it to", "", "a run would say what")
CUT_OFF = Problem("E302", "its answer was lost, since the rehearsal wants it to be", "", "a run would say what")


class Fate(StrEnum):
    """What becomes of an operation, as a rehearsal's table names it."""

    GOES_ON = "the engine is killed, the operation goes on"
    BEFORE = "everything is killed before its effect"
    AFTER = "everything is killed after its effect"
    LOST = "its answer is lost after its effect"


class StubClock:
    """A clock that only moves when something takes time."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        """The wall time."""
        return _EPOCH + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Time passes."""
        self.seconds += seconds


@dataclass
class StubWorld:
    """``done`` are the effects that hold, by step; ``effects`` counts every one that ever happened, by step and operation.

    ``undoes`` names for a release the hold whose effect it takes back. ``failing``: a step of which nothing succeeds.
    ``fate`` meets the operation of that step and name once.
    """

    disk: MemoryDisk
    undoes: Mapping[str, str] = field(default_factory=dict)
    clock: StubClock = field(default_factory=StubClock)
    done: dict[str, set[str]] = field(default_factory=dict)
    effects: Counter[tuple[str, str]] = field(default_factory=Counter)
    failing: str = ""
    fate: tuple[str, str, Fate] | None = None
    _left: dict[str, tuple[Operation, Settled | None]] = field(default_factory=dict)

    def perform(self, operation: Operation, use: Use) -> Outcome:
        """Perform it, as fate has it."""
        self._lives()
        self.clock.seconds += TAKES_S
        step = _step(use.id)
        if step == self.failing:
            return Failed(FAILS)
        if operation.reads:
            return Succeeded({})
        match self._met(step, operation.name):
            case None:
                self._happens(step, operation)
                return self._ends(operation, use, Succeeded({}))
            case Fate.LOST:
                self._happens(step, operation)
                self._left[use.id] = (operation, Unsettled())
                return Lost(CUT_OFF)
            case Fate.GOES_ON:
                self._left[use.id] = (operation, None)
            case Fate.BEFORE:
                self._left[use.id] = (operation, Unsettled())
            case Fate.AFTER:
                self._happens(step, operation)
                self._left[use.id] = (operation, Unsettled())
            case never:
                assert_never(never)
        self.disk.dead = True
        raise Killed

    def fence(self, begun: Begun, use: Use) -> Settled | Lost:
        """Wait for what lives on; say what its record shows."""
        self._lives()
        if begun.id not in self._left:
            return NeverStarted()
        operation, settled = self._left[begun.id]
        if settled is None:
            self._happens(_step(begun.id), operation)
            settled = Succeeded({})
            self._left[begun.id] = (operation, settled)
        return settled

    def stop(self, use_id: str, grace_s: float) -> None:
        """Nothing runs that a signal could end."""

    def sweep(self) -> None:
        """Nothing was left elsewhere."""

    def close(self) -> None:
        """There is nothing to give back."""

    def looked_at(self, step: str) -> frozenset[str]:
        """What of a step is done, as an observer sees it."""
        self._lives()
        return frozenset(self.done.get(step, ()))

    def happened(self, step: str) -> bool:
        """Whether the operation of a step whose end nobody knows has had its effect."""
        doubtful = (one.name for use, (one, ended) in self._left.items() if _step(use) == step and ended == Unsettled())
        return any(name in self.done.get(step, ()) for name in doubtful)

    def by_hand(self, step: str, operations: Operations) -> None:
        """Somebody does the rest of a step."""
        for operation in operations:
            if not operation.reads and operation.name not in self.done.get(step, ()):
                self._happens(step, operation)

    def _met(self, step: str, name: str) -> Fate | None:
        if self.fate is None or self.fate[:2] != (step, name):
            return None
        fate, self.fate = self.fate[2], None
        return fate

    def _happens(self, step: str, operation: Operation) -> None:
        self.effects[step, operation.name] += 1
        self.done.setdefault(step, set()).add(operation.name)
        if hold := self.undoes.get(step):
            self.done.pop(hold, None)
        for release, held in self.undoes.items():
            if held == step:
                self.done.pop(release, None)

    def _ends(self, operation: Operation, use: Use, ended: Succeeded) -> Succeeded:
        self._left[use.id] = (operation, ended)
        return ended

    def _lives(self) -> None:
        if self.disk.dead:
            raise Killed


def _step(use_id: str) -> str:
    return use_id.split("/", 1)[0]
