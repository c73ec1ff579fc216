"""What a resume would do if all goes well from here: the engine itself is asked, step by step, with nothing performed.

Owns :class:`Forecast` and :func:`forecast`. Pure. Promises: the order is that of the engine's own decisions, one step at a time; a
condition counts as true, a person as there, and a step that nobody can look at stays unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runbook.engine.decide import Await, Begin, Cancel, End, Limits, Settle, decide
from runbook.engine.events import (
    RunResumed,
    StepCancelled,
    StepConfirmed,
    StepEvent,
    StepPlanned,
    StepStarted,
    StepSucceeded,
    StepUnknown,
)
from runbook.engine.run import Run, advance
from runbook.engine.transitions import RunStatus, Status

_ONE = Limits(parallel=1)


@dataclass(frozen=True, slots=True)
class Forecast:
    """``steps`` in the order in which they would be gone on with or begun; ``settles`` those among them that are looked at first.

    ``unseen``: steps that would be as unknown as before. ``ends``: the status with which the run would end.
    """

    steps: tuple[str, ...] = ()
    settles: frozenset[str] = frozenset()
    unseen: tuple[str, ...] = ()
    ends: RunStatus = RunStatus.SUCCEEDED


@dataclass(slots=True)
class _Play:
    run: Run
    steps: list[str] = field(default_factory=list)
    settles: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    def tell(self, *events: StepEvent) -> None:
        for event in events:
            self.run = advance(self.run, event)

    def does(self, step: str, *, settling: bool) -> None:
        """The step is begun, or gone on with, and ends well."""
        self.steps.append(step)
        if settling:
            self.settles.append(step)
        attempt = self.run.step(step).attempt + 1
        planned = StepPlanned(step, 1, ())
        self.tell(StepStarted(step, attempt, resumed=settling), planned, StepSucceeded(step, {}, 0.0))


def forecast(run: Run, unseen: frozenset[str], *before: StepEvent, said: StepEvent | None = None) -> Forecast:
    """What a resume of ``run`` would do. ``unseen``: steps whose effect nobody can look at; ``before``: what a person says before
    it, ``said``: what they say with it.
    """
    play = _Play(run)
    play.tell(*before)
    answered = (step for step in play.run.graph.order if play.run.step(step).status is Status.WAITING)
    play.tell(*(StepConfirmed(step, "") for step in answered))
    play.run = advance(play.run, RunResumed("", run.epoch + 1))
    play.tell(*([said] if said is not None else []))
    for _ in range(
        4 * len(run.graph.order) + 4
    ):  # each step is begun, settled, done once more or cancelled; then the end
        match decide(play.run, _ONE):
            case Begin((step, *_)):
                play.does(step, settling=False)
            case Settle((step, *_)) if step in unseen:
                play.unseen.append(step)
                play.tell(StepUnknown(step, {}))
            case Settle((step, *_)):
                play.does(step, settling=True)
            case Cancel(steps, because):
                play.tell(*(StepCancelled(step, because) for step in steps))
            case End(status):
                return Forecast(tuple(play.steps), frozenset(play.settles), tuple(play.unseen), status)
            case Begin() | Settle() | Await():
                break
    return Forecast(tuple(play.steps), frozenset(play.settles), tuple(play.unseen), RunStatus.INTERRUPTED)
