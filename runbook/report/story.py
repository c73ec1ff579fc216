"""A run as it goes: one line an event, read at a glance.

Owns :class:`Teller`, which turns records into lines. Pure: it is told instants, and keeps only what it needs for durations. The
same lines go to a terminal, to a log file and to ``runbook logs``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runbook.engine.events import (
    Event,
    OperationFinished,
    OperationStarted,
    RunCreated,
    RunFinished,
    RunInterrupted,
    RunResumed,
    RunWaiting,
    StepApproved,
    StepCancelled,
    StepConfirmed,
    StepFailed,
    StepResolved,
    StepRetried,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepUnknown,
    StepWaiting,
)
from runbook.graph import Graph
from runbook.operation import Json
from runbook.plan.model import Step
from runbook.report.approvals import approver
from runbook.report.line import Line
from runbook.units import show_duration

__all__ = ["Line", "Teller", "problem_lines", "titled"]


class Teller:
    """Tells a run's events as lines; ``titles`` and numbers come from the graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._number = {step: number for number, step in enumerate(graph.listed, start=1)}

    def tell(self, event: Event) -> tuple[Line, ...]:
        """The lines of one event; none for what only the journal needs."""
        match event:
            case RunCreated():
                return (Line("▸", f"{event.plan} in {event.environment}{' (live)' if event.live else ''}"),)
            case RunResumed():
                return (Line("▸", "going on where the run stopped"),)
            case RunWaiting(steps):
                return (Line("…", f"waiting for a person: {', '.join(steps)}", "ask"),)
            case RunInterrupted():
                return (Line("■", f"interrupted ({event.signal}); nothing new was started", "bad"),)
            case RunFinished():
                tone = "good" if event.status == "succeeded" else "bad"
                return (Line("■", f"{event.status} after {show_duration(event.duration_s)}", tone),)
            case OperationStarted(step, operation) if event.changes:
                return (Line("  ·", f"{step}: {operation}", "dim"),)
            case OperationFinished(step, operation) if event.adopted:
                return (Line("  ·", f"{step}: {operation} had {event.outcome} meanwhile", "dim"),)
            case StepStarted() | StepSucceeded() | StepFailed() | StepUnknown() | StepRetried():
                return self._life(event)
            case StepSkipped() | StepCancelled() | StepWaiting() | StepConfirmed() | StepApproved() | StepResolved():
                return self._rest(event)
            case _:
                return ()

    def _life(self, event: StepStarted | StepSucceeded | StepFailed | StepUnknown | StepRetried) -> tuple[Line, ...]:
        match event:
            case StepStarted():
                again = " (going on)" if event.resumed else f" (attempt {event.attempt})" if event.attempt > 1 else ""
                return (Line("▶", f"{self._name(event.step)}{again}"),)
            case StepSucceeded():
                return (Line("✓", f"{self._name(event.step)}  {show_duration(event.duration_s)}", "good"),)
            case StepFailed():
                return (Line("✗", f"{self._name(event.step)}", "bad"), *problem_lines(event.problem))
            case StepUnknown():
                text = f"{self._name(event.step)}: how it ended is not known"
                return (Line("?", text, "ask"), *problem_lines(event.problem))
            case StepRetried():
                wait = f", again in {show_duration(event.pause_s)}" if event.pause_s else ", again"
                return (Line("↻", f"{self._name(event.step)}{wait}: {_summary(event.problem)}", "ask"),)

    def _rest(
        self, event: StepSkipped | StepCancelled | StepWaiting | StepConfirmed | StepApproved | StepResolved
    ) -> tuple[Line, ...]:
        match event:
            case StepSkipped():
                return (Line("–", f"{self._name(event.step)}: skipped, {event.reason}", "dim"),)
            case StepCancelled():
                return (Line("–", f"{self._name(event.step)}: not begun, {event.because}", "dim"),)
            case StepWaiting():
                return tuple(self._question(event))
            case StepConfirmed():
                return (Line("✓", f"{self._name(event.step)}: confirmed by {event.claimed or event.by}", "good"),)
            case StepApproved():
                return (Line("✓", f"{self._name(event.step)}: approved by {approver(event)}", "good"),)
            case StepResolved():
                done = "done" if event.outcome == "done" else "not done"
                return (Line("✓", f"{self._name(event.step)}: taken as {done} by {event.by}: {event.reason}", "ask"),)

    def _question(self, event: StepWaiting) -> Iterator[Line]:
        asked = f" [{event.target}]" if event.target else ""
        first, *rest = event.instructions.strip().splitlines() or [""]
        yield Line("…", f"{self._name(event.step)}: {first}{asked}", "ask")
        yield from (Line("   ", text, "ask") for text in rest if text.strip())

    def _name(self, step: str) -> str:
        return f"{self._number[step]}/{len(self._number)} {titled(self._graph.steps[step])}"


def titled(step: Step) -> str:
    """The step's title; of one of several that a ``foreach`` made, with its item, since they share the title."""
    name, bracket, item = step.id.partition("[")
    return f"{step.title} [{item}" if step.title and bracket and name else step.title or step.id


def problem_lines(problem: Json) -> tuple[Line, ...]:
    """A recorded problem: summary, detail, and what to do."""
    if not isinstance(problem, Mapping):
        return ()
    lines = [Line("   ", f"{problem.get('code')}: {problem.get('summary')}", "bad")]
    lines += [Line("   ", text) for text in str(problem.get("detail") or "").splitlines()]
    if problem.get("fix"):
        lines.append(Line("   ", f"→ {problem['fix']}"))
    return tuple(lines)


def _summary(problem: Json) -> str:
    return str(problem.get("summary")) if isinstance(problem, Mapping) else ""
