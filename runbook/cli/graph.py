"""``runbook graph``: a plan as a picture."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["mermaid", "dot", "svg"]), default="mermaid", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A file; default: stdout.")
def command(plan: Path, form: str, output: Path | None) -> None:
    """Draw PLAN: its steps in order, what runs beside what, what changes or destroys, what is held. Reaches nothing."""
    from runbook.catalogue import CATALOGUE
    from runbook.check.codes import fault
    from runbook.check.fields import effect_of
    from runbook.cli.opening import read_plan
    from runbook.cli.screen import put
    from runbook.errors import InvalidInput, Problem, UsageFault
    from runbook.report.diagram import as_dot, as_mermaid, picture
    from runbook.report.drawing import as_svg

    read = read_plan(plan)
    strangers = [step for step in read.steps if step.uses not in CATALOGUE]
    if strangers:
        raise InvalidInput(
            *(fault("E220", name=step.uses, fix="`runbook actions` lists them", where=step.where) for step in strangers)
        )
    drawn = picture(read, {step.id: effect_of(CATALOGUE[step.uses], step) for step in read.steps})
    text = {"mermaid": as_mermaid, "dot": as_dot, "svg": as_svg}[form](drawn)
    if output is None:
        put(text, nl=False)
    else:
        try:
            output.write_text(text, encoding="utf-8")
            output.chmod(0o644)  # a picture is for the page that shows it; what is secret is not in a plan
        except OSError as error:
            detail = f"{output}: {error.strerror}."
            raise UsageFault(Problem("E213", "the picture can't be written", detail, "give another -o")) from None
