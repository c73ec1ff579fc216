"""What the tests of rehearsals are given: a plan's text, rehearsed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runbook.catalogue import CATALOGUE
from runbook.cli.opening import open_order
from runbook.cli.plan import dry_run
from runbook.operation import Json
from runbook.rehearse.rehearsal import rehearse
from runbook.report.rehearsal import Rehearsed
from runbook.runner.execution import Order

HEAD = """\
runbook: 1
name: tried
title: Tried
"""


def ordered(folder: Path, text: str) -> Order:
    """The plan of this text, in an environment without systems."""
    (folder / "plan.yaml").write_text(HEAD + text)
    (folder / "lab.yaml").write_text("environment: lab\nsystems: {}\n")
    return open_order(folder / "plan.yaml", env=str(folder / "lab.yaml"), given={}, state=folder / "state")


def rehearsed(folder: Path, text: str, *, most: int = 1000) -> Rehearsed:
    """The same, rehearsed."""
    return of(ordered(folder, text), folder, most=most)


def of(order: Order, folder: Path, *, most: int = 1000) -> Rehearsed:
    """An order, rehearsed."""
    shown = dry_run(order, state=folder / "state", offline=True).steps
    return rehearse(order, shown, CATALOGUE, most=most)


def shipped(plan: Path, env: str, given: Mapping[str, Json], folder: Path) -> Order:
    """A plan that ships, with what it has to be given."""
    return open_order(plan, env=env, given=dict(given), state=folder / "state")
