"""One step's life: observe, plan, perform, observe again, verify; the same after a crash as before it.

Owns :class:`StepLife`. Promises: the intent of a changing operation is durable before the operation may have an effect; on a
resume nothing is performed that was not approved, but for clean-up that carries the run's name; *succeeded* means that the
operations ended well, that nothing was left to change, and that the verification held.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from typing import Any, assert_never, get_type_hints

from pydantic import TypeAdapter

from runbook.action import Action, Attempt, CheckFailed, Done, Interrupted, Role, Undecidable, Unreachable, roles
from runbook.engine.events import (
    OperationFinished,
    OperationNoted,
    OperationStarted,
    StepFailed,
    StepPlanned,
    StepSucceeded,
    StepUnknown,
    StepWaiting,
    problem_json,
)
from runbook.engine.step_run import StepRun
from runbook.errors import InvalidInput, Refused
from runbook.operation import Ask, Fields, Json, Operation, Operations, canonical, changes, digest, kind
from runbook.paste import paste
from runbook.revive import revive
from runbook.runner.ended import Adrift, Asks, Broke, Ended, Won
from runbook.runner.faults import (
    cannot_know,
    drifted,
    left_behind,
    not_approved,
    out_of_time,
    something_left,
    taken_back,
)
from runbook.runner.ledger import Ledger
from runbook.runner.prepare import Prepared
from runbook.runner.setting import Setting
from runbook.transports.outcome import Begun, Failed, Lost, NeverStarted, Succeeded, Unsettled, Use

MOST_ROUNDS = 20
"""No action follows itself more often: a bound on the loop, whatever an action says."""

TAKEN_BACK_WITHIN_S = 30.0


class _End(Exception):
    """Leaves an attempt from inside, with how it ended."""

    def __init__(self, ended: Broke | Adrift | Asks) -> None:
        super().__init__()
        self.ended = ended


class StepLife:
    """One attempt at one step, from its start to its end. Made anew for every attempt."""

    def __init__(self, setting: Setting, ledger: Ledger, prepared: Prepared) -> None:
        self._setting = setting
        self._ledger = ledger
        self._prepared = prepared
        self._step = prepared.step.id
        self._scope = prepared.scope
        self._action = prepared.action
        timeout = prepared.step.timeout_s
        self._began = setting.clock.monotonic()
        self._deadline = None if timeout is None else self._began + timeout
        self._results: dict[str, Fields] = {}
        self._round = 1
        self._root = self._step
        self._facts: Any = None

    def attempt(self) -> Ended:
        """Go through the step once. The journal has its start already, and gets its end by :meth:`close`."""
        ended = self._attempted()
        return self._taken_back(ended) if isinstance(ended, Broke | Adrift) else ended

    def _attempted(self) -> Ended:
        try:
            return self._go()
        except _End as end:
            return end.ended
        except Refused as error:
            return Broke(error.problems[0], refused=True)
        except (CheckFailed, InvalidInput) as error:
            return Broke(error.problems[0])
        except Undecidable as state:
            return Adrift(state.problem)
        except Unreachable as state:
            # while nothing was begun nothing can be unknown
            return Adrift(state.problem) if self._state.touched else Broke(state.problem)

    def _taken_back(self, ended: Broke | Adrift) -> Broke | Adrift:
        """Perform what the action takes back after a definite failure. What isn't performed is told to a person."""
        back, why = self._retreat(ended.problem.code), None
        if not back:
            return ended
        if isinstance(ended, Broke) and not ended.refused and self._facts is not None:
            # under another id and with time of its own: neither a stop nor the step's bound is meant for it
            self._root, self._deadline = f"{self._step}~back", self._setting.clock.monotonic() + TAKEN_BACK_WITHIN_S
            try:
                for operation in back:
                    self._perform(operation)
                return replace(ended, problem=taken_back(ended.problem, back))
            except _End as end:
                why = end.ended.problem if isinstance(end.ended, Broke | Adrift) else None
        return replace(ended, problem=left_behind(ended.problem, back, why))

    def _retreat(self, code: str) -> Operations:
        prepared, known = self._prepared, self._state.operations
        if type(self._action).retreat is Action.retreat or not known:
            return ()
        facts = self._facts
        if facts is None:  # an earlier executor began it, and it can't be looked at now
            facts = self._action.assume(prepared.system, prepared.inputs, prepared.scope)
        attempt: Attempt[Any] = Attempt(facts, frozenset(known), frozenset(self._ended_well()), code)
        return self._action.retreat(prepared.system, prepared.inputs, attempt, prepared.scope)

    def close(self, ended: Ended) -> None:
        """Journal how the attempt ended."""
        spent = round(self._setting.clock.monotonic() - self._began, 6)
        match ended:
            case Won(outputs):
                self._ledger.commit(StepSucceeded(self._step, outputs, spent))
            case Broke(problem, refused):
                self._ledger.commit(StepFailed(self._step, problem_json(problem), spent, refused))
            case Adrift(problem):
                self._ledger.commit(StepUnknown(self._step, problem_json(problem)))
            case Asks(question):
                self._ledger.commit(question)
            case _:
                assert_never(ended)

    def settle(self) -> Ended | None:
        """After a crash: see to it that nothing begun earlier still moves. None = the step may go on."""
        asks = self._action.interrupted_of(self._prepared.inputs) is Interrupted.ASK
        for name, begun in self._state.operations.items():
            if begun.finished is not None or begun.form is None:
                continue  # it ended, or it only read
            operation = revive(begun.form)
            use = self._use(operation, begun.id)
            settled = self._setting.performer.fence(Begun(begun.id, operation, begun.notes), use)  # type: ignore[arg-type]
            match settled:
                case Succeeded(found, inner):
                    self._finish(name, Succeeded(found, inner), adopted=True)
                case Failed() if asks:
                    self._finish(name, settled, adopted=True)
                    return Broke(settled.problem)
                case Failed():
                    self._finish(name, settled, adopted=True)
                case Lost(problem):
                    return Adrift(problem)
                case Unsettled() if asks:
                    return Adrift(cannot_know(self._setting.run, self._step, name))
                case NeverStarted() | Unsettled():
                    pass
                case _:
                    assert_never(settled)
        return None

    @property
    def _state(self) -> StepRun:
        return self._ledger.run.step(self._step)

    def _go(self) -> Won:
        asks = self._action.interrupted_of(self._prepared.inputs) is Interrupted.ASK
        known = {**self._state.earlier, **self._state.operations} if asks else self._state.operations
        for name, earlier in known.items():
            if earlier.finished and earlier.finished.outcome == "succeeded":
                self._remember(name, earlier.finished)
        facts = self._observe()
        operations = self._admitted(self._plan(facts), facts)
        self._announce(operations, facts)
        while operations:
            for operation in operations:
                self._perform(operation)
            if not any(changes(operation) for operation in operations):
                break
            if self._action.interrupted_of(self._prepared.inputs) is not Interrupted.OBSERVE:
                break
            # from here on it may be done: a probe that tells so may be asked, as on a resume
            self._scope = replace(self._scope, resumed=True)
            facts = self._observe()
            operations = self._plan(facts)
            if self._round >= self._rounds:
                self._nothing_left(operations)
                break
            self._round += 1
            operations = self._admitted(operations, facts)
            self._announce(operations, facts)
        prepared = self._prepared
        done: Done[Any] = Done(facts, dict(self._results))
        outputs = self._action.verify(self._setting.look, prepared.system, prepared.inputs, done)
        return Won(outputs.model_dump(mode="json"))

    def _observe(self) -> Any:
        prepared = self._prepared
        scope = replace(self._scope, ended=self._ended_well()) if self._scope.resumed else self._scope
        facts = self._pin(self._action.observe(self._setting.look, prepared.system, prepared.inputs, scope))
        recorded = self._state.guards
        now = roles(facts, Role.GUARD)
        for name, value in recorded.items():
            if now.get(name) != value:
                raise Refused(drifted(self._step, name, value, now.get(name)))
        self._facts = facts
        return facts

    def _ended_well(self) -> dict[str, Fields]:
        known = self._state.operations.items()
        return {
            name: one.finished.fields  # type: ignore[misc]  # fields of operations are scalars
            for name, one in known
            if one.finished and one.finished.outcome == "succeeded"
        }

    def _pin(self, facts: Any) -> Any:
        """The facts with their baselines as they were first taken."""
        return pinned_as(facts, self._state.pinned)

    def _plan(self, facts: Any) -> Operations:
        prepared = self._prepared
        return self._action.plan(prepared.system, prepared.inputs, facts, self._scope)

    @property
    def _rounds(self) -> int:
        return min(self._action.rounds, MOST_ROUNDS)

    def _admitted(self, operations: Operations, facts: Any) -> Operations:
        """What of these may run: where the step was begun before, only what was approved, what only a resume may add, clean-up,
        or the first list of a round that was not reached then.
        """
        if self._prepared.scope.resumed and self._state.approved and not self._state.renewed:
            self._only_approved(operations, facts)
        if self._action.interrupted_of(self._prepared.inputs) is Interrupted.ASK:
            return tuple(operation for operation in operations if operation.name not in self._results)
        return operations

    def _only_approved(self, operations: Operations, facts: Any) -> None:
        """Find the round that these belong to. Raises Refused where one of them was never shown."""
        prepared, approved = self._prepared, self._state.approved
        recovery = self._action.recovery(prepared.system, prepared.inputs, facts, prepared.scope)
        shown = frozenset().union(*approved.values())
        wanted = {digest(one): one for one in operations if changes(one) and not one.owned}
        new = wanted.keys() - shown - {digest(operation) for operation in recovery}
        if not new:
            again = (number for number, digests in approved.items() if digests & wanted.keys())
            self._round = max(self._round, min(again, default=self._round))
        elif max(approved) < self._rounds and not shown & wanted.keys():
            self._round = max(approved) + 1
        else:
            raise Refused(
                not_approved(self._setting.run, self._step, next(one for key, one in wanted.items() if key in new))
            )

    def _announce(self, operations: Operations, facts: Any) -> None:
        shown = tuple(describe(operation) for operation in operations)
        event = StepPlanned(self._step, self._round, shown, roles(facts, Role.GUARD), roles(facts, Role.PINNED))
        self._ledger.note(event)

    def _nothing_left(self, operations: Operations) -> None:
        left = [operation for operation in operations if changes(operation)]
        if left:
            raise CheckFailed(something_left(self._step, left[0]))

    def _perform(self, operation: Operation) -> None:
        if isinstance(operation, Ask):
            self._results[operation.name] = self._answered(operation)
            return
        if self._deadline is not None and self._setting.clock.monotonic() >= self._deadline:
            raise _End(Broke(out_of_time(self._step, operation.name)))
        use_id = f"{self._root}/{self._state.attempt}/{self._round}/{operation.name}"
        if changes(operation):
            form = canonical(operation)
            self._ledger.commit(OperationStarted(self._step, operation.name, use_id, changes=True, form=form))
        else:
            self._ledger.note(OperationStarted(self._step, operation.name, use_id, changes=False))
        began = self._setting.clock.monotonic()
        outcome = self._setting.performer.perform(operation, self._use(operation, use_id))
        spent = round(self._setting.clock.monotonic() - began, 6)
        match outcome:
            case Succeeded():
                self._finish(operation.name, outcome, duration_s=spent)
            case Failed(problem):
                self._finish(operation.name, outcome, duration_s=spent)
                raise _End(Broke(problem))
            case Lost(problem):
                raise _End(Adrift(problem) if changes(operation) else Broke(problem))
            case _:
                assert_never(outcome)

    def _use(self, operation: Operation, use_id: str) -> Use:
        def note(found: Fields) -> None:
            self._ledger.commit(OperationNoted(self._step, operation.name, dict(found)))

        return Use(
            id=use_id,
            application=self._prepared.scope.application,
            results=self._results,
            note=note,
            progress=lambda progress: self._setting.progress(self._step, operation.name, progress),
            deadline=self._deadline,
        )

    def _finish(
        self, name: str, outcome: Succeeded | Failed, *, duration_s: float = 0.0, adopted: bool = False
    ) -> None:
        failed = isinstance(outcome, Failed)
        event = OperationFinished(
            self._step,
            name,
            "failed" if failed else "succeeded",
            dict(outcome.fields),
            {} if isinstance(outcome, Failed) else {key: dict(value) for key, value in outcome.inner.items()},
            problem_json(outcome.problem) if isinstance(outcome, Failed) else None,
            duration_s,
            adopted,
        )
        self._ledger.note(event)
        if not failed:
            self._remember(name, event)

    def _remember(self, name: str, event: OperationFinished) -> None:
        self._results[name] = event.fields  # type: ignore[assignment]  # fields of operations are scalars
        for inner, found in event.inner.items():
            self._results[inner] = found  # type: ignore[assignment]

    def _answered(self, ask: Ask) -> Fields:
        state = self._state
        if ask.approvals:
            given = [a for a in state.approvals if a.subject == ask.subject]
            allowed = [a for a in given if not ask.approvers or a.by in ask.approvers or a.claimed in ask.approvers]
            if len(allowed) >= ask.approvals:
                return {"by": ", ".join(a.claimed or a.by for a in allowed)}
        elif state.answer is not None:
            return {**state.answer.fields, "by": state.answer.claimed or state.answer.by}  # type: ignore[dict-item]
        raise _End(Asks(_question(self._step, ask)))


def describe(operation: Operation) -> dict[str, Json]:
    """An operation as ``step.planned`` and ``plan --json`` show it."""
    return {
        "name": operation.name,
        "kind": kind(operation),
        "digest": digest(operation),
        "text": paste(operation),
        "reads": operation.reads,
    }


def pinned_as(facts: Any, recorded: Mapping[str, Json]) -> Any:
    """The facts with the recorded baselines in place of what is seen now."""
    if not recorded:
        return facts
    types = _field_types(type(facts))  # type: ignore[arg-type]  # a type is hashable, whatever mypy makes of type[Any]
    first = {name: types[name].validate_python(_untag(v)) for name, v in recorded.items() if name in types}
    return replace(facts, **first)


@cache
def _field_types(facts: type[Any]) -> dict[str, TypeAdapter[Any]]:
    hints = get_type_hints(facts)
    return {field.name: TypeAdapter(hints[field.name]) for field in fields(facts)}


def _untag(value: Json) -> Json:
    """A canonical value without the tags that canonical forms carry."""
    match value:
        case dict():
            return {key: _untag(item) for key, item in value.items() if key != "is"}
        case list():
            return [_untag(item) for item in value]
        case _:
            return value


def _question(step: str, ask: Ask) -> StepWaiting:
    return StepWaiting(
        step=step,
        kind="approval" if ask.approvals else "manual",
        instructions=ask.instructions,
        subject=ask.subject,
        needs=max(ask.approvals, 1),
        approvers=ask.approvers,
        questions=tuple(
            {"name": q.name, "type": q.type, "help": q.help, "choices": list(q.choices)} for q in ask.questions
        ),
    )
