"""The person at the terminal: who they are, and what they answer.

Owns the answers to a step's questions: from options (``--yes``, ``--confirm NAME``), or typed, where there is a terminal. Promises:
a destructive step is answered only by the name of what it replaces.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import click

from runbook.cli.screen import one_line, say
from runbook.cli.who import machine, operator
from runbook.engine.events import JsonObject, StepWaiting
from runbook.operation import Json
from runbook.runner.setting import Reply


@dataclass(frozen=True, slots=True)
class Person:
    """Answers questions. ``yes`` and ``confirmed`` are the options; ``terminal`` says whether somebody can type."""

    yes: bool
    confirmed: frozenset[str]
    terminal: bool

    @classmethod
    def here(cls, *, yes: bool, confirmed: tuple[str, ...], as_json: bool) -> Person:
        """The person who gave these options, at this terminal if it is one."""
        return cls(yes, frozenset(confirmed), sys.stdin.isatty() and sys.stderr.isatty() and not as_json)

    def foreseen(self, question: StepWaiting) -> Reply | None:
        """The answer that the options give, if they do."""
        if question.kind != "confirm":
            return None
        if question.target:
            by_name = question.target in self.confirmed
            return Reply(operator(), claimed=f"--confirm {question.target}") if by_name else None
        return Reply(operator(), claimed="--yes") if self.yes else None

    def ask(self, step: str, question: StepWaiting) -> Reply | None:
        """The answer to a question: foreseen, or typed."""
        reply = self.foreseen(question)
        if reply is not None or not self.terminal:
            return reply
        say(f"\n{step}: {question.instructions.strip()}")
        match question.kind:
            case "confirm" if question.target:
                typed = click.prompt(
                    f"Type {question.target!r} to go on, or nothing to stop here",
                    default="",
                    show_default=False,
                    err=True,
                )
                if typed and typed != question.target:
                    click.echo(f"{typed!r} is not {question.target!r}: the step is not begun.", err=True)
                return Reply(operator()) if typed == question.target else None
            case "confirm":
                return Reply(operator()) if click.confirm("Go on?", err=True) else None
            case "approval" if question.approvers and operator() not in question.approvers:
                click.echo(f"Your word would not count: you are {operator()}.", err=True)
                return None
            case "approval":
                digest = question.subject.rpartition("/")[2][:16]
                agreed = click.confirm(f"Approve this ({digest})?", err=True)
                return Reply(operator(), host=machine()) if agreed else None
            case _:
                return self._manual(question)

    def _manual(self, question: StepWaiting) -> Reply | None:
        fields: dict[str, Json] = {}
        for asked in question.questions:
            choices = [str(choice) for choice in asked["choices"]] if isinstance(asked["choices"], list) else []
            wanted = " | ".join(choices) or str(asked["type"])
            shown = f"{asked['name']} ({asked['help']}; {wanted})" if asked["help"] else f"{asked['name']} ({wanted})"
            fields[str(asked["name"])] = click.prompt(one_line(shown), value_proc=_usable(asked), err=True)
        return Reply(operator(), fields) if click.confirm("Done?", err=True) else None


def _usable(asked: JsonObject) -> Callable[[str], str]:
    """What is typed, as it is, once it is of the field's type: click asks again for what isn't."""
    from runbook.action import CheckFailed
    from runbook.actions.manual import typed
    from runbook.cli.confirm import asked as field_of

    name = str(asked["name"])
    field = field_of(asked)

    def check(text: str) -> str:
        try:
            typed({name: field}, {name: text})
        except CheckFailed as refused:
            raise click.BadParameter(one_line(refused.problems[0].detail)) from None
        return text

    return check
