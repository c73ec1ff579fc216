"""``runbook show``: where a run stands, and what can be done next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from runbook.cli import options

if TYPE_CHECKING:
    from runbook.cli.history import History
    from runbook.operation import Json


@click.command()
@options.run(default="last")
@options.state
@options.as_json
@options.color
def command(run: str, state: str, as_json: bool, no_color: bool) -> int:
    """Show RUN (an id, its beginning, or `last`): its steps, what is held, what it measured, and what each command would do now."""
    from runbook.cli.elsewhere import elsewhere
    from runbook.cli.history import held, known, read_history, results
    from runbook.cli.screen import Screen, print_json, say
    from runbook.errors import ExitCode
    from runbook.journal.layout import find_run
    from runbook.report import state as page

    told = read_history(find_run(options.state_directory(state), run))
    name = told.run.run
    given = results(name, told.order, told.state)
    holds = held(name, told.order, told.state, told.status)
    found = known(told)
    if as_json:
        problems: list[Json] = [
            {"code": one.code, "summary": one.summary, "detail": one.detail} for one in told.problems
        ]
        shown = page.as_json(name, told.state, told.status, holds, known=found)
        print_json(shown | {"outputs": given, "damage": problems})
    else:
        shown_lines = page.as_lines(name, told.state, told.status, doing(told), given, holds, found)
        Screen.of(no_color=no_color).lines([*shown_lines, *(() if told.status.final else elsewhere(told.run))])
    if not told.problems:
        return int(ExitCode.DONE)
    for problem in told.problems:
        say(problem.render())
    say(f"What is shown ends with record {len(told.records)}; {told.later} readable ones stand after it.")
    return int(ExitCode.JOURNAL)


def doing(told: History) -> Mapping[str, str]:
    """What each running step of a run that goes on does now, and for how long."""
    from datetime import UTC, datetime

    from runbook.units import show_duration

    if told.engine is None:
        return {}
    now = datetime.now(UTC)
    since = {str(record.payload["step"]): record.at for record in told.records if record.event == "step.started"}
    return {
        step: f"{' '.join(name for name, op in told.state.step(step).operations.items() if op.finished is None)}"
        f"  for {show_duration((now - since[step]).total_seconds())}".lstrip()
        for step in told.state.active
        if step in since
    }
