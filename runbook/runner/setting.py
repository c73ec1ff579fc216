"""What a run has round it: the plan and what it is carried out with.

Owns :class:`Setting`, given once, never changed. Clock and sleep are in it so that a simulator can give its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from runbook.action import Action, Look
from runbook.engine.events import StepWaiting
from runbook.graph import Graph
from runbook.journal.ports import Clock
from runbook.operation import Json
from runbook.plan.environment import Environment
from runbook.plan.model import Plan
from runbook.transports.outcome import Performer, Progress

if TYPE_CHECKING:
    from runbook.runner.claim import Claim

AnyAction = Action[Any, Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """A person's answer to a question. ``by`` is the system's user, on ``host``; ``claimed`` what they say of themselves."""

    by: str
    fields: Mapping[str, Json] = field(default_factory=dict)
    claimed: str = ""
    host: str = ""


Ask = Callable[[str, StepWaiting], Reply | None]
"""Puts a step's question to a person who is there; None = nobody answers now."""


@dataclass(frozen=True)
class Setting:
    """A run's surroundings. ``directory`` is the run's own; ``inputs`` are the effective ones; ``progress`` tells a view.

    ``stopping`` is told, from the signal handler, how many signals came so far.
    """

    plan: Plan
    graph: Graph
    environment: Environment
    inputs: Mapping[str, Json]
    actions: Mapping[str, AnyAction]
    performer: Performer
    look: Look
    clock: Clock
    sleep: Callable[[float], None]
    directory: str
    run: str
    started_at: str
    operator: str
    ask: Ask
    progress: Callable[[str, str, Progress], None]
    parallel: int = 4
    stopping: Callable[[int], None] = lambda _count: None
    rebind: Callable[[Claim], None] = lambda _claim: None
    """Lock a target's new identity, after a step replaced it."""

    @cached_property
    def public(self) -> Mapping[str, Mapping[str, Json]]:
        """What templates may see of the systems."""
        return self.environment.public()
