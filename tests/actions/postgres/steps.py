"""One step after the other on a pair of servers, each with its own life, killed where a test wants it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from runbook.action import Action
from runbook.operation import Operations
from runbook.system import System
from tests.actions.harness import Stage
from tests.actions.postgres.life import Life


@dataclass
class Steps:
    """Steps in one world. What is done after the first operations of a step counts as resumed, as the runner has it."""

    stage: Stage
    performed: list[str]

    def life(self, action: Action[Any, Any, Any, Any], on: System, step: str, **written: object) -> Life:
        """A step that has not begun."""
        return Life(self.stage, action, on, self.stage.scope(step), written)

    def step(self, action: Action[Any, Any, Any, Any], on: System, step: str, **written: object) -> Any:
        """A whole step; its outputs."""
        return self.through(self.life(action, on, step, **written))

    def through(self, life: Life) -> Any:
        """What remains of a step, the closing round and the verification."""
        self.performed = life.go()
        life.scope = replace(life.scope, resumed=True)
        return life.end()

    def killed(self, life: Life, after: int) -> list[str]:
        """That many operations of a step, and then nothing more."""
        done = life.go(stop_after=after)
        life.scope = replace(life.scope, resumed=True)
        return done

    def planned(self, action: Action[Any, Any, Any, Any], on: System, step: str, **written: object) -> Operations:
        """What a step would do."""
        return self.life(action, on, step, **written).plan()
