"""``runbook schema``: the JSON Schemas that editors complete and check plans by."""

from __future__ import annotations

from pathlib import Path

import click

import runbook
from runbook.catalogue import CATALOGUE
from runbook.cli.screen import put
from runbook.errors import ExitCode, Problem, UsageFault
from runbook.schema import environment_schema, plan_schema, text_of

KINDS = ("plan", "environment")


@click.command()
@click.argument("kind", type=click.Choice(KINDS), required=False)
@click.option(
    "--check", "checking", is_flag=True, help="Compare schemas/ of the source tree with the models; exit 1 if stale."
)
@click.option("--write", "writing", is_flag=True, help="Write schemas/ of the source tree anew.")
def command(kind: str | None, checking: bool, writing: bool) -> int:
    """Print the JSON Schema of plans or of environments.

    An editor finds it by a plan's first line: # yaml-language-server: $schema=../schemas/plan.json
    """
    if sum((kind is not None, checking, writing)) != 1:
        raise click.UsageError("give one of: plan, environment, --check, --write")
    if kind is not None:
        put(schema_text(kind), nl=False)
        return int(ExitCode.DONE)
    return write(source_tree()) if writing else check(source_tree())


def schema_text(kind: str) -> str:
    """The text of one schema."""
    return text_of(plan_schema(CATALOGUE) if kind == "plan" else environment_schema())


def source_tree() -> Path:
    """``schemas/`` beside the package, where runbook runs from a checkout. Raises UsageFault where it doesn't."""
    folder = Path(runbook.__file__).parents[1] / "schemas"
    if not folder.is_dir():
        detail = "This runbook is installed; schemas/ belongs to the source tree."
        raise UsageFault(Problem("E207", "there is no source tree", detail, "runbook schema plan > plan.json"))
    return folder


def check(folder: Path) -> int:
    """Exit 1, naming the files, if any is not what the models say."""
    stale = [kind for kind in KINDS if _read(folder / f"{kind}.json") != schema_text(kind)]
    for kind in stale:
        click.echo(f"{folder.name}/{kind}.json is not what the models say. Next: runbook schema --write", err=True)
    return int(ExitCode.FAILED if stale else ExitCode.DONE)


def write(folder: Path) -> int:
    """Write both files."""
    for kind in KINDS:
        (folder / f"{kind}.json").write_text(schema_text(kind), encoding="utf-8")
    return int(ExitCode.DONE)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
