"""``runbook confirm``: a person's answer to a step that waits for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from runbook.cli import options

if TYPE_CHECKING:
    from runbook.actions.manual import Asked
    from runbook.engine.events import JsonObject, StepWaiting
    from runbook.operation import Json


@click.command()
@options.run()
@click.argument("step")
@click.option("-i", "--input", "given", multiple=True, metavar="NAME=VALUE", help="An answer that the step asks for.")
@click.option(
    "--confirm",
    "named",
    default="",
    metavar="NAME",
    help="The name that a destructive step asks for.",
)
@click.option("--as", "claimed", default="", metavar="NAME", help="Who says so; recorded as a claim.")
@options.state
@options.color
def command(run: str, step: str, given: tuple[str, ...], named: str, claimed: str, state: str, no_color: bool) -> None:
    """Answer STEP of RUN: that it may begin, or that the work was done, with the values that are asked for."""
    from runbook.cli.screen import Screen
    from runbook.cli.who import operator
    from runbook.cli.word import open_word
    from runbook.engine.events import CONFIRM, StepConfirmed
    from runbook.engine.transitions import Status
    from runbook.report.story import Line

    with open_word(options.state_directory(state), run) as word:
        question = word.step(step, Status.WAITING).question
        if question is None or question.kind == "approval":
            raise word.not_now(f"{step} waits for approvals.")
        fields: Mapping[str, Json] = {}
        if question.kind == CONFIRM:
            _refuse_answers(given)
            _named(word.run.run, question, named)
        else:
            fields = _answers(word.run.run, question, given)
        word.say(StepConfirmed(step, operator(), claimed, dict(fields)))
        word.close(Screen.of(no_color=no_color), Line("✓", f"{step}: confirmed by {claimed or operator()}", "good"))


def _refuse_answers(given: tuple[str, ...]) -> None:
    from runbook.errors import Problem, UsageFault

    if given:
        raise UsageFault(Problem("E266", "the step asks for no values", f"-i {given[0]}", "leave -i out"))


def _named(run: str, question: StepWaiting, named: str) -> None:
    """A destructive step is confirmed by the name of what it replaces, by nothing else."""
    from runbook.cli.screen import say
    from runbook.cli.word import somebody_types
    from runbook.errors import Problem, Refused
    from runbook.quoting import shell_word

    again = f"runbook confirm {run} {shell_word(question.step)} --confirm {shell_word(question.target)}"
    if not question.target:
        if named:
            detail = f"{question.step} asks for no name, and {named!r} was given. {question.instructions.strip()}"
            raise Refused(Problem("E411", "this is not the name that the step asks for", detail, "leave --confirm out"))
        return
    if not named and somebody_types():
        say(f"{question.step}: {question.instructions.strip()}")
        named = click.prompt(
            f"Type {question.target!r} to go on, or nothing to stop here", default="", show_default=False, err=True
        )
    if not named:
        raise Refused(
            Problem("E412", "the name that confirms the step is missing", question.instructions.strip(), again)
        )
    if named != question.target:
        detail = f"{question.step} asks for {question.target!r}, and {named!r} was given."
        raise Refused(
            Problem("E411", "this is not the name that the step asks for", detail, f"if that is meant: {again}")
        )


def _answers(run: str, question: StepWaiting, given: Iterable[str]) -> Mapping[str, Json]:
    """The values as they were written, after a look at their types; asked for at a terminal where they are missing."""
    from runbook.action import CheckFailed
    from runbook.actions.manual import typed
    from runbook.cli.opening import parse_inputs
    from runbook.cli.screen import one_line, say
    from runbook.cli.word import somebody_types
    from runbook.errors import Problem, UsageFault
    from runbook.quoting import shell_word

    fields = {str(one["name"]): asked(one) for one in question.questions}
    answers = {name: str(value) for name, value in parse_inputs(given, "").items()}
    unknown = [name for name in answers if name not in fields]
    again = " ".join(["runbook confirm", run, shell_word(question.step), *(f"-i {name}=…" for name in fields)])
    if unknown:
        known = f"It asks for: {', '.join(fields) or 'nothing'}."
        raise UsageFault(Problem("E267", "the step doesn't ask for this", f"{', '.join(unknown)}. {known}", again))
    missing = [name for name in fields if name not in answers]
    if missing and somebody_types():
        say(f"{question.step}: {question.instructions.strip()}")
        for name in missing:
            answers[name] = click.prompt(one_line(f"{name} ({fields[name].help or fields[name].type})"), err=True)
        missing = []
    if missing:
        listed = "\n".join(f"{name}: {_wanted(fields[name])}" for name in missing)
        raise UsageFault(Problem("E268", "an answer is missing", f"{question.instructions.strip()}\n{listed}", again))
    try:
        typed(fields, answers)
    except CheckFailed as refused:
        raise UsageFault(*(replace(one, fix=again) for one in refused.problems)) from None
    return answers


def asked(question: JsonObject) -> Asked:
    """The field that a question asks for, its choices as values of its type."""
    from runbook.actions.manual import Asked, typed

    plain = Asked.model_validate({"type": question["type"], "help": question["help"]})
    choices = question["choices"] if isinstance(question["choices"], list) else []
    values = tuple(typed({"choice": plain}, {"choice": str(choice)})["choice"] for choice in choices)
    return plain.model_copy(update={"choices": values})


def _wanted(field: Asked) -> str:
    choices = f", one of {', '.join(map(str, field.choices))}" if field.choices else ""
    return f"{field.type}{choices}. {field.help}".rstrip(". ")
