"""``runbook logs``: what happened when, and what the steps' programs printed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from runbook.cli import options

if TYPE_CHECKING:
    from runbook.cli.history import History
    from runbook.cli.narration import Narration
    from runbook.cli.screen import Screen
    from runbook.journal.record import Record

POLL_S = 0.3


@click.command()
@options.run(default="last")
@click.argument("step", default="")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run stops.")
@options.state
@options.color
def command(run: str, step: str, follow: bool, state: str, no_color: bool) -> int:
    """Tell RUN line by line, with the end of each program's output; with STEP, that step and all of its output."""
    from runbook.cli.history import event_of, read_history
    from runbook.cli.narration import Narration
    from runbook.cli.screen import Screen, say
    from runbook.errors import ExitCode, Problem, UsageFault, suggest
    from runbook.journal.layout import find_run

    told = read_history(find_run(options.state_directory(state), run))
    if step and step not in told.graph.steps:
        near = suggest(step, list(told.graph.order))
        raise UsageFault(Problem("E264", "the run has no such step", step, near or f"runbook show {told.run.run}"))
    screen, narration = Screen.of(no_color=no_color), Narration(told.graph, told.run.logs, only=step)
    for record in told.records:
        screen.lines(narration.tell(record, event_of(record)))
    if follow and not told.problems:
        _follow(told, narration, screen)
    screen.lines(narration.catch_up(ended=True))
    for problem in told.problems:
        say(problem.render())
    return int(ExitCode.JOURNAL if told.problems else ExitCode.DONE)


def _follow(told: History, narration: Narration, screen: Screen) -> None:
    """Until no engine works on the run any more, or Ctrl-C."""
    from runbook.cli.history import event_of
    from runbook.journal.locks import holder

    at = sum(len(record.line) for record in told.records)
    going = True
    while going:
        # looked at first: what the engine wrote last is read after its lock is free
        going = holder(told.run.engine_lock) is not None
        records, at = _since(told, at)
        for record in records:
            screen.lines(narration.tell(record, event_of(record)))
        screen.lines(narration.catch_up(ended=False))
        if going:
            time.sleep(POLL_S)


def _since(told: History, at: int) -> tuple[list[Record], int]:
    """The whole records after that offset, and the offset after them."""
    from runbook.journal.record import Damaged, decode

    with told.run.journal.open("rb") as file:
        file.seek(at)
        content = file.read()
    records = []
    for line in content.splitlines(keepends=True):
        try:
            records.append(decode(line))
        except Damaged:
            break  # not whole yet
        at += len(line)
    return records, at
