"""A small language for telling the engine what happened: graphs in a line, events in a word."""

from __future__ import annotations

from runbook.engine.decide import Begin, Cancel, Decision, End, Limits, Settle, decide
from runbook.engine.events import (
    Event,
    OperationFinished,
    OperationStarted,
    RunCreated,
    RunResumed,
    StepCancelled,
    StepConfirmed,
    StepFailed,
    StepPlanned,
    StepResolved,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepUnknown,
    StepWaiting,
)
from runbook.engine.run import Run, advance, begin
from runbook.engine.transitions import RunStatus
from runbook.graph import Graph, build
from runbook.operation import Json
from runbook.plan.model import OnFailure, Section, Step

HEADER = RunCreated("p", "0" * 64, "sandbox", False, "kim", "2026-02-14T12:00:00Z", {}, {}, "0.1.0")
PROBLEM: Json = {"code": "E1", "summary": "it broke", "detail": "", "fix": ""}


def step(
    name: str,
    *needs: str,
    section: Section = Section.STEPS,
    releases: str = "",
    on_failure: OnFailure = OnFailure.STOP,
) -> Step:
    return Step(
        id=name, title=name, uses="shell.run", needs=needs, section=section, releases=releases, on_failure=on_failure
    )


def chain(*names: str) -> Graph:
    return build([step(name, *names[max(0, i - 1) : i]) for i, name in enumerate(names)])


class Story:
    """A run and what has been told of it."""

    def __init__(self, graph: Graph) -> None:
        self.run: Run = begin(graph, HEADER)
        self.events: list[Event] = [HEADER]

    def tell(self, *events: Event) -> Story:
        for event in events:
            self.run = advance(self.run, event)
            self.events.append(event)
        return self

    def started(self, name: str, *, touching: bool = True) -> Story:
        attempt = self.run.step(name).attempt + 1
        self.tell(StepStarted(name, attempt), StepPlanned(name, 1, ({"digest": "d1", "name": "op"},)))
        return self.tell(OperationStarted(name, "op", f"{name}/{attempt}/1/op", touching))

    def succeeded(self, name: str) -> Story:
        self.tell(OperationFinished(name, "op", "succeeded"))
        return self.tell(StepSucceeded(name, {"of": name}, 1.0))

    def done(self, *names: str) -> Story:
        for name in names:
            self.started(name).succeeded(name)
        return self

    def failed(self, name: str) -> Story:
        return self.tell(StepFailed(name, PROBLEM, 1.0))

    def unknown(self, name: str) -> Story:
        return self.tell(StepUnknown(name, PROBLEM))

    def waiting(self, name: str) -> Story:
        return self.tell(StepWaiting(name, "confirm", "sure?"))

    def confirmed(self, name: str) -> Story:
        return self.tell(StepConfirmed(name, "kim"))

    def skipped(self, name: str) -> Story:
        return self.tell(StepSkipped(name, "when is false"))

    def resolved(self, name: str, outcome: str) -> Story:
        return self.tell(StepResolved(name, outcome, "kim", "I looked"))

    def resumed(self) -> Story:
        return self.tell(RunResumed("kim", self.run.epoch + 1))

    def next(self, *, parallel: int = 4, stopping: bool = False) -> Decision:
        return decide(self.run, Limits(parallel, stopping))

    def begins(self, *names: str, parallel: int = 4) -> Story:
        assert self.next(parallel=parallel) == Begin(names)
        return self

    def settles(self, *names: str) -> Story:
        assert self.next() == Settle(names)
        return self

    def cancels(self, *names: str) -> Story:
        decision = self.next()
        assert isinstance(decision, Cancel)
        assert decision.steps == names
        return self.tell(*(StepCancelled(name, decision.because) for name in names))

    def ends(self, status: RunStatus) -> Story:
        assert self.next() == End(status)
        return self
