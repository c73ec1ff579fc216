"""Defences of how a run ends, each taken out by one patch in this process."""

from __future__ import annotations

import pytest

from runbook.engine import again
from runbook.engine import decide as engine
from runbook.engine.decide import Begin, Decision, End, Limits
from runbook.engine.run import Run
from runbook.engine.step_run import StepRun
from runbook.engine.transitions import RunStatus
from runbook.errors import Problem
from runbook.plan.model import Section
from runbook.report.forecast import Forecast
from runbook.runner.ended import Adrift, Broke, Ended
from runbook.runner.loop import Loop
from runbook.runner.prepare import Prepared


def missing_outputs(patch: pytest.MonkeyPatch) -> None:
    """Nobody asks before the run whether an output may be missing when it is used."""
    patch.setattr("runbook.plan.reach._may_not_have_run", lambda reference, target, node: None)


def stopping_at_a_failure(patch: pytest.MonkeyPatch) -> None:
    """A failure is gone on from, whatever the plan says."""
    patch.setattr(engine, "main_failures", lambda run: False)


def settling(patch: pytest.MonkeyPatch) -> None:
    """An unknown step that is looked at counts as running."""
    patch.setattr("runbook.engine.run._settling", lambda run, event, before: run)


def only_failures_retried(patch: pytest.MonkeyPatch) -> None:
    """Whatever did not end well is tried again as often as it may be."""

    def retries(self: Loop, prepared: Prepared, ended: Ended) -> Problem | None:
        tries = self._ledger.run.step(prepared.step.id).tries
        more = isinstance(ended, Broke | Adrift) and tries < prepared.step.retry.attempts
        return ended.problem if more and isinstance(ended, Broke | Adrift) else None

    patch.setattr(Loop, "_retries", retries)


def remembered_holds(patch: pytest.MonkeyPatch) -> None:
    """A hold that a resume puts back counts as never taken."""
    wholly_again = again.wholly_again

    def forgetting(step: StepRun) -> StepRun:
        return wholly_again(step)._replace(in_force=False)

    patch.setattr(again, "wholly_again", forgetting)


def patient_end(patch: pytest.MonkeyPatch) -> None:
    """``finally`` runs at every end, whatever is unknown, and on an interrupt."""

    def decide(run: Run, limits: Limits) -> Decision:
        decision = engine.decide(run, limits)
        begun = any(run.step(step).attempt for step in run.graph.section(Section.FINALLY))
        if decision in (End(RunStatus.UNKNOWN), End(RunStatus.INTERRUPTED)) and not begun:
            return engine._in_order(run, Section.FINALLY, 1, failed=False) or decision
        return decision

    patch.setattr("runbook.runner.loop.decide", decide)


def branches_beside_people(patch: pytest.MonkeyPatch) -> None:
    """Once a person is waited for, nothing else begins."""

    def decide(run: Run, limits: Limits) -> Decision:
        decision = engine.decide(run, limits)
        return End(RunStatus.WAITING) if run.waiting and isinstance(decision, Begin) else decision

    patch.setattr("runbook.runner.loop.decide", decide)


def asked_engine(patch: pytest.MonkeyPatch) -> None:
    """What a resume would do is not asked of the engine."""
    patch.setattr("runbook.report.does.forecast", lambda run, unseen, *before, said=None: Forecast())
