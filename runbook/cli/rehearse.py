"""``runbook rehearse``: the plan on stubs, with a crash at every boundary and every failure once."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from runbook.cli import options

MOST = 400


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--most", type=click.IntRange(min=1), default=MOST, help=f"Kills of each kind, evenly spread; {MOST}.")
@options.environment
@options.inputs
@options.state
@options.as_json
@options.color
def command(
    plan: Path,
    most: int,
    env: str,
    given: tuple[str, ...],
    inputs_file: str,
    state: str,
    as_json: bool,
    no_color: bool,
) -> int:
    """Rehearse PLAN on stubs: a crash at every boundary and in every step, every failure once. Touches nothing real.

    Tells how often a resume comes to the same end, what it would ask a person, what stays held after each failure, and
    which steps no failure and no condition leads to.
    """
    from runbook.catalogue import CATALOGUE
    from runbook.cli.opening import open_order, parse_inputs
    from runbook.cli.plan import dry_run, refuse_faults
    from runbook.cli.screen import Screen, print_json
    from runbook.errors import ExitCode
    from runbook.rehearse.rehearsal import rehearse
    from runbook.report import rehearsal as report

    directory = options.state_directory(state)
    order = open_order(plan, env=env, given=parse_inputs(given, inputs_file), state=directory)
    refuse_faults(order)
    screen = Screen.of(no_color=no_color, as_json=as_json)
    watched = sys.stderr.isatty() and not as_json
    shown = dry_run(order, state=directory, offline=True).steps
    found = rehearse(order, shown, CATALOGUE, most=most, tell=_told if watched else lambda _tried: None)
    if watched:
        click.echo("\r\x1b[2K", nl=False, err=True)
    if as_json:
        print_json(report.as_json(found))
    else:
        screen.text(report.as_text(found))
    return int(ExitCode.DONE if found.held else ExitCode.FAILED)


def _told(tried: int) -> None:
    if tried % 10 == 0:
        click.echo(f"\r\x1b[2K{tried} rehearsed", nl=False, err=True)
