"""A step's life in small, for the tests of actions: observe, plan, perform in the real world, observe again, verify.

No journal and no engine: what is tested here is the action. ``stop_after`` plays a crash: later operations are not performed,
and another :func:`live` with the same scope is the resume.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runbook.action import Action, Done, Look, Role, Scope, roles
from runbook.operation import Fields, Operation, Operations, changes
from runbook.system import System
from runbook.transports.outcome import Failed, Lost, Performer, Succeeded, Use
from runbook.transports.world import boot_clock

RUN = "20260214-120000-test-4f3a"
STARTED = datetime(2026, 2, 14, 12, 0, tzinfo=UTC)


class StepFailed(AssertionError):
    """An operation did not end well; the problem's text says why."""


@dataclass
class Stage:
    """A world with a run's directory: what an action needs to be used."""

    look: Look
    performer: Performer
    directory: Path
    systems: Mapping[str, System] = field(default_factory=dict)
    performed: list[str] = field(default_factory=list)
    notes: list[Fields] = field(default_factory=list)

    def scope(self, step: str = "step", run: str = RUN) -> Scope:
        """The scope of a step of the one run, or of another."""
        return Scope(
            run=run,
            step=step,
            started_at=STARTED,
            directory=str(self.directory),
            environment="test",
            live=False,
            systems=self.systems,
        )

    def live(
        self,
        action: Action[Any, Any, Any, Any],
        system: System,
        scope: Scope | None = None,
        *,
        stop_after: str = "",
        **written: object,
    ) -> Any:
        """Go through a step with the inputs as ``written`` in a plan; its outputs, or None if it was stopped on the way."""
        scope = scope or self.scope()
        inputs = action.inputs_type.model_validate(written)
        facts = action.observe(self.look, system, inputs, scope)
        operations = action.plan(system, inputs, facts, scope)
        for role in Role:
            roles(facts, role)  # the journal and the dry-run take them in this form
        results: dict[str, Fields] = {}
        for operation in operations:
            self.perform(operation, results, scope)
            if operation.name == stop_after:
                return None
        facts = action.observe(self.look, system, inputs, scope)
        left = action.plan(system, inputs, facts, scope)
        assert not any(map(changes, left)), f"left to be done: {[one.name for one in left]}"
        return action.verify(self.look, system, inputs, Done(facts, results))

    def planned(
        self, action: Action[Any, Any, Any, Any], system: System, scope: Scope | None = None, **written: object
    ) -> Operations:
        """What a step would do now."""
        scope = scope or self.scope()
        inputs = action.inputs_type.model_validate(written)
        return action.plan(system, inputs, action.observe(self.look, system, inputs, scope), scope)

    def perform(self, operation: Operation, results: dict[str, Fields], scope: Scope) -> None:
        """Perform one operation and keep its results; :class:`StepFailed` unless it ended well."""
        self.performed.append(operation.name)
        use = Use(
            id=f"{scope.step}/1/1/{operation.name}-{len(self.performed)}",
            application=scope.application,
            results=results,
            note=self.notes.append,
            progress=_unheard,
            deadline=boot_clock() + 300,
        )
        match self.performer.perform(operation, use):
            case Succeeded(found, inner):
                results[operation.name] = found
                results.update(inner)
            case Failed(problem) | Lost(problem):
                raise StepFailed(f"{operation.name}: {problem.render()}")


_unheard: Callable[[object], None] = lambda progress: None  # noqa: E731 - a sink, not a function worth a name
