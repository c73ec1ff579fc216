"""``runbook doctor``: what this machine can run and what it can't, before the night on which that matters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runbook.cli import options

if TYPE_CHECKING:
    from runbook.doctor.gather import Subject
    from runbook.plan.environment import Environment
    from runbook.plan.model import Plan

_NO_ENVIRONMENT = "E160"
_PLANS = "plans"


@click.command()
@click.argument("plans", nargs=-1, type=click.Path(path_type=Path))
@options.environment
@click.option("--strict", is_flag=True, help="What should be looked at counts as what will fail.")
@options.as_json
@options.state
@options.color
def command(plans: tuple[Path, ...], env: str, strict: bool, as_json: bool, state: str, no_color: bool) -> int:
    """Look at this machine, and at what PLANS need in an environment: versions, tools, space, permissions, clocks, answers.

    Only reads. Without a plan all systems of the environment are asked; without either this machine alone. Exit code 1 where
    something will fail.
    """
    from runbook.catalogue import CATALOGUE
    from runbook.cli.discreet import redactor
    from runbook.cli.screen import Screen, print_json, while_read
    from runbook.doctor import page
    from runbook.doctor.examine import examine
    from runbook.doctor.finding import Mark
    from runbook.doctor.gather import gather
    from runbook.errors import ExitCode

    directory = options.state_directory(state)
    diagnosis = examine(gather(_subjects(plans, env, directory), directory, CATALOGUE, redactor=redactor()))
    with while_read():
        if as_json:
            print_json(page.as_json(diagnosis))
        else:
            Screen.of(no_color=no_color).lines(page.as_lines(diagnosis))
    bad = not diagnosis.ready or (strict and bool(diagnosis.marked(Mark.LOOK)))
    return int(ExitCode.FAILED if bad else ExitCode.DONE)


def _subjects(paths: tuple[Path, ...], env: str, state: Path) -> list[Subject]:
    """Each plan in its environment; the named environment alone; or nothing but this machine."""
    from runbook.cli.opening import NOBODY, named_environment
    from runbook.doctor.gather import Subject

    if paths:
        return [_subject(path, env, state, alone=len(paths) == 1) for path in paths]
    if not env:
        return []
    place = Path(_PLANS) if Path(_PLANS).is_dir() else Path()
    nobody = place / NOBODY  # names are looked for beside a plan, and in the folders above it
    return [Subject(None, None, named_environment(env, nobody, state))]


def _subject(path: Path, env: str, state: Path, *, alone: bool) -> Subject:
    """A plan that its environment doesn't fit is refused where it is the only one, and is told of among others."""
    from runbook.doctor.gather import Subject
    from runbook.errors import InvalidInput
    from runbook.plan.environment import check_fits

    plan = _plan(path)
    environment = _environment(plan, path, env, state)
    problems = check_fits(plan, environment) if environment is not None else []
    if problems and alone:
        raise InvalidInput(*problems)
    return Subject(plan, path, environment, problems[0] if problems else None)


def _plan(path: Path) -> Plan:
    """The plan, though anybody may write to it: that is for the doctor to say. InvalidInput with every fault."""
    from runbook.catalogue import CATALOGUE
    from runbook.check.faults import faults
    from runbook.cli.files import refuse_missing, rooted
    from runbook.errors import InvalidInput, Severity
    from runbook.plan.load import load_plan

    refuse_missing(path)
    files, name = rooted(path)
    plan = load_plan(name, files)
    errors = [problem for problem in faults(plan, CATALOGUE, None) if problem.severity is Severity.ERROR]
    if errors:
        raise InvalidInput(*errors)
    return plan


def _environment(plan: Plan, path: Path, env: str, state: Path) -> Environment | None:
    """The environment that a run would take, or None where it would have to be said which."""
    from runbook.cli.opening import find_environment
    from runbook.errors import InvalidInput

    try:
        return find_environment(plan, path, env, state)
    except InvalidInput as refused:
        if env or refused.problems[0].code != _NO_ENVIRONMENT:
            raise
        return None
