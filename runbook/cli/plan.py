"""``runbook plan``: what would happen, without changing anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runbook.cli import options

if TYPE_CHECKING:
    from runbook.cli.screen import Screen
    from runbook.plan.model import Step
    from runbook.report.dryrun import DryRun
    from runbook.runner.execution import Order


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--offline", is_flag=True, help="Read nothing from the world.")
@options.environment
@options.inputs
@options.state
@options.as_json
@options.color
def command(
    plan: Path,
    offline: bool,
    env: str,
    given: tuple[str, ...],
    inputs_file: str,
    state: str,
    as_json: bool,
    no_color: bool,
) -> int:
    """Show what PLAN would do in an environment: steps, operations, what is replaced. Changes nothing."""
    from runbook.cli.opening import open_order, parse_inputs
    from runbook.cli.screen import Screen

    directory = options.state_directory(state)
    order = open_order(plan, env=env, given=parse_inputs(given, inputs_file), state=directory)
    refuse_faults(order)
    screen = Screen.of(no_color=no_color, as_json=as_json)
    return show_plan(order, screen, state=directory, as_json=as_json, offline=offline)


def refuse_faults(order: Order) -> None:
    """Raise InvalidInput with every error that ``runbook validate`` would find; warnings don't stop a run."""
    from runbook.catalogue import CATALOGUE
    from runbook.check.faults import faults
    from runbook.errors import InvalidInput, Severity

    errors = [p for p in faults(order.plan, CATALOGUE, order.environment) if p.severity is Severity.ERROR]
    if errors:
        raise InvalidInput(*errors)


def show_plan(order: Order, screen: Screen, *, state: Path, as_json: bool, offline: bool) -> int:
    """Show the dry-run of an order; gives the exit code: what would stop the run at its first steps counts."""
    from runbook.cli.screen import print_json, while_read
    from runbook.errors import ExitCode
    from runbook.report.dryrun import as_json as dryrun_json
    from runbook.report.dryrun import as_text

    dry = dry_run(order, state=state, offline=offline)
    with while_read():
        if as_json:
            print_json(dryrun_json(dry))
        else:
            screen.text(as_text(dry))
    stopped = next((shown for shown in dry.steps if shown.problem is not None), None)
    if stopped is None:
        return int(ExitCode.DONE)
    return int(ExitCode.REFUSED if stopped.refused else ExitCode.FAILED)


def dry_run(order: Order, *, state: Path, offline: bool) -> DryRun:
    """What would happen. The look has a private directory for what it needs, which is gone afterwards."""
    import tempfile
    import time

    from runbook.catalogue import CATALOGUE
    from runbook.cli.discreet import redactor
    from runbook.cli.who import operator
    from runbook.graph import build, critical_path
    from runbook.journal.clock import SystemClock
    from runbook.report.dryrun import DryRun
    from runbook.runner.execution import public_texts
    from runbook.runner.experience import durations
    from runbook.runner.preview import Sight, preview
    from runbook.runner.setting import Setting
    from runbook.runner.watched import named_secrets
    from runbook.transports.world import World
    from runbook.units import show_instant

    graph = build(order.plan.steps)
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="runbook-plan-") as place:
        redactor().disclose(*public_texts(order))
        world = World(Path(place), run="plan", redactor=redactor())
        try:
            world.watch_for(named_secrets(order.plan, order.environment))
            setting = Setting(
                plan=order.plan,
                graph=graph,
                environment=order.environment,
                inputs=order.inputs,
                actions=CATALOGUE,
                performer=world,
                look=world.look,
                clock=clock,
                sleep=time.sleep,
                directory=place,
                run="plan",
                started_at=show_instant(clock.now()),
                operator=operator(),
                ask=lambda _step, _question: None,
                progress=lambda _step, _operation, _progress: None,
            )
            shown = preview(setting, Sight.OFFLINE if offline else Sight.LOOK)
        finally:
            world.close()
    return DryRun(
        plan=order.plan,
        environment=order.environment.name,
        live=order.environment.live,
        steps=shown,
        critical=critical_path(graph, _bound),
        expected_s=durations(state, order.plan.name, order.environment.name),
    )


def _bound(step: Step) -> float:
    return step.timeout_s or 0.0
