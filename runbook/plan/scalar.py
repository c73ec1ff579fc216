"""What an unquoted YAML scalar means: the core schema of YAML 1.2, minus what two readers would read differently.

Owns the resolution of plain scalars. Promises: what YAML 1.1 and 1.2 read as different things is refused with a reason.
"""

from __future__ import annotations

import math
import re

from runbook.operation import Scalar

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_MAY_BE_NUMBER = frozenset("0123456789+-.")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OTHER_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_UNDERSCORES = re.compile(r"[-+]?([0-9][0-9_]*|0[xo][0-9a-fA-F_]*)(?:\.[0-9_]*)?")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9]+(?::[0-5]?[0-9])+(?:\.[0-9]*)?")
_LARGEST = 2**63


class Ambiguous(ValueError):
    """A plain scalar that different YAML readers take for different values; the text says which."""


def resolve(text: str) -> Scalar:
    """The value of a plain scalar; :class:`Ambiguous` where it must be quoted or written otherwise."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _MAY_BE_NUMBER:
        return text
    if _LEADING_ZERO.fullmatch(text):
        raise Ambiguous("a number that begins with 0 is octal to some readers: quote it if it is text, else drop the 0")
    if "_" in text and (found := _UNDERSCORES.fullmatch(text)) and "_" in found[1]:
        raise Ambiguous("underscores are digits' separators to some readers: quote it if it is text, else drop them")
    if _SEXAGESIMAL.fullmatch(text):
        raise Ambiguous(
            "some readers take this for minutes and seconds: quote it if it is text; a duration is like 30s"
        )
    if _INTEGER.fullmatch(text) or _OTHER_BASE.fullmatch(text):
        return _integer(text)
    if _NOT_FINITE.fullmatch(text):
        raise Ambiguous("infinity and not-a-number aren't values here: quote it if it is text")
    if _FLOAT.fullmatch(text):
        return _float(text)
    return text


def kind(value: object) -> str:
    """``a number``, ``text``, ...: what a value is, without saying which."""
    match value:
        case None:
            return "null"
        case bool():
            return "a truth value"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
    return "a mapping"


def _integer(text: str) -> int:
    if len(text) > 25:
        raise Ambiguous("the number is too large: quote it if it is text")
    number = int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if not -_LARGEST <= number < _LARGEST:
        raise Ambiguous("the number is too large: quote it if it is text")
    return number


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Ambiguous("the number is too large: quote it if it is text")
    return number
