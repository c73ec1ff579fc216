"""How an attempt at a step can end.

Owns the closed union :data:`Ended`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runbook.engine.events import StepWaiting
from runbook.errors import Problem
from runbook.operation import Json


@dataclass(frozen=True, slots=True)
class Won:
    """The attempt ended well, with these outputs."""

    outputs: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Broke:
    """A definite failure. ``refused``: a guard said no. ``final``: trying again can't help."""

    problem: Problem
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Adrift:
    """How it ended can't be shown."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class Asks:
    """A person has to answer first."""

    question: StepWaiting


Ended = Won | Broke | Adrift | Asks
