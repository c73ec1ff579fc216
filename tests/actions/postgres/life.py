"""A step's life with what the journal would keep of it: baselines of the first observation, and the operations approved then.

For tests of actions whose work destroys their own baseline. A resume may only do what was approved at first, what only cleans
up, and what :meth:`runbook.action.Action.recovery` adds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runbook.action import Action, Attempt, Done, Role, Scope, roles
from runbook.operation import Fields, Json, Operations, changes, digest
from runbook.runner.step import pinned_as
from runbook.system import System
from tests.actions.harness import Stage, StepFailed


@dataclass
class Life:
    """One step of one run, over any number of crashes."""

    stage: Stage
    action: Action[Any, Any, Any, Any]
    system: System
    scope: Scope
    written: Mapping[str, object]
    pinned: dict[str, Json] = field(default_factory=dict)
    guards: dict[str, Json] = field(default_factory=dict)
    approved: frozenset[str] = frozenset()
    results: dict[str, Fields] = field(default_factory=dict)
    ended: dict[str, Fields] = field(default_factory=dict)

    @property
    def inputs(self) -> Any:
        return self.action.inputs_type.model_validate(self.written)

    def observe(self) -> Any:
        """Facts, with the baselines as first taken."""
        scope = replace(self.scope, ended=dict(self.ended)) if self.approved else self.scope
        seen = self.action.observe(self.stage.look, self.system, self.inputs, scope)
        if not self.pinned:
            self.pinned, self.guards = roles(seen, Role.PINNED), roles(seen, Role.GUARD)
        assert roles(seen, Role.GUARD) == self.guards, "a guard drifted"
        return pinned_as(seen, self.pinned)

    def plan(self) -> Operations:
        """What remains; anything that was not approved is a failure."""
        facts = self.observe()
        operations = self.action.plan(self.system, self.inputs, facts, self.scope)
        if not self.approved:
            self.approved = frozenset(map(digest, operations))
        extra = self.action.recovery(self.system, self.inputs, facts, self.scope)
        known = self.approved | set(map(digest, extra))
        for one in operations:
            assert one.owned or not changes(one) or digest(one) in known, f"{one.name} was never approved"
        return operations

    def go(self, *, stop_after: int | None = None) -> list[str]:
        """Perform what remains, or that many operations of it; their names. A failure is taken back as far as the action says."""
        operations = self.plan()[:stop_after]
        begun: set[str] = set()
        for operation in operations:
            self.ended.pop(operation.name, None)  # so that they stand in the order in which they were begun last
            begun.add(operation.name)
            try:
                self.stage.perform(operation, self.results, self.scope)
            except StepFailed as failed:
                self._retreat(begun, str(failed))
                raise
            self.ended[operation.name] = self.results[operation.name]
        return [operation.name for operation in operations]

    def _retreat(self, begun: set[str], said: str) -> None:
        """What the runner does after a failure; the next go is another attempt."""
        found = re.search(r"error\[(E\d+)\]", said)
        well = frozenset(self.ended)
        attempt: Attempt[Any] = Attempt(self.observe(), frozenset(begun | well), well, found[1] if found else "")
        for operation in self.action.retreat(self.system, self.inputs, attempt, self.scope):
            self.stage.perform(operation, self.results, self.scope)
        self.ended.clear()

    def end(self) -> Any:
        """The closing round, and the outputs."""
        left = [one.name for one in self.plan() if changes(one)]
        assert left == [], f"left to be done: {left}"
        done = Done(self.observe(), self.results)
        return self.action.verify(self.stage.look, self.system, self.inputs, done)

    def undo(self) -> list[str]:
        """Perform the way back; the names of its operations."""
        operations = self.action.undo(self.system, self.inputs, self.observe(), self.scope)
        assert operations is not None
        for operation in operations:
            self.stage.perform(operation, self.results, self.scope)
        return [operation.name for operation in operations]
