"""A run told after the fact: its lines with their times, and beneath them what its programs printed.

Owns :class:`Narration`, which is given a journal's records in order, all at once or as they come. Promises: each log file is
printed once, in order, as far as it goes; what a step printed stands beneath the operation that printed it.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from runbook.engine.events import Event, OperationFinished, OperationStarted
from runbook.graph import Graph
from runbook.journal.record import Record
from runbook.report.story import Line, Teller
from runbook.transports.process import log_name

_TAIL = 20
"""Lines of a log that are shown where all steps are."""
_BLOCK = 1024 * 1024


@dataclass(slots=True)
class _Log:
    """A log file, read on from where it was left."""

    path: Path
    step: str
    operation: str
    at: int = 0
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")(errors="replace")
    )
    rest: str = ""

    def lines(self, *, ended: bool) -> list[str]:
        """The whole lines that came since; the last one without its end too, once the program has ended."""
        text = self.rest
        try:
            with self.path.open("rb") as file:
                file.seek(self.at)
                while block := file.read(_BLOCK):
                    self.at += len(block)
                    text += self.decoder.decode(block)
        except FileNotFoundError:
            return []
        *lines, self.rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if ended and self.rest:
            lines.append(self.rest)
            self.rest = ""
        return lines


class Narration:
    """Tells one run. ``only``: a step whose lines and whole logs are told, and no others; else logs are cut to their end."""

    def __init__(self, graph: Graph, logs: Path, only: str = "") -> None:
        self._teller = Teller(graph)
        self._logs = logs
        self._only = only
        self._open: dict[tuple[str, str], _Log] = {}

    def tell(self, record: Record, event: Event) -> Iterator[Line]:
        """The lines of one record."""
        if self._only and getattr(event, "step", "") != self._only:
            return
        for line in self._teller.tell(event):
            yield Line(f"{_clock(record.at)}  {line.mark}", line.text, line.tone)
        match event:
            case OperationStarted(step, operation, use_id):
                self._open[step, operation] = _Log(self._logs / log_name(use_id), step, operation)
            case OperationFinished(step, operation):
                yield from self._printed(self._open.pop((step, operation), None), ended=True)
            case _:
                pass

    def catch_up(self, *, ended: bool) -> Iterator[Line]:
        """What the operations that run now have printed since. ``ended``: nothing more will come."""
        for log in self._open.values():
            yield from self._printed(log, ended=ended)

    def _printed(self, log: _Log | None, *, ended: bool) -> Iterator[Line]:
        lines = log.lines(ended=ended) if log is not None else []
        if log is None or not lines:
            return
        if not self._only and len(lines) > _TAIL:
            yield Line(_GUTTER, f"… {len(lines) - _TAIL} more lines: {log.path}", "dim")
            lines = lines[-_TAIL:]
        yield from (Line(_GUTTER, line, "dim") for line in lines)


_GUTTER = f"{'':8}  │"


def _clock(moment: datetime) -> str:
    """The time of day here, as the wall clock of the room shows it."""
    return moment.astimezone().strftime("%H:%M:%S")
