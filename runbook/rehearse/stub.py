"""An action that stands for the one that a step uses: what it would do is listed as in the dry-run, and nothing of it is real.

Owns :class:`Stub`. Promises: effect, what a resume may do after an interruption, holds, retries, questions and the number of
operations are the step's own; observing shows what the stub world has had happen, as far as the action itself could see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from pydantic import ConfigDict

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Interrupted, Look, Outputs, Scope, current, pinned
from runbook.operation import Ask, Json, Operation, Operations, Process
from runbook.rehearse.invent import answer, invented
from runbook.rehearse.world import FAILS, StubWorld
from runbook.report.dryrun import Shown
from runbook.runner.setting import AnyAction

_UNLISTED = "work"


class StubInputs(Inputs):
    """Nothing is rendered for a stub."""


class StubOutputs(Outputs):
    """Whatever the real action gives."""

    model_config = ConfigDict(extra="allow", frozen=True)


@dataclass(frozen=True, slots=True)
class StubFacts:
    """What of the step has happened; for a hold also that it was looked at before it began."""

    done: tuple[str, ...] = current()
    before: str = pinned()


class Stub(Action[Any, StubInputs, StubFacts, StubOutputs]):
    """One step of a rehearsal."""

    effect = Effect.READS

    def __init__(
        self, real: AnyAction, shown: Shown, world: StubWorld, *, interrupted: Interrupted, variant: int
    ) -> None:
        self._real, self._shown, self._world, self._variant = real, shown, world, variant
        self._interrupted = interrupted
        self.operations = _operations(shown)

    def effect_of(self, inputs: StubInputs) -> Effect:
        """As the dry-run has it."""
        return self._shown.effect

    def interrupted_of(self, inputs: StubInputs) -> Interrupted:
        """The real action's word."""
        return self._interrupted

    def replaces(self, system: Any, inputs: StubInputs) -> str:
        """As the dry-run has it."""
        return self._shown.replaces or self._shown.step.id

    def observe(self, look: Look, system: Any, inputs: StubInputs, scope: Scope) -> StubFacts:
        """What the world shows."""
        return StubFacts(tuple(sorted(self._world.looked_at(scope.step))), "as it was")

    def assume(self, system: Any, inputs: StubInputs, scope: Scope) -> StubFacts:
        """Nothing has happened."""
        return StubFacts((), "as it was")

    def plan(self, system: Any, inputs: StubInputs, facts: StubFacts, scope: Scope) -> Operations:
        """What remains, where the action could see that; else all of it."""
        if self._interrupted is not Interrupted.OBSERVE:
            return self.operations
        left = tuple(one for one in self.operations if one.name not in facts.done)
        return left if any(not one.reads for one in left) or self._shown.effect is Effect.READS else ()

    def verify(self, look: Look, system: Any, inputs: StubInputs, done: Done[StubFacts]) -> StubOutputs:
        """Outputs of the right types."""
        if self._world.failing == self._shown.step.id:
            raise CheckFailed(FAILS)
        return self.outputs()

    def outputs(self) -> StubOutputs:
        """What the step gives: values of the real outputs' types; of a question, its answers."""
        given = invented(self._real.outputs_type, self._variant)
        for ask in (one for one in self.operations if isinstance(one, Ask)):
            given |= cast("dict[str, Json]", {"answers": {q.name: answer(q, self._variant) for q in ask.questions}})
        return StubOutputs.model_validate(given)


def _operations(shown: Shown) -> Operations:
    """The step's operations, each as a process that would do nothing; questions stay questions."""
    if not shown.listed or shown.problem is not None:
        return (_stub(shown, _UNLISTED, reads=shown.effect is Effect.READS, owned=False),)
    return tuple(
        one if isinstance(one, Ask) else _stub(shown, one.name, reads=one.reads, owned=one.owned)
        for one in shown.operations
    )


def _stub(shown: Shown, name: str, *, reads: bool, owned: bool) -> Operation:
    return Process(name=name, argv=("rehearse", shown.step.id, name), reads=reads, owned=owned)
