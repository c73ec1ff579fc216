"""``runbook resume``: go on with a run that stopped, was killed or waits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from runbook.cli import options
from runbook.errors import Problem, UsageFault
from runbook.journal.layout import LAST

_OTHERS = 8


@click.command()
@options.run(default=LAST)
@click.option("--skip", multiple=True, metavar="STEP", help="Take a step as not needed; wants --reason.")
@click.option("--reason", default="", help="Why the steps are skipped.")
@options.consent
@options.parallel
@options.state
@options.as_json
@options.color
def command(
    run: str,
    skip: tuple[str, ...],
    reason: str,
    yes: bool,
    confirmed: tuple[str, ...],
    parallel: int,
    state: str,
    as_json: bool,
    no_color: bool,
) -> int:
    """Go on with RUN (default: the last one): find out what ran, look at the world, do what remains."""
    from runbook.cli.history import read_history
    from runbook.cli.person import Person
    from runbook.cli.running import RunningView
    from runbook.cli.screen import Screen
    from runbook.journal.layout import find_run
    from runbook.runner.execution import resume
    from runbook.runner.frozen import edited

    if skip and not reason:
        raise UsageFault(Problem("E207", "a skipped step needs a reason", ", ".join(skip), "--reason '…'"))
    directory = options.state_directory(state)
    found = find_run(directory, run)
    screen = Screen.of(no_color=no_color, as_json=as_json)
    person = Person.here(yes=yes, confirmed=confirmed, as_json=as_json)
    view = RunningView.here(screen, person, as_json=as_json)
    for name in edited(found):
        screen.text(f"▸ {name} is not what it was when the run began; the run goes on with its own copy", "ask")
    try:
        ended = resume(found, view.caller(directory, parallel), dict.fromkeys(skip, reason))
    except UsageFault as fault:
        raise _with_others(fault, directory) if run == LAST else fault from None
    finally:
        view.close()
    view.finish(ended, read_history(found).order)
    return int(ended.exit_code)


def _with_others(fault: UsageFault, state: Path) -> UsageFault:
    """The refusal to go on with the last run, which is finished, with those that somebody may have meant."""
    from runbook.cli.roll import entries
    from runbook.engine.status import RunStatus

    problem = fault.problems[0]
    open_ends = [RunStatus.WAITING, RunStatus.INTERRUPTED, RunStatus.FAILED, RunStatus.UNKNOWN]
    others = [each for each in entries(state) if each.status in open_ends]
    if problem.code != "E263" or not others:
        return fault
    listed = "\n".join(f"  {each.run.run}  {each.status}" for each in others[:_OTHERS])
    fix = f"runbook resume {others[0].run.run}" if len(others) == 1 else "runbook resume RUN, with one of these"
    return UsageFault(replace(problem, detail=f"{problem.detail}\nNot finished are:\n{listed}", fix=fix))
