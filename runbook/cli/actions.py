"""``runbook actions``: what steps can do, with fields and examples."""

from __future__ import annotations

import click

from runbook.catalogue import CATALOGUE
from runbook.cli import options
from runbook.cli.screen import print_json, put
from runbook.errors import ExitCode, Problem, UsageFault, suggest
from runbook.report.actions import as_json as action_json
from runbook.report.actions import listing, page


@click.command()
@click.argument("name", required=False)
@options.as_json
def command(name: str | None, as_json: bool) -> int:
    """List what steps can do, or describe the action NAME: its fields, outputs and an example."""
    if name is None:
        actions = list(CATALOGUE.values())
        if as_json:
            print_json([action_json(action) for action in actions])
        else:
            put(listing(actions))
        return int(ExitCode.DONE)
    if name not in CATALOGUE:
        family = [each for each in CATALOGUE if each.startswith(f"{name}.")]
        near = f"there are: {', '.join(family)}" if family else suggest(name, list(CATALOGUE))
        fix = near or "`runbook actions` lists them"
        raise UsageFault(Problem("E220", f"unknown action '{name}'", fix=fix))
    if as_json:
        print_json(action_json(CATALOGUE[name]))
    else:
        put(page(CATALOGUE[name]))
    return int(ExitCode.DONE)
