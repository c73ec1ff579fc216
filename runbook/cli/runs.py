"""``runbook runs``: the runs, newest first; ``runs prune`` removes old ones."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import click

from runbook.cli import options

if TYPE_CHECKING:
    from runbook.cli.roll import Entry
    from runbook.value import Json

_SHOWN = 20


@click.group(invoke_without_command=True)
@click.option("--all", "everything", is_flag=True, help=f"All of them, not the {_SHOWN} newest.")
@options.state
@options.as_json
@options.color
@click.pass_context
def command(context: click.Context, everything: bool, state: str, as_json: bool, no_color: bool) -> None:
    """List the runs, newest first."""
    if context.invoked_subcommand is not None:
        return
    from runbook.cli.roll import as_json as entry_json
    from runbook.cli.roll import as_lines, entries
    from runbook.cli.screen import Screen, print_json
    from runbook.report.line import Line

    found = entries(options.state_directory(state))
    if as_json:
        print_json([{**entry_json(entry), "steps": _steps(entry)} for entry in found])
        return
    screen = Screen.of(no_color=no_color)
    shown = found if everything else found[:_SHOWN]
    screen.lines(as_lines(shown, width=shutil.get_terminal_size((120, 24)).columns))
    if not found:
        screen.lines([Line(" ", "no runs yet"), Line("→", "runbook apply PLAN")])
    elif len(shown) < len(found):
        screen.lines([Line(" ", f"and {len(found) - len(shown)} older ones: runbook runs --all", "dim")])


def _steps(entry: Entry) -> list[Json]:
    """The run's steps, which a glance doesn't tell; none where not even its beginning can be read."""
    from runbook.cli.history import read_history
    from runbook.errors import RunbookError
    from runbook.report.state import steps_json

    try:
        return steps_json(read_history(entry.run).state)
    except RunbookError:
        return []


@command.command()
@click.option("--keep", type=click.IntRange(min=0), help="Keep this many of the newest finished runs.")
@click.option("--older", metavar="DURATION", help="Only runs that ended longer ago than this, as 30d or 12h.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@options.state
@options.color
@click.pass_context
def prune(context: click.Context, keep: int | None, older: str | None, yes: bool, state: str, no_color: bool) -> None:
    """Remove finished runs with their logs. A run that could be gone on with is never removed."""
    from runbook.cli.roll import entries, removable, remove
    from runbook.cli.screen import Screen
    from runbook.report.line import Line

    screen = Screen.of(no_color=no_color)
    found = entries(options.state_directory(_state_of(context, state)))
    doomed = removable(found, keep=keep, older_s=_seconds(keep, older))
    if not doomed:
        screen.lines([Line("–", "nothing to remove")])
        return
    screen.lines(Line("✗", f"{entry.run.run}  {entry.status}") for entry in doomed)
    if not (yes or _agreed(doomed)):
        screen.lines([Line("–", "nothing was removed")])
        return
    removed = sum(remove(entry) for entry in doomed)
    screen.lines([Line("✓", f"{removed} removed", "good")])


def _state_of(context: click.Context, state: str) -> str:
    """``--state`` may stand before ``prune`` or after it."""
    given = context.get_parameter_source("state")
    if given is click.core.ParameterSource.DEFAULT and context.parent is not None:
        return str(context.parent.params["state"])
    return state


def _seconds(keep: int | None, older: str | None) -> float:
    from runbook.errors import Problem, UsageFault
    from runbook.units import parse_duration

    if older is None and keep is None:
        raise UsageFault(Problem("E208", "say which runs to remove", fix="--keep 20, or --older 30d, or both"))
    try:
        return parse_duration(older) if older is not None else 0.0
    except ValueError as error:
        raise UsageFault(Problem("E209", "this is no duration", f"--older {older}: {error}", "--older 30d")) from None


def _agreed(doomed: list[Entry]) -> bool:
    import sys

    from runbook.errors import Problem, Refused

    if not sys.stdin.isatty():
        raise Refused(
            Problem("E410", "a confirmation is missing, and nobody is at a terminal to give it", fix="add --yes")
        )
    return click.confirm(f"Remove {len(doomed)} runs with their journals and logs?", err=True)
