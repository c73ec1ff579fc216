"""What a person sees: lines, with colour where that helps.

Owns :class:`Screen`. Promises: colour only on a terminal that wants it; control characters from outside never reach the
terminal as such, and no secret that the command has read reaches it at all; with ``--json`` prose goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from runbook import quoting
from runbook.cli.discreet import masked, masked_json

if TYPE_CHECKING:
    from runbook.operation import Json
    from runbook.report.line import Line

_UNICODE = frozenset({"utf-8", "utf8"})
_COLORS = {"good": "green", "bad": "red", "ask": "yellow"}


class ReaderLeft(BrokenPipeError):
    """Whoever read our output is gone; no pipe or connection of the work itself is meant."""


def put(text: str, *, nl: bool = True, err: bool = False, color: bool | None = None) -> None:
    """Write to stdout or stderr. :class:`ReaderLeft` where nobody reads there any more."""
    try:
        click.echo(text, nl=nl, err=err, color=color)
    except BrokenPipeError:
        raise ReaderLeft from None


@dataclass(frozen=True, slots=True)
class Screen:
    """Where lines go. ``color``: whether tones are shown; ``to_stderr``: where stdout is for programs.

    ``width``: a longer line is cut, and ends with an ellipsis; 0: none is.
    """

    color: bool
    to_stderr: bool = False
    width: int = 0

    @classmethod
    def of(cls, *, no_color: bool, as_json: bool = False) -> Screen:
        """The screen of this process."""
        stream = sys.stderr if as_json else sys.stdout
        wanted = not no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(color=wanted and stream.isatty(), to_stderr=as_json)

    def lines(self, lines: Iterable[Line]) -> None:
        """Print lines."""
        for line in lines:
            self.text(one_line(masked(str(line))).rstrip(), line.tone)

    def text(self, text: str, tone: str = "plain") -> None:
        """Print text in a tone: those of :class:`runbook.report.story.Line`, or ``title``. Its lines stay, nothing else acts."""
        text = visible(masked(text))
        if self.width:
            text = "\n".join(_cut(line, self.width) for line in text.split("\n"))
        if self.color:
            text = click.style(text, fg=_COLORS.get(tone), dim=tone == "dim", bold=tone == "title")
        put(text, err=self.to_stderr, color=self.color)


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"


def print_json(value: dict[str, Json] | list[Json]) -> None:
    """One JSON object on stdout, in one line."""
    _put_json(json.dumps(masked_json(value), ensure_ascii=False))


def print_record(line: bytes) -> None:
    """A line of the journal on stdout: the same JSON, though not always its very bytes."""
    _put_json(line.decode().rstrip("\n"))


def _put_json(text: str) -> None:
    """A line of JSON; where stdout's character set is not Unicode's, with escapes that mean the same."""
    held = str(sys.stdout.encoding).lower() in _UNICODE
    put(quoting.json_text(text, ascii_only=not held))


@contextmanager
def while_read() -> Iterator[None]:
    """For the last words of a command whose exit code means something to whoever didn't read them to the end."""
    try:
        yield
    except ReaderLeft:
        mute_broken()


def say(text: str) -> None:
    """Prose for a person beside what stdout is for: on stderr, its lines kept, nothing else in it acting."""
    put(visible(masked(text)), err=True)


def visible(text: str) -> str:
    """The text line by line, tabs as spaces, with every other character that acts on a terminal shown as an escape."""
    return "\n".join(one_line(line) for line in text.split("\n"))


def one_line(text: str) -> str:
    """The text as one line: also what would end it is shown as an escape."""
    return quoting.visible(text.expandtabs())


def mute_broken() -> None:
    """Let a stream that can't be written to any more (its reader is gone, its disk is full) lead nowhere."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
