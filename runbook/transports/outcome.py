"""What performing an operation came to, and what a performer is given.

Owns the closed union :data:`Outcome`, :class:`Use` (one performance of one operation) and the Protocols of the two halves of
a world: :class:`Performer` acts, :class:`runbook.action.Look` reads. A simulator implements both; so does ``world.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from runbook.errors import Problem
from runbook.operation import Fields, Operation


@dataclass(frozen=True, slots=True)
class Succeeded:
    """It ended well. ``inner`` has the results of a session's body, by operation name."""

    fields: Fields
    inner: Mapping[str, Fields] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """A definite failure: the effect did not happen, or the world said no."""

    problem: Problem
    fields: Fields = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lost:
    """It was begun, and how it ended can't be shown (a timeout, a lost connection, a killed child). Never for reads."""

    problem: Problem


Outcome: TypeAlias = Succeeded | Failed | Lost


@dataclass(frozen=True, slots=True)
class Progress:
    """How far long work is: ``done`` of ``total`` bytes (0 = not known)."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Use:
    """One performance: where its late values come from, how long it may take, whom to tell.

    ``id`` is unique in the run and stable over a resume: ``STEP/ATTEMPT/ROUND/NAME``. ``results`` are those of earlier operations
    of the step, by name. ``note`` journals, synced, what is needed to find the operation again, before that is relied on.
    ``deadline`` is an instant of the engine's monotonic clock (None = no bound).
    """

    id: str
    application: str
    results: Mapping[str, Fields]
    note: Callable[[Fields], None]
    progress: Callable[[Progress], None]
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """An operation that an earlier executor began and whose end is not journalled. ``notes`` are its journalled notes."""

    id: str
    operation: Operation
    notes: tuple[Fields, ...] = ()


@dataclass(frozen=True, slots=True)
class NeverStarted:
    """It is shown that the operation had no effect: its process was never executed, its transaction never committed."""


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Nothing that was begun moves any more, but how it ended can't be told from the records: look at the world, or ask."""


Settled: TypeAlias = Succeeded | Failed | NeverStarted | Unsettled


class Performer(Protocol):
    """The acting half of a world."""

    def perform(self, operation: Operation, use: Use) -> Outcome:
        """Perform one operation (never an Ask). Raises only for broken invariants."""

    def fence(self, begun: Begun, use: Use) -> Settled | Lost:
        """Make sure that nothing of ``begun`` still moves: attach and wait, then end orphans. Lost: it could not be ensured."""

    def stop(self, use_id: str, grace_s: float) -> None:
        """End what runs under that id: TERM to its whole tree, then KILL after ``grace_s``."""
