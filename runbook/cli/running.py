"""A run on the screen: what happens now, how long it has taken, what comes next.

Owns what ``apply``, ``resume`` and ``demo`` show while a run goes on and when it ends. Promises: on a terminal one moving line
shows what runs and how far its bytes are; elsewhere only plain lines; with ``--json`` the journal's own records, one a line.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Flag
from threading import Lock, Thread

import click

from runbook.catalogue import CATALOGUE
from runbook.cli.person import Person, operator
from runbook.cli.screen import Screen, visible
from runbook.engine.events import (
    Event,
    OperationStarted,
    StepFailed,
    StepStarted,
    StepSucceeded,
    StepUnknown,
    StepWaiting,
)
from runbook.graph import Graph
from runbook.journal.record import Record
from runbook.report.state import ending, what_next
from runbook.report.story import Line, Teller
from runbook.runner.ending import Ending
from runbook.runner.execution import Caller
from runbook.runner.setting import Reply
from runbook.secret import Redactor
from runbook.transports.outcome import Progress
from runbook.units import show_duration, show_size

TICK_S = 0.25
_CLEAR = "\r\x1b[2K"


@dataclass(slots=True)
class _Moving:
    """What a step is doing: since when, and how many bytes are done."""

    since: float
    operation: str = ""
    done: int = 0
    total: int = 0
    first: tuple[float, int] = (0.0, 0)

    def text(self, now: float) -> str:
        """Its part of the moving line."""
        spent = show_duration(now - self.since)
        spent = f"{self.operation} {spent}" if self.operation else spent
        if not self.done:
            return spent
        began, at = self.first
        rate = (self.done - at) / (now - began) if now > began else 0.0
        shown = f"{spent}  {show_size(self.done)}" + (f" of {show_size(self.total)}" if self.total else "")
        if rate > 0:
            shown += f"  {show_size(rate)}/s"
            if self.total > self.done:
                shown += f"  {show_duration((self.total - self.done) / rate)} left"
        return shown


@dataclass(slots=True)
class RunningView:
    """Shows one execution. Told by the runner's threads, drawn by a thread of its own."""

    screen: Screen
    person: Person
    as_json: bool
    live: bool
    redactor: Redactor = field(default_factory=Redactor)
    _moving: dict[str, _Moving] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)
    _teller: Teller | None = None
    _graph: Graph | None = None
    _done: Flag = field(default_factory=Flag)
    _drawn: bool = False

    @classmethod
    def here(cls, screen: Screen, person: Person, *, as_json: bool) -> RunningView:
        """The view for this process's terminal, if it has one."""
        return cls(screen, person, as_json, live=sys.stdout.isatty() and not as_json)

    def caller(self, state: Path, parallel: int) -> Caller:
        """What the runner needs of us."""
        return Caller(
            state=state,
            actions=CATALOGUE,
            operator=operator(),
            ask=self.ask,
            watch=self.watch,
            progress=self.progress,
            redactor=self.redactor,
            opened=self.opened,
            parallel=parallel,
        )

    def opened(self, run: str, graph: Graph) -> None:
        """A run begins or goes on."""
        self._teller, self._graph = Teller(graph), graph
        self.screen.lines([Line("▸", f"run {run}", "dim")])
        if self.live:
            Thread(target=self._draw_on, daemon=True).start()

    def close(self) -> None:
        """Nothing more is drawn."""
        self._done.set()
        with self._lock:
            self._wipe()

    def watch(self, record: Record, event: Event) -> None:
        """An event is durable."""
        if self.as_json:
            click.echo(record.line)
        with self._lock:
            self._wipe()
            match event:
                case StepStarted(step):
                    self._moving[step] = _Moving(time.monotonic())
                case OperationStarted(step, operation) if step in self._moving:
                    self._moving[step] = _Moving(self._moving[step].since, operation)
                case StepSucceeded(step) | StepFailed(step) | StepUnknown(step) | StepWaiting(step):
                    self._moving.pop(step, None)
                case _:
                    pass
            if self._teller is not None:
                self.screen.lines(
                    Line(line.mark, self.redactor(line.text), line.tone) for line in self._teller.tell(event)
                )

    def progress(self, step: str, operation: str, progress: Progress) -> None:
        """Bytes move."""
        now = time.monotonic()
        with self._lock:
            moving = self._moving.setdefault(step, _Moving(now))
            if moving.operation != operation or not moving.done:
                moving.operation, moving.first = operation, (now, progress.done)
            moving.done, moving.total = progress.done, progress.total
        if self.as_json:
            body = {"event": "operation.progress", "step": step, "operation": operation}
            click.echo(json.dumps(body | {"done": progress.done, "total": progress.total}))

    def ask(self, step: str, question: StepWaiting) -> Reply | None:
        """Put a question to the person, with the moving line out of the way."""
        with self._lock:
            self._wipe()
            return self.person.ask(step, question)

    def finish(self, ended: Ending) -> None:
        """The last lines: what was kept, what is held, the objectives, and the next command."""
        self.screen.lines([*ending(ended.state), *what_next(ended.run, ended.state, ended.status)])

    def _draw_on(self) -> None:
        while not self._done.wait(TICK_S):
            with self._lock:
                self._draw()

    def _draw(self) -> None:
        if not self._moving or self._done.is_set():
            return
        now = time.monotonic()
        parts = [f"{step} {moving.text(now)}" for step, moving in self._moving.items()]
        if (coming := self._next()) and len(self._moving) == 1:
            parts.append(f"then {coming}")
        width = shutil.get_terminal_size((100, 24)).columns
        line = visible("⋯ " + "  |  ".join(parts))[: max(width - 1, 20)]
        sys.stdout.write(_CLEAR + line)
        sys.stdout.flush()
        self._drawn = True

    def _next(self) -> str:
        if self._graph is None:
            return ""
        running = next(iter(self._moving))
        followers = self._graph.after.get(running, ())
        return self._graph.steps[followers[0]].title if followers else ""

    def _wipe(self) -> None:
        if self._drawn:
            sys.stdout.write(_CLEAR)
            sys.stdout.flush()
            self._drawn = False
