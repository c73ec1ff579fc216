"""A run on the screen: what happens now, how long it has taken, what comes next.

Owns what ``apply``, ``resume`` and ``demo`` show while a run goes on and when it ends. Promises: on a terminal one moving line
shows what runs and how far its bytes are; elsewhere only plain lines; with ``--json`` the journal's own records, one a line.
A run goes on whoever watches: a lost terminal, a closed pipe or a full disk behind stdout ends the showing, and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Flag
from threading import Lock, Thread
from types import FrameType

import click

from runbook.catalogue import CATALOGUE
from runbook.cli.discreet import redactor
from runbook.cli.elsewhere import elsewhere
from runbook.cli.history import held, results
from runbook.cli.person import Person
from runbook.cli.screen import Screen, mute_broken, one_line, print_record
from runbook.cli.who import operator
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
from runbook.journal.layout import RunDir, runs_dir
from runbook.journal.record import Record
from runbook.report.results import as_lines
from runbook.report.state import ending, what_next
from runbook.report.story import Line, Teller
from runbook.runner.ending import Ending
from runbook.runner.execution import Caller, Order
from runbook.runner.setting import Reply
from runbook.secret import Redactor
from runbook.transports.outcome import Progress
from runbook.units import show_duration, show_size

TICK_S = 0.25
_CLEAR = "\r\x1b[2K"
_STOPPING = "Stopping: what runs now is let to its end, and nothing more begins. Once more ends what runs."
_ENDING = "Ending what runs now; how it ended may be unknown until `runbook resume` has looked."


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
    redactor: Redactor = field(default_factory=redactor)
    _moving: dict[str, _Moving] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)
    _teller: Teller | None = None
    _graph: Graph | None = None
    _runs: Path | None = None
    _done: Flag = field(default_factory=Flag)
    _drawn: bool = False
    _asking: bool = False

    @classmethod
    def here(cls, screen: Screen, person: Person, *, as_json: bool) -> RunningView:
        """The view for this process's terminal, if it has one."""
        return cls(screen, person, as_json, live=sys.stdout.isatty() and not as_json)

    def caller(self, state: Path, parallel: int) -> Caller:
        """What the runner needs of us."""
        self._runs = runs_dir(state)
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
            stopping=self.stopping,
        )

    def opened(self, run: str, graph: Graph) -> None:
        """A run begins or goes on."""
        self._teller, self._graph = Teller(graph), graph
        self._show(lambda: self.screen.lines([Line("▸", f"run {run}", "dim")]))
        if self.live:
            Thread(target=self._draw_on, daemon=True).start()

    def close(self) -> None:
        """Nothing more is drawn."""
        self._done.set()
        with self._lock:
            self._show(self._wipe)

    def stopping(self, count: int) -> None:
        """A signal came (the ``count``-th). Called from the handler, which may have interrupted whoever was printing."""
        told = _STOPPING if count == 1 else _ENDING
        if count <= 2:
            with suppress(OSError):
                os.write(2, f"\n{told}\n".encode())

    def watch(self, record: Record, event: Event) -> None:
        """An event is durable."""
        if self.as_json:
            self._show(lambda: print_record(record.line))
        with self._lock:
            self._show(self._wipe)
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
                told = self._teller.tell(event)
                self._show(lambda: self.screen.lines(told))

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
            line = json.dumps(body | {"done": progress.done, "total": progress.total})
            self._show(lambda: click.echo(line))

    def ask(self, step: str, question: StepWaiting) -> Reply | None:
        """Put a question to the person, with the moving line out of the way. None: nobody answers now.

        Other branches go on and are told of meanwhile: a person's time is not to be taken from theirs.
        """
        with self._lock:
            self._show(self._wipe)
            self._asking = True
        try:
            with _leaving_on_interrupt():
                return self.person.ask(step, question)
        except (click.Abort, OSError):
            return None
        finally:
            self._asking = False

    def finish(self, ended: Ending, order: Order) -> None:
        """The last lines: what the plan gave, what was kept, what is held, the objectives, and the next command."""
        given = results(ended.run, order, ended.state)
        holds = held(ended.run, order, ended.state, ended.status)
        ways = what_next(ended.run, ended.state, ended.status)
        if ways and self._runs is not None:
            ways += elsewhere(RunDir(self._runs / ended.run))
        told = [*as_lines(given), *ending(ended.state, holds), *ways]
        self._show(lambda: self.screen.lines(told))

    def _show(self, show: Callable[[], None]) -> None:
        try:
            show()
        except OSError:
            mute_broken()

    def _draw_on(self) -> None:
        while not self._done.wait(TICK_S):
            with self._lock:
                self._show(self._draw)

    def _draw(self) -> None:
        if not self._moving or self._asking or self._done.is_set():
            return
        now = time.monotonic()
        parts = [f"{step} {moving.text(now)}" for step, moving in self._moving.items()]
        if (coming := self._next()) and len(self._moving) == 1:
            parts.append(f"then {coming}")
        width = shutil.get_terminal_size((100, 24)).columns
        line = one_line("⋯ " + "  |  ".join(parts))[: max(width - 1, 20)]
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


@contextmanager
def _leaving_on_interrupt() -> Iterator[None]:
    """Let Ctrl-C leave a prompt, which would wait on; whoever handled it before is told of it all the same."""
    pressed = False

    def leave(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            signal.raise_signal(signal.SIGINT)
