"""``runbook validate``: what is wrong with plans, before anything runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from runbook import __version__
from runbook.catalogue import CATALOGUE
from runbook.check.examine import examine
from runbook.cli import options
from runbook.cli.files import refuse_missing, refuse_writable, rooted
from runbook.cli.screen import Screen, print_json, put, visible, while_read
from runbook.errors import ExitCode, InvalidInput, Problem, Severity
from runbook.plan.environment import Environment, inline_environment
from runbook.plan.load import examine_plan
from runbook.plan.model import Plan
from runbook.report.findings import Findings, Strictness, as_github, as_json, as_sarif, summary

FORMATS = ("text", "json", "github", "sarif")
_MISSING_INPUT = "E162"
_TONES = {Severity.ERROR: "bad", Severity.WARNING: "ask", Severity.NOTE: "dim"}


@click.command()
@click.argument("plans", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.environment
@click.option("--strict", is_flag=True, help="Warnings count as faults.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@options.as_json
@options.state
@options.color
def command(
    plans: tuple[Path, ...], env: str, strict: bool, form: str, as_json: bool, state: str, no_color: bool
) -> int:
    """Check PLANS: faults of shape, names and references, and the rules of disaster recovery. Nothing is run or reached."""
    directory = options.state_directory(state)
    found = [problem for path in plans for problem in check(path, env=env, state=directory)]
    findings = Findings(tuple(map(str, plans)), tuple(found), Strictness.WARNINGS if strict else Strictness.ERRORS)
    with while_read():
        _show(findings, "json" if as_json else form, no_color=no_color)
    return int(ExitCode.DONE if findings.valid else ExitCode.INVALID)


def check(path: Path, *, env: str, state: Path) -> list[Problem]:
    """Every problem of the plan in that file; with an environment, also what that lacks."""
    refuse_missing(path)
    refuse_writable(path)
    files, name = rooted(path)
    plan, loading = examine_plan(name, files)
    if plan is None:
        return list(loading)
    found = list(loading)
    environment: Environment | None = None
    try:
        environment = _environment(plan, path, env=env, state=state)
        if environment is not None and not found:
            found += _bound(plan, environment)
    except InvalidInput as refused:
        found += [problem for problem in refused.problems if problem not in found]
    today = datetime.now(UTC).astimezone().date()
    return examine(plan, found, CATALOGUE, environment=environment, today=today)


def _environment(plan: Plan, path: Path, *, env: str, state: Path) -> Environment | None:
    """The named environment, else the plan's own, if it has one."""
    if not env:
        return inline_environment(plan)
    from runbook.cli.opening import find_environment

    return find_environment(plan, path, env, state)


def _bound(plan: Plan, environment: Environment) -> list[Problem]:
    """What is wrong with the environment's inputs for this plan; those that it doesn't have may still be given."""
    from runbook.plan.inputs import bind

    try:
        bind(plan, environment, {})
    except InvalidInput as refused:
        return [problem for problem in refused.problems if problem.code != _MISSING_INPUT]
    return []


def _show(findings: Findings, form: str, *, no_color: bool) -> None:
    match form:
        case "json":
            print_json(as_json(findings))
        case "sarif":
            print_json(as_sarif(findings, __version__))
        case "github":
            if findings.problems:
                put(visible(as_github(findings)))
        case _:
            screen = Screen.of(no_color=no_color)
            for problem in findings.problems:
                screen.text(problem.render(), _TONES[problem.severity])
            screen.text(summary(findings), "good" if findings.valid else "bad")
