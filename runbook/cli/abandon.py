"""``runbook abandon``: end a run that will not be gone on with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runbook.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbook.cli.word import Word
    from runbook.report.story import Line


@click.command()
@options.run()
@click.option("--reason", required=True, help="Why; it is recorded.")
@options.state
@options.color
def command(run: str, reason: str, state: str, no_color: bool) -> None:
    """End RUN for good. Nothing is undone: what was changed stays changed, and what is held stays held."""
    from runbook.cli.screen import Screen
    from runbook.cli.who import operator
    from runbook.cli.word import open_word
    from runbook.engine.events import RunFinished
    from runbook.engine.transitions import RunStatus
    from runbook.errors import ExitCode
    from runbook.journal.clock import SystemClock
    from runbook.report.story import Line
    from runbook.units import parse_instant

    with open_word(options.state_directory(state), run) as word:
        _refuse_while_something_runs(word)
        spent = (SystemClock().now() - parse_instant(word.state.header.started_at)).total_seconds()
        word.say(
            RunFinished(
                RunStatus.ABANDONED.value, round(spent, 6), int(ExitCode.DONE), by=operator(), reason=reason.strip()
            )
        )
        screen = Screen.of(no_color=no_color)
        screen.lines(_left(word))
        word.close(screen, Line("–", f"{word.run.run} is abandoned: {reason.strip()}"))


def _refuse_while_something_runs(word: Word) -> None:
    """The supervisor holds ``run.lock`` as long as a program lives that the run began."""
    from runbook.errors import Busy, Problem
    from runbook.journal.clock import SystemClock
    from runbook.journal.locks import Lock, LockOwner

    name = word.run.run
    try:
        Lock.take(
            word.run.run_lock, owner=LockOwner.me(run=name, holds=f"the run {name}", now=SystemClock().now())
        ).release()
    except Busy:
        detail = f"A program that {name} began still runs, though no engine waits for it."
        fix = f"runbook resume {name} waits for its end; or try again once it has ended"
        raise Busy(Problem("E502", "the run is still at work", detail, fix)) from None


def _left(word: Word) -> Iterator[Line]:
    """Steps that changed something and did not end well: what a person has to look at."""
    from runbook.engine.transitions import Status
    from runbook.report.story import Line

    for step in word.graph.order:
        state = word.state.step(step)
        if state.touched and state.status not in (Status.SUCCEEDED, Status.SKIPPED, Status.UNDONE):
            title = word.graph.steps[step].title or step
            yield Line("?", f"{step} began to change something and did not end well: {title}", "ask")
