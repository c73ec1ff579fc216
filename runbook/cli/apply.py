"""``runbook apply``: run a plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runbook.cli import options

if TYPE_CHECKING:
    from runbook.cli.person import Person
    from runbook.cli.screen import Screen
    from runbook.runner.ending import Ending
    from runbook.runner.execution import Order


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what would happen; the same as `runbook plan`.")
@options.environment
@options.inputs
@options.consent
@options.parallel
@options.state
@options.as_json
@options.color
def command(
    plan: Path,
    dry_run: bool,
    env: str,
    given: tuple[str, ...],
    inputs_file: str,
    yes: bool,
    confirmed: tuple[str, ...],
    parallel: int,
    state: str,
    as_json: bool,
    no_color: bool,
) -> int:
    """Run PLAN in an environment, step by step, journalled."""
    from runbook.cli.opening import open_order, parse_inputs
    from runbook.cli.person import Person
    from runbook.cli.plan import refuse_faults, show_plan
    from runbook.cli.screen import Screen

    directory = options.state_directory(state)
    order = open_order(plan, env=env, given=parse_inputs(given, inputs_file), state=directory)
    refuse_faults(order)
    screen = Screen.of(no_color=no_color, as_json=as_json)
    if dry_run:
        return show_plan(order, screen, state=directory, as_json=as_json, offline=False)
    person = Person.here(yes=yes, confirmed=confirmed, as_json=as_json)
    return int(run_order(order, person, screen, state=directory, parallel=parallel, as_json=as_json).exit_code)


def run_order(order: Order, person: Person, screen: Screen, *, state: Path, parallel: int, as_json: bool) -> Ending:
    """Run an order and show it."""
    from runbook.cli.running import RunningView
    from runbook.journal.clock import SystemClock
    from runbook.runner.consent import refuse_ahead, refuse_unforeseen
    from runbook.runner.execution import apply

    view = RunningView.here(screen, person, as_json=as_json)
    caller = view.caller(state, parallel)
    refuse_ahead(order, caller.actions, SystemClock().now())
    if not person.terminal:
        refuse_unforeseen(order, caller.actions, person.foreseen)
    try:
        ended = apply(order, caller)
    finally:
        view.close()
    view.finish(ended, order)
    return ended
