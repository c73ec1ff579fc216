"""``runbook resume``: go on with a run that stopped, was killed or waits."""

from __future__ import annotations

import click

from runbook.cli import options
from runbook.errors import Problem, UsageFault


@click.command()
@options.run(default="last")
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
    finally:
        view.close()
    view.finish(ended, read_history(found).order)
    return int(ended.exit_code)
