"""The door: ``runbook COMMAND …``.

Owns the list of commands (with the line that ``--help`` shows, so that none has to be loaded for it) and the one place where
exceptions become exit codes. Promises: an expected failure is shown as its problems; anything else is called a bug of ours,
in one paragraph, without a traceback (``RUNBOOK_DEBUG=1`` shows it, its secrets masked).
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runbook import __version__
from runbook.cli import discreet, streams
from runbook.errors import Bug, ExitCode, Problem, RunbookError, UsageFault

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS: dict[str, str] = {
    "validate": "Check plans: faults of shape and reference, and the DR rules",
    "plan": "Show what would happen, without changing anything",
    "apply": "Run a plan (--dry-run: the same as `plan`)",
    "resume": "Go on with a run that stopped, was killed or waits",
    "runs": "List the runs",
    "show": "The state of a run, and what can be done next",
    "logs": "The output of a run's steps",
    "confirm": "Answer a step that waits for a person",
    "approve": "Approve a step that waits for approvals",
    "resolve": "Say how a step ended whose outcome can't be known",
    "abandon": "End a run that will not be gone on with",
    "actions": "What steps can do, with fields and examples",
    "schema": "The JSON Schemas of plans and environments",
    "rehearse": "A plan on stubs: a crash at every boundary, every failure once",
    "doctor": "What this machine can run: tools, versions, reachability, space",
    "graph": "A plan as a picture: mermaid, dot or svg",
    "sandbox": "The embedded stack: PostgreSQL, Redis, S3",
    "wal": "Archive and fetch WAL segments: what servers and plans call",
    "demo": "The main job on the embedded stack: back up, destroy, restore",
    "completion": "The script for shell completion",
}

MEANT: dict[str, str] = {
    "run": "apply PLAN",
    "start": "apply PLAN",
    "execute": "apply PLAN",
    "restore": "apply PLAN",
    "dry-run": "plan PLAN",
    "dryrun": "plan PLAN",
    "preview": "plan PLAN",
    "check": "validate PLAN",
    "lint": "validate PLAN",
    "test": "rehearse PLAN",
    "continue": "resume",
    "restart": "resume",
    "retry": "resume",
    "skip": "resume --skip STEP --reason …",
    "answer": "confirm RUN STEP",
    "cancel": "abandon RUN --reason …",
    "stop": "abandon RUN --reason …, after Ctrl-C where it runs",
    "list": "runs",
    "ls": "runs",
    "log": "logs",
    "tail": "logs -f",
    "state": "show",
    "status": "show",
    "version": "--version",
}
"""What other programs call these, and a person in a hurry types."""


class Commands(click.Group):
    """The group of commands; each is loaded from its own file when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found = getattr(import_module(f"runbook.cli.{cmd_name}"), "command", None)
        return found if isinstance(found, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = not args or args[0] in COMMANDS or args[0].startswith("-")
        if not known and not ctx.resilient_parsing:  # that is completion: it asks, it doesn't err
            from runbook.errors import suggest

            meant = MEANT.get(args[0])
            near = f"it is `runbook {meant}`" if meant else suggest(args[0], list(COMMANDS))
            raise click.UsageError(f"there is no command {args[0]!r}" + (f": {near}" if near else ""), ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """From the table: no command is loaded to complete its name."""
        from click.shell_completion import CompletionItem

        named = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return [*named, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. A reader who left has all that they wanted, which is no failure; click would call it one, and
        would end without a word on any other pipe that broke.
        """
        from runbook.cli.screen import ReaderLeft, mute_broken

        try:
            return super().invoke(ctx)
        except ReaderLeft:
            mute_broken()
            return int(ExitCode.DONE)
        except RunbookError as error:
            _say_where(error, ctx)
            raise
        except BrokenPipeError as error:
            raise Bug(f"{type(error).__name__}: {error}") from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code.value), code.meaning) for code in ExitCode])


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="runbook")
def cli() -> None:
    """Disaster recovery from declarative plans: dry-run, checkpoint, resume, evidence."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    # what a run keeps is frozen data without cycles: the collector's usual haste finds nothing, for a fifteenth of the time
    gc.set_threshold(50_000, 20, 20)
    streams.make_usable()
    discreet.keep_private()
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run the command line and give its exit code."""
    os.umask(0o077)
    discreet.begin()
    try:
        ended = cli.main(arguments, prog_name="runbook", standalone_mode=False)
        return int(ended) if isinstance(ended, int) else int(ExitCode.DONE)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort as left:
        # a prompt ends so by itself; what was interrupted elsewhere click makes one of
        return _left_open() if left.__cause__ is None else int(ExitCode.INTERRUPTED)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except click.ClickException as error:
        _show_usage(error)
        return int(ExitCode.USAGE)
    except RunbookError as error:
        return _say(error)
    except Exception as error:
        if os.environ.get("RUNBOOK_DEBUG"):
            return _trace(error)
        from runbook.journal.faults import machine_fault

        return _say(machine_fault(error) or _nowhere() or Bug(f"{type(error).__name__}: {error}"))


def _left_open() -> int:
    """Ctrl-C, or the end of the input, at a question: commands ask before they do what is asked about."""
    from runbook.cli.screen import say

    say("\nLeft open: nothing was done.")
    return int(ExitCode.INTERRUPTED)


def _nowhere() -> UsageFault | None:
    """The fault of a working directory that was removed: names of files lead nowhere from there."""
    try:
        os.getcwd()  # noqa: PTH109  # Path.cwd() is the same, and says no more
    except FileNotFoundError:
        detail = "The folder in which this command was given has been removed."
        return UsageFault(Problem("E214", "the working directory is gone", detail, "cd to another folder, as `cd /`"))
    return None


def _say(error: RunbookError) -> int:
    from runbook.cli.screen import say

    for problem in error.problems:
        say(problem.render())
    for note in getattr(error, "__notes__", ()):
        say(note)
    return int(error.exit_code)


def _say_where(error: RunbookError, ctx: click.Context) -> None:
    """Let the remedies find the runs that they name, where the command was given another state directory than the usual one."""
    from runbook.cli.elsewhere import remedies
    from runbook.cli.options import LOOKED_INTO

    given = ctx.meta.get(LOOKED_INTO)
    words = remedies(error.problems, Path(given).absolute()) if given and "://" not in given else ""
    if words:
        error.add_note(words)


def _trace(error: Exception) -> int:
    from runbook.cli.screen import say

    say(discreet.traced(error))
    return int(ExitCode.FAILED)


def _show_usage(error: click.ClickException) -> None:
    """What click says of a wrong command line, which holds words of it."""
    from runbook.cli.screen import say

    shown = StringIO()
    error.show(file=shown)
    say(shown.getvalue().rstrip("\n"))
