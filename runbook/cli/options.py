"""Options that commands share, and what they mean.

Owns the click options of the contract (``--state``, ``--env``, ``-i``, ``--json``, …) and the state directory's default.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from runbook.errors import Problem, UsageFault

F = TypeVar("F", bound=Callable[..., Any])

STATE = ".runbook"
LOOKED_INTO = "runbook.state"
"""In a context's meta: the state directory that the command was given."""


def state(function: F) -> F:
    """``--state DIR``."""
    text = "Directory of runs, locks and the sandbox."
    option = click.option(
        "--state", default=STATE, show_default=True, envvar="RUNBOOK_STATE", callback=_looked_into, help=text
    )
    return option(function)


def environment(function: F) -> F:
    """``--env NAME|PATH``."""
    text = "An environment: a name, or a path."
    return click.option("-e", "--env", "env", default="", callback=_said, help=text)(function)


def _looked_into(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """The value, kept where the door finds it when it shows what went wrong."""
    context.meta[LOOKED_INTO] = value
    return _said(context, parameter, value)


def _said(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """The value, unless an option was given with an empty one: a variable of the shell that is not set chooses nothing."""
    given = context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
    if given and not value and not context.resilient_parsing:
        option = parameter.opts[-1]
        detail = f"{option} was given with an empty value, as by a variable of the shell that is not set."
        raise UsageFault(Problem("E215", f"{option} has no value", detail, f"give one, or leave {option} out"))
    return value


def inputs(function: F) -> F:
    """``-i NAME=VALUE`` and ``--inputs FILE``."""
    function = click.option("-i", "--input", "given", multiple=True, metavar="NAME=VALUE", help="An input.")(function)
    return click.option("--inputs", "inputs_file", default="", metavar="FILE", help="Inputs from a YAML file.")(
        function
    )


def as_json(function: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="For programs: JSON on stdout, prose on stderr.")(
        function
    )


def color(function: F) -> F:
    """``--no-color``. ``NO_COLOR`` is the screen's to ask: it means the same whatever it says, and is no flag's value."""
    return click.option("--no-color", is_flag=True, help="Plain text.")(function)


def consent(function: F) -> F:
    """``--yes`` and ``--confirm NAME``."""
    function = click.option("--yes", is_flag=True, help="Answers confirmations that are not destructive.")(function)
    text = "Answers a destructive step by the name of what it replaces or deletes from; repeatable."
    return click.option("--confirm", "confirmed", multiple=True, metavar="NAME", help=text)(function)


def parallel(function: F) -> F:
    """``--parallel N``."""
    return click.option("--parallel", type=click.IntRange(1, 64), default=4, show_default=True, help="Steps at once.")(
        function
    )


def run(default: str = "") -> Callable[[F], F]:
    """The argument RUN: an id, its beginning, or ``last``. The shell completes it from the state directory."""

    def decorate(function: F) -> F:
        if default:
            return click.argument("run", default=default, shell_complete=_known_runs)(function)
        return click.argument("run", shell_complete=_known_runs)(function)

    return decorate


def _known_runs(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from runbook.journal.layout import LAST, runs

    known = [one.run for one in reversed(runs(Path(str(context.params.get("state") or STATE))))]
    return [name for name in (LAST, *known) if name.startswith(incomplete)]


def state_directory(text: str) -> Path:
    """The state directory. Raises UsageFault for a URL: shared state isn't built yet, and is not to be ignored."""
    if "://" in text:
        raise UsageFault(
            Problem("E204", "shared state isn't built yet", f"--state {text}", "give a directory on this machine")
        )
    return Path(text).absolute()
