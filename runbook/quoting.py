"""Quoting: text that came from somewhere becomes one SQL identifier, one SQL literal, or one word of a shell.

Owns the only renderer of SQL (:func:`sql_text`: what is shown is what is sent) and the only quoting for a shell. Promises: no
value ends its quotation, adds a statement, becomes an option or moves a terminal's cursor.
"""

from __future__ import annotations

import re
import shlex
import string
import unicodedata
from math import isfinite

from runbook.errors import InvalidInput, Problem
from runbook.late import Results, resolve
from runbook.operation import Name, Ref, Scalar, Statement

LONGEST_NAME = 63
"""Bytes of an identifier (NAMEDATALEN - 1); the server cuts what is longer, with a notice only."""

_PART = re.compile(r"[a-z_][a-z0-9_]*")
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
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
    if any(_acts(char) for char in text):
        return "$'" + "".join(_escaped(char) for char in text) + "'"
    return shlex.quote(text)


def visible(text: str) -> str:
    """The text with control and bidirectional characters escaped: safe to print."""
    return "".join(_escaped(char) if _acts(char) else char for char in text)


def _unfit(detail: str) -> InvalidInput:
    fix = "mend the value that the plan or the environment gives for it"
    return InvalidInput(Problem("E312", "a statement can't be rendered", detail, fix))


def _part(value: Name | Scalar | Ref, results: Results | None) -> str:
    if isinstance(value, Name):
        return identifier(value.text)
    if isinstance(value, Ref) and results is None:
        return str(value)
    return literal(resolve(value, results or {}))


def _acts(char: str) -> bool:
    return char in _BIDI or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")


def _escaped(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    if not _acts(char):
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
