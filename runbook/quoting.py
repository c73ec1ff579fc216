"""Quoting: text that came from somewhere becomes one SQL identifier, one SQL literal, or one word of a shell.

Owns the only renderer of SQL (:func:`sql_text`: what is shown is what is sent) and the only quoting for a shell. Promises: no
value ends its quotation, adds a statement, becomes an option or moves a terminal's cursor.
"""

from __future__ import annotations

import re
import shlex
import string
from math import isfinite

from runbook.errors import InvalidInput, Problem
from runbook.late import Results, resolve
from runbook.operation import Name, Ref, Scalar, Statement

LONGEST_NAME = 63
"""Bytes of an identifier (NAMEDATALEN - 1); the server cuts what is longer, with a notice only."""

_PART = re.compile(r"[a-z_][a-z0-9_]*")
DECEIVING = "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
"""Characters (for a regular expression's class) that reorder, break or hide text; a plan may not hold them as such."""
_ACTS = re.compile(f"[\0-\x1f\x7f-\x9f\u200c\u200d\ud800-\udfff{DECEIVING}]")
"""Those, controls, halves of characters, and the two joiners, which scripts need in text and nobody sees in a path."""
_BEYOND_ASCII = re.compile("[^ -~]")
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\", "'": "\\'"}


def sql_text(statement: Statement, results: Results | None = None) -> str:
    """The statement as it is sent, and as it is shown; ``results`` None: late values are shown as ``<operation.field>``.

    Raises :class:`InvalidInput` for a value that PostgreSQL can't take (a NUL character, an empty name).
    """
    parts = dict(statement.parts)
    out: list[str] = []
    for literal, key, spec, conversion in string.Formatter().parse(statement.text):
        out.append(literal)
        if key is None:
            continue
        if not _PART.fullmatch(key) or spec or conversion or key not in parts:
            raise _unfit(f"{{{key}}} in {statement.text!r} names no part of it.")
        out.append(_part(parts[key], results))
    return "".join(out)


def copy_to(query: Statement, results: Results | None = None) -> str:
    """The statement that gives the rows of a query as COPY's text."""
    return f"COPY ({sql_text(query, results)}) TO STDOUT"


def copy_from(table: Name, columns: tuple[Name, ...]) -> str:
    """The statement that takes COPY's text into columns of a table."""
    return f"COPY {identifier(table.text)} ({', '.join(identifier(column.text) for column in columns)}) FROM STDIN"


def identifier(name: str) -> str:
    """A quoted SQL identifier, as libpq's ``PQescapeIdentifier`` quotes it."""
    if not name or "\0" in name:
        raise _unfit(f"{name!r} can't be the name of anything.")
    if len(name.encode()) > LONGEST_NAME:
        raise _unfit(
            f"{name!r} is longer than {LONGEST_NAME} bytes; PostgreSQL would cut it, and so mean another thing."
        )
    return '"' + name.replace('"', '""') + '"'


def literal(value: Scalar) -> str:
    """An SQL literal, as libpq's ``PQescapeLiteral`` quotes text: right whatever ``standard_conforming_strings`` says."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not isfinite(value):
        return f"'{value}'::float8"
    if isinstance(value, int | float):
        return f" {value!r}" if value < 0 else repr(value)
    if "\0" in value:
        raise _unfit("PostgreSQL's text can't hold a NUL character.")
    quoted = value.replace("'", "''")
    return f" E'{quoted.replace(chr(92), chr(92) * 2)}'" if "\\" in quoted else f"'{quoted}'"


def shell_word(text: str) -> str:
    """One word of a POSIX shell line; of bash (``$'…'``) where it holds characters that would act on a terminal."""
    if _ACTS.search(text):
        return (
            "$'" + "".join(_SHORT.get(char, char) if not _ACTS.match(char) else _escaped(char) for char in text) + "'"
        )
    return shlex.quote(text)


def visible(text: str) -> str:
    """The text as one line, with characters that act on a terminal, reorder or hide escaped: safe to print."""
    return _ACTS.sub(lambda found: _escaped(found[0]), text)


def json_text(text: str, *, ascii_only: bool = False) -> str:
    """A JSON text that means the same and is safe to print: what :func:`visible` escapes can stand in its strings only, and so
    can what is not ASCII.
    """

    def escaped(found: re.Match[str]) -> str:
        wide = found[0].encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{wide[at : at + 2].hex()}" for at in range(0, len(wide), 2))

    return (_BEYOND_ASCII if ascii_only else _ACTS).sub(escaped, text)


def _unfit(detail: str) -> InvalidInput:
    fix = "mend the value that the plan or the environment gives for it"
    return InvalidInput(Problem("E312", "a statement can't be rendered", detail, fix))


def _part(value: Name | Scalar | Ref, results: Results | None) -> str:
    if isinstance(value, Name):
        return identifier(value.text)
    if isinstance(value, Ref) and results is None:
        return str(value)
    return literal(resolve(value, results or {}))


def _escaped(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
