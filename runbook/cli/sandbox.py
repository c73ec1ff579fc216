"""``runbook sandbox``: the embedded stack, up, down and what of it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runbook.cli import options

if TYPE_CHECKING:
    from runbook.operation import Json
    from runbook.report.story import Line
    from runbook.sandbox.stack import Stack, Status

FOLDER = "sandbox"


@click.group()
def command() -> None:
    """The embedded stack: PostgreSQL, Valkey (Redis), an S3 store and a web service, as ordinary processes.

    Its environment is found by `--env sandbox`. Nothing listens beyond this machine.
    """


@command.command()
@click.option("--empty", is_flag=True, help="Without the made-up documents.")
@options.state
@options.color
def up(empty: bool, state: str, no_color: bool) -> None:
    """Start what doesn't run, fill the database if it is empty, and say where everything is."""
    from runbook.cli.screen import Screen
    from runbook.report.story import Line
    from runbook.sandbox.data import fill

    screen, stack = Screen.of(no_color=no_color), stack_in(options.state_directory(state))
    status = stack.up(lambda line: screen.lines([Line("·", line, "dim")]))
    if not empty:
        filled = fill(stack.login())
        screen.lines([Line("·", f"{filled.documents} documents of {filled.users} users are in the database", "dim")])
    screen.lines(addresses(status, stack))


@command.command()
@click.option("--delete-data", is_flag=True, help="Delete what the servers keep, too.")
@options.state
@options.color
def down(delete_data: bool, state: str, no_color: bool) -> None:
    """End every process of the stack. Its data stays, for the next `up`."""
    from runbook.cli.screen import Screen
    from runbook.report.story import Line

    screen, stack = Screen.of(no_color=no_color), stack_in(options.state_directory(state))
    (stack.remove if delete_data else stack.down)(lambda line: screen.lines([Line("·", line)]))


@command.command()
@options.state
@options.as_json
@options.color
def status(state: str, as_json: bool, no_color: bool) -> None:
    """What runs, and where."""
    from runbook.cli.screen import Screen, print_json

    stack = stack_in(options.state_directory(state))
    found = stack.status()
    if as_json:
        print_json(_json(found))
    else:
        Screen.of(no_color=no_color).lines(addresses(found, stack))


def stack_in(state: Path) -> Stack:
    """The stack that belongs to a state directory."""
    from runbook.sandbox.stack import Stack

    return Stack(state / FOLDER)


def addresses(status: Status, stack: Stack) -> list[Line]:
    """The servers, one a line, and how to use and to stop them."""
    from runbook.report.story import Line

    lines = []
    for part in status.parts:
        text = f"{part.name:<9} {part.version:<8} {part.address}" if part.version else f"{part.name:<9} never started"
        mark, tone = ("●", "good") if part.running else ("○", "dim")
        lines.append(Line(mark, text if part.running or not part.version else f"{text}  (stopped)", tone))
    if not status.running:
        return [*lines, Line("→", "runbook sandbox up")]
    login = stack.login()
    psql = f"PGPASSWORD=$(cat {login.password_file}) psql -h {login.address} -p {login.port} -U {login.user} {login.database}"
    return [
        *lines,
        Line(" ", f"environment  {status.environment}"),
        Line("→", psql, "dim"),
        Line("→", "runbook sandbox down   (stops it; --delete-data deletes it)", "dim"),
    ]


def _json(status: Status) -> dict[str, Json]:
    return {
        "directory": str(status.directory),
        "environment": str(status.environment),
        "running": status.running,
        "parts": [
            {
                "name": part.name,
                "version": part.version,
                "address": part.address,
                "pid": part.pid,
                "since": part.since.isoformat() if part.since else None,
            }
            for part in status.parts
        ],
    }
