"""``runbook demo``: the main job on the embedded stack, told as a story: back up, ruin, look, restore, compare.

Owns the story. It runs the shipped plans by the code of ``runbook plan`` and ``runbook apply``, in the sandbox's environment;
what is its own is the damage, and the comparison of every row afterwards.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runbook.cli import options
from runbook.quoting import shell_word

if TYPE_CHECKING:
    from runbook.cli.screen import Screen
    from runbook.runner.ending import Ending
    from runbook.runner.execution import Order
    from runbook.sandbox.damage import Sum
    from runbook.sandbox.stack import Stack

_CHAPTERS = 6
_PLAIN_WIDTH = 120


@click.command()
@options.state
@options.color
def command(state: str, no_color: bool) -> int:
    """Back up a database, destroy it, restore it and prove it, on servers of its own. In less than a minute.

    PostgreSQL, an S3 store, a cache and a web service start as ordinary processes below the state directory; nothing else on
    this machine is touched. They keep running afterwards, to be looked at.
    """
    from runbook.cli.sandbox import stack_in
    from runbook.cli.screen import Screen

    directory = options.state_directory(state)
    story = _Story(Screen.of(no_color=no_color), directory, stack_in(directory))
    before = story.set_up()
    if (code := story.back_up()) or not story.ruin(before):
        return code or 1
    story.look_ahead()
    ended = story.restore()
    return story.prove(before, ended)


@dataclass(frozen=True, slots=True)
class _Story:
    """The chapters, in the order in which they are told."""

    screen: Screen
    state: Path
    stack: Stack

    def set_up(self) -> Mapping[str, Sum]:
        """The stack with data that is whole; gives the sums of its tables."""
        from runbook.sandbox.damage import clear, is_whole, sums
        from runbook.sandbox.data import fill

        self._chapter(1, "A document service: PostgreSQL, a cache, an S3 store, a web server")
        self.stack.up(self._aside)
        found = sums(self.stack.login())
        if found and not is_whole(found):
            self._aside("the data is not whole (an earlier demo was stopped?): made anew")
            clear(self.stack.login())
        fill(self.stack.login())
        found = sums(self.stack.login())
        self._tables(found)
        self._say(self._service())
        return found

    def back_up(self) -> int:
        """A backup by the shipped plan; gives the exit code."""
        self._chapter(2, f"A backup, as every night: runbook apply {_typed('backup-db')}")
        return int(self._apply("backup-db").exit_code)

    def ruin(self, before: Mapping[str, Sum]) -> bool:
        """The damage; whether there is any."""
        from runbook.sandbox.damage import STATEMENTS, ruin, sums

        self._chapter(3, "The disaster: a migration goes wrong")
        ruin(self.stack.login())
        for statement in STATEMENTS:
            self.screen.text(f"  docs=# {statement};", "bad")
        after = sums(self.stack.login())
        for table, was in before.items():
            now = after.get(table)
            if now != was:
                self.screen.text(
                    f"  {table:<20} {was.rows:>7,} rows → {f'{now.rows:,} rows' if now else 'gone'}", "bad"
                )
        self._say(self._service())
        return before != after

    def look_ahead(self) -> None:
        """The dry-run of the restore."""
        from runbook.cli.plan import show_plan

        self._chapter(4, f"What would the restore do? runbook plan {_typed('restore-db')}")
        width = shutil.get_terminal_size((_PLAIN_WIDTH, 24)).columns
        order, screen = self._order("restore-db"), replace(self.screen, width=width)
        show_plan(order, screen, state=self.state, as_json=False, offline=False)
        self._aside("lines are cut here; `runbook plan` shows them whole, to be pasted")

    def restore(self) -> Ending:
        """The restore by the shipped plan."""
        self._chapter(5, f"The restore: runbook apply {_typed('restore-db')}")
        return self._apply("restore-db")

    def prove(self, before: Mapping[str, Sum], ended: Ending) -> int:
        """Every row compared with what was there before; gives the exit code."""
        from runbook.errors import ExitCode
        from runbook.sandbox.damage import sums

        self._chapter(6, "Is everything back?")
        if ended.exit_code is not ExitCode.DONE:
            self.screen.text(f"no: the restore ended with {ended.status} (exit {int(ended.exit_code)})", "bad")
            self._foot(ended)
            return int(ended.exit_code)
        after = sums(self.stack.login())
        self._tables(after)
        self._say(self._service())
        if after != before:
            self.screen.text("✗ the rows are not those that were there before", "bad")
            self._foot(ended)
            return int(ExitCode.FAILED)
        rows = sum(one.rows for one in after.values())
        self.screen.text(f"✓ verified: all {rows:,} rows in {len(after)} tables are what they were", "good")
        self._measured(ended)
        self._foot(ended)
        return int(ExitCode.DONE)

    def _order(self, name: str) -> Order:
        from runbook.cli.opening import open_order
        from runbook.cli.shipped import shipped_plan

        return open_order(shipped_plan(name), env=str(self.stack.layout.environment), given={}, state=self.state)

    def _apply(self, name: str) -> Ending:
        from runbook.cli.apply import run_order
        from runbook.cli.person import Person
        from runbook.cli.plan import refuse_faults

        order = self._order(name)
        refuse_faults(order)
        nobody = Person(yes=True, confirmed=frozenset(), terminal=False)
        return run_order(order, nobody, self.screen, state=self.state, parallel=4, as_json=False)

    def _measured(self, ended: Ending) -> None:
        from runbook.units import show_duration

        finished = ended.state.finished
        for name, measured in (("time", finished.rto), ("point", finished.rpo)) if finished else ():
            if isinstance(measured, dict) and isinstance(actual := measured.get("actual_s"), int | float):
                target = measured.get("target_s")
                of = f", objective {show_duration(target)}" if isinstance(target, int | float) else ""
                self.screen.text(f"✓ recovery {name}: {show_duration(actual)}{of}", "good")

    def _foot(self, ended: Ending) -> None:
        at = _shown_state(self.state)
        self.screen.text("")
        self.screen.text("Look round:", "title")
        for text, what in (
            *((line, "so that this shell finds it") for line in path_lines(Path(sys.executable).with_name("runbook"))),
            (f"runbook show {ended.run}{at}", "the run, step by step"),
            (f"runbook logs {ended.run}{at}", "what happened when, and what the programs printed"),
            (f"less {self.state / 'runs' / ended.run / 'journal.jsonl'}", "the journal itself"),
            (f"runbook sandbox status{at}", "the servers' addresses"),
            (f"runbook sandbox down{at}", "stops them; --delete-data deletes them"),
        ):
            self.screen.text(f"  {text}")
            self.screen.text(f"      {what}", "dim")

    def _service(self) -> str:
        from runbook.sandbox.s3 import http_get

        address = self.stack.status().part("web").address
        status, body = http_get(int(address.rpartition(":")[2]), "/api/health")
        return f"the web server answers {status}: {body.decode(errors='replace').strip()}"

    def _tables(self, found: Mapping[str, Sum]) -> None:
        for table, one in found.items():
            self.screen.text(f"  {table:<20} {one.rows:>7,} rows")

    def _chapter(self, number: int, title: str) -> None:
        self.screen.text(f"\n{number}/{_CHAPTERS}  {title}", "title")

    def _say(self, text: str) -> None:
        self.screen.text(f"  {text}")

    def _aside(self, text: str) -> None:
        self.screen.text(f"  {text}", "dim")


def path_lines(own: Path) -> list[str]:
    """What a shell needs before ``runbook`` is the program at ``own``; nothing where it is that already."""
    found = shutil.which("runbook")
    if not own.exists() or (found and Path(found).resolve() == own.resolve()):
        return []
    return [f"export PATH={shell_word(str(own.parent))}:$PATH"]


def _typed(name: str) -> str:
    """A shipped plan's path as it would be typed here."""
    from runbook.cli.shipped import shipped_plan

    path = shipped_plan(name)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _shown_state(state: Path) -> str:
    """The option that finds the state directory again; nothing where it is the usual one."""
    return "" if state == Path(options.STATE).absolute() else f" --state {state}"
