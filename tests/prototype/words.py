"""Pasted lines as words: what a shell would make of the lines that a dry-run shows.

Owns :func:`commands`, which reads one line as ``runbook/paste.py`` writes it, and :func:`line_of`, which puts late values in.
The models act on these words, so an operation and the line that is shown for it can't mean two things.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from runbook.operation import Operation, Scalar
from runbook.paste import paste
from tests.prototype.life import Broke

_ASSIGNED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_LATE = re.compile(r"<([A-Za-z_0-9]+)\.([A-Za-z_0-9]+)>")


@dataclass(frozen=True, slots=True)
class Command:
    """One program: its words; where its input and output are redirected to."""

    argv: tuple[str, ...]
    source: str = ""
    sink: str = ""


@cache
def pasted(operation: Operation) -> str:
    """The line, made once."""
    return paste(operation)


def line_of(operation: Operation, results: Mapping[str, Mapping[str, Scalar]]) -> str:
    """The line with late values in their places; a definite failure where one is not there."""

    def value(match: re.Match[str]) -> str:
        found = results.get(match[1], {}).get(match[2])
        if found is None:
            raise Broke(f"{match[0]} names no result")
        return str(found)

    return _LATE.sub(value, pasted(operation))


@cache
def commands(line: str) -> tuple[Command, ...]:
    """The programs of a line, in their order; who runs them, where, and with which variables is left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    parts: list[list[str]] = [[]]
    for word in lexer:
        if word in ("|", "&&", ";"):
            parts.append([])
        elif word not in ("(", ")"):
            parts[-1].append(word)
    return tuple(command for part in parts if (command := _command(part)).argv)


def _command(words: Iterable[str]) -> Command:
    argv: list[str] = []
    source = sink = ""
    rest = iter(words)
    for word in rest:
        if word in ("<", ">"):
            path = next(rest)
            source, sink = (path, sink) if word == "<" else (source, path)
        elif argv or not _ASSIGNED.fullmatch(word):
            argv.append(word)
    if argv[:2] == ["runuser", "-u"]:
        argv = argv[4:]
    return Command(() if argv[:1] in (["cd"], ["sync"]) else tuple(argv), source, sink)


def statements(command: Command) -> tuple[str, ...]:
    """What psql is told with ``-c``."""
    words = command.argv
    return tuple(after for before, after in pairwise(words) if before == "-c")
