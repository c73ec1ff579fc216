"""A person's word on a run that no engine works on: confirm, approve, resolve, abandon.

Owns :func:`open_word`. Promises: ``engine.lock`` is held while the word is taken (exit 5 while an engine runs); what can't follow
in the run's state is refused with what can (exit 2), and nothing is written; what is said is durable before anything is printed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runbook.cli.elsewhere import elsewhere
from runbook.cli.history import held, told
from runbook.cli.screen import Screen
from runbook.engine.events import Event
from runbook.engine.run import Run
from runbook.engine.step_run import StepRun
from runbook.engine.transitions import RunStatus, Status
from runbook.errors import Problem, UsageFault, suggest
from runbook.graph import Graph
from runbook.journal.clock import SystemClock, boot_id
from runbook.journal.layout import RunDir, find_run
from runbook.journal.local import LocalJournal
from runbook.journal.locks import Lock, LockOwner
from runbook.report.state import ending, what_next
from runbook.report.story import Line
from runbook.runner.execution import Order
from runbook.runner.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Word:
    """A run that waits for a person's word, with its journal open."""

    run: RunDir
    order: Order
    graph: Graph
    ledger: Ledger

    @property
    def state(self) -> Run:
        """The run as far as it has been told."""
        return self.ledger.run

    @property
    def status(self) -> RunStatus:
        """The run's status; no engine works on it, since we hold its lock."""
        status = self.state.status
        return RunStatus.INTERRUPTED if status is RunStatus.RUNNING else status

    def step(self, step: str, wanted: Status) -> StepRun:
        """The step, which has to be in that state. :class:`UsageFault` with what can be said now."""
        if step not in self.graph.steps:
            near = suggest(step, list(self.graph.order))
            detail = f"{step} is no step of {self.run.run}."
            raise UsageFault(
                Problem("E264", "the run has no such step", detail, near or f"runbook show {self.run.run}")
            )
        found = self.state.step(step)
        if found.status is not wanted:
            raise self.not_now(_otherwise(found, step, wanted))
        return found

    def not_now(self, why: str) -> UsageFault:
        """The refusal of a word that can't follow."""
        possible = "\n".join(f"  {line.text}" for line in what_next(self.run.run, self.state, self.status))
        detail = f"{why}\nThe run is {self.status}. Possible now:\n{possible}"
        return UsageFault(Problem("E265", "this can't be said of the run now", detail, f"runbook show {self.run.run}"))

    def say(self, event: Event) -> None:
        """Make the word durable."""
        self.ledger.commit(event)

    def close(self, screen: Screen, line: Line) -> None:
        """Tell what was recorded and what can follow."""
        holds = held(self.run.run, self.order, self.state, self.status)
        ways = what_next(self.run.run, self.state, self.status)
        screen.lines([line, *ending(self.state, holds), *ways, *(elsewhere(self.run) if ways else ())])


def _otherwise(found: StepRun, step: str, wanted: Status) -> str:
    """Why the step isn't in that state, where a person said the last word on it; else which it is in."""
    said = found.answer or found.consent
    if wanted is Status.WAITING and found.status is Status.PENDING and said is not None:
        return f"{step} has its answer, by {said.claimed or said.by}; a resume goes on with it."
    return f"{step} is {found.status}, not {wanted}."


@contextmanager
def open_word(state: Path, run: str) -> Iterator[Word]:
    """Open a run for a person's word. Raises Busy, JournalFault, and UsageFault for a run that is finished."""
    found = find_run(state, run)
    clock = SystemClock()
    owner = LockOwner.me(run=found.run, holds=f"the engine of run {found.run}", now=clock.now())
    with (
        Lock.take(found.engine_lock, owner=owner),
        LocalJournal.open(found.path, run=found.run, clock=clock, boot=boot_id()) as journal,
    ):
        order, graph, known = told(found, journal.records)
        if known.status.final:
            detail = f"{found.run} is {known.status}: nothing more can be said of it."
            raise UsageFault(Problem("E263", "the run is finished", detail, f"runbook show {found.run}"))
        yield Word(found, order, graph, Ledger(journal, known, watch=lambda _record, _event: None))


def somebody_types() -> bool:
    """Whether a person sits at the terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()
