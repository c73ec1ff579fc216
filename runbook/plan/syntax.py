"""What libyaml says about broken syntax, in an operator's words.

Owns the table from parser messages to problems. Promises: each has a line, a column and a next thing to do; the words of
the parser are kept where there are none better.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runbook.errors import Problem
from runbook.plan.codes import problem
from runbook.plan.text import Text

if TYPE_CHECKING:
    from ruamel.yaml.error import MarkedYAMLError

_OPENED = (
    ("flow sequence", "The [ is never closed.", "close it with ]"),
    ("flow mapping", "The { is never closed.", "close it with }"),
    ("quoted scalar", "The quotation mark is never closed.", "close it"),
)
_WORDS = (
    (
        "mapping values are not allowed",
        "A ': ' stands inside an unquoted value, or the indentation is wrong.",
        "quote the value",
    ),
    ("found unexpected ':'", "A ':' stands inside an unquoted value.", "quote the value"),
    ("did not find expected key", "A key was expected here: the indentation differs from the lines above.", "align it"),
    (
        "did not find expected '-'",
        "A list item was expected here: the indentation differs from the lines above.",
        "align it",
    ),
    ("could not find expected ':'", "A key without ':'.", "write `key: value`"),
    ("block sequence entries are not allowed", "A list can't begin on this line.", "begin it on a line of its own"),
    ("unknown escape character", "Between double quotes, a backslash begins an escape.", "use single quotes"),
    ("cannot start any token", "An unquoted value can't begin with this character.", "quote the value"),
    ("incompatible YAML document", "This version of YAML isn't supported.", "remove the line"),
)


def explain_syntax(text: Text, fault: MarkedYAMLError) -> Problem:
    """The problem behind a parser's error."""
    said = f"{fault.problem or ''}"
    mark = fault.problem_mark or fault.context_mark
    line, column = (mark.line, mark.column) if mark is not None else (0, 0)
    if line >= len(text.lines) or (line and not text.lines[line] and column == 0):
        line = max(0, min(line, len(text.lines) - 1) - 1)
        column = len(text.lines[line])
    if (tab := _tab(text, line)) is not None:
        return problem("E113", "YAML is indented with spaces only.", fix="use spaces", where=text.place(line, tab))
    if "directive" in said or "%YAML" in said or "incompatible" in said:
        where = text.place(line, 0, len(text.lines[line]))
        return problem("E123", "A line that begins with % changes how the rest is read.", fix="remove it", where=where)
    if "tag" in said:
        return problem("E122", "Runbook reads plain values only.", fix="remove the tag", where=text.place(line, column))
    if fault.context_mark is not None and (opened := _opened(fault)) is not None:
        start = fault.context_mark
        detail = f"{opened[0]} It is opened at {start.line + 1}:{start.column + 1}; the reader gave up at {line + 1}:{column + 1}."
        return problem("E112", detail, fix=opened[1], where=text.place(start.line, start.column))
    for words, detail, fix in _WORDS:
        if words in said:
            return problem("E112", detail, fix=fix, where=text.place(line, column))
    detail = f"{said[:1].upper()}{said[1:]}." if said else "The parser gave no reason."
    return problem("E112", detail, where=text.place(line, column))


def _tab(text: Text, line: int) -> int | None:
    """The column of a tab in the indentation of the line or of the one above it."""
    for number in (line, line - 1):
        if 0 <= number < len(text.lines) and (match := re.match(r" *\t", text.lines[number])):
            return match.end() - 1
    return None


def _opened(fault: MarkedYAMLError) -> tuple[str, str] | None:
    context = f"{fault.context or ''}"
    if not any(sign in f"{fault.problem}" for sign in ("expected ',' or", "end of stream", "document indicator")):
        return None
    return next(((detail, fix) for word, detail, fix in _OPENED if word in context), None)
