"""Filters, tests and operators of templates, each with its work bounded.

Owns the short list of filters that a plan may use. Promises: pure; no result larger than the limit is made, not even for
a moment; ``default`` stands in for null as well as for what is missing.
"""

from __future__ import annotations

import json
import operator as operators
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import Undefined
from jinja2.tests import TESTS as JINJA_TESTS

from runbook.plan.template import LARGEST_OUTPUT, TemplateFault, plain, show, too_large

LARGEST_BITS = 256
LONGEST_NUMBER = 40
_MOST_DIGITS = 400
"""Digits before the point that may be rounded away: no number here has more."""
_NUMBERS = (int, float)
_PLAIN_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "-": operators.sub,
    "/": operators.truediv,
    "//": operators.floordiv,
    "%": operators.mod,
}


def bounded_operation(sign: str, left: Any, right: Any) -> Any:
    """The result of an operator; :class:`TemplateFault` where it would be too large or has no meaning."""
    if sign == "*" and isinstance(left, int) and not isinstance(right, _NUMBERS):
        left, right = right, left
    match sign:
        case "*" if isinstance(left, str) and isinstance(right, int):
            if len(left) * right > LARGEST_OUTPUT:
                raise too_large()
            return left * right
        case "+" if isinstance(left, str | list) and isinstance(right, type(left)):
            if len(left) + len(right) > LARGEST_OUTPUT:
                raise too_large()
            return operators.add(left, right)
    if not isinstance(left, _NUMBERS) or not isinstance(right, _NUMBERS):
        raise TemplateFault("E144", f"The operator {sign} needs two numbers here.", fix="text is joined with ~")
    match sign:
        case "*" | "+":
            return _small(left * right if sign == "*" else left + right)
        case "**":
            if abs(right) > LARGEST_BITS or (isinstance(left, int) and left.bit_length() * abs(right) > LARGEST_BITS):
                raise TemplateFault("E143", f"It makes a number of more than {LARGEST_BITS} bits.")
            return _small(left**right)
    return _small(_PLAIN_OPERATORS[sign](left, right))


def _small(number: Any) -> Any:
    if isinstance(number, int) and number.bit_length() > LARGEST_BITS:
        raise TemplateFault("E143", f"It makes a number of more than {LARGEST_BITS} bits.")
    if isinstance(number, complex):
        raise TemplateFault("E144", "It makes a complex number.")
    return number


def _default(value: object, fallback: object = "") -> object:
    return fallback if isinstance(value, Undefined) or value is None else value


def _join(values: Sequence[object], separator: str = "") -> str:
    texts = [show(value) for value in _list(values)]
    if sum(map(len, texts)) + len(separator) * len(texts) > LARGEST_OUTPUT:
        raise too_large()
    return separator.join(texts)


def _replace(text: str, old: str, new: str) -> str:
    text = _text(text)
    if not old:
        raise TemplateFault("E144", "replace needs something to look for.")
    if len(text) + text.count(old) * (len(new) - len(old)) > LARGEST_OUTPUT:
        raise too_large()
    return text.replace(old, new)


def _split(text: str, separator: str | None = None) -> list[str]:
    return _text(text).split(separator or None)


def _length(value: Any) -> int:
    return len(value if isinstance(value, str | Mapping) else _list(value))


def _unique(values: Sequence[Any]) -> list[Any]:
    seen: dict[str, Any] = {}
    for value in _list(values):
        seen.setdefault(json.dumps(plain(value), sort_keys=True), value)
    return list(seen.values())


def _end(values: Any, *, position: int) -> Any:
    if not len(values if isinstance(values, str) else _list(values)):
        raise TemplateFault("E144", "The list is empty.", fix="check its length first")
    return values[position]


def _sh(value: Any) -> str:
    """Quoted for a shell: a text as one word, a list as several."""
    if isinstance(value, list | tuple):
        return " ".join(shlex.quote(show(item)) for item in value)
    return shlex.quote(show(value))


def _list(value: Any) -> Sequence[Any]:
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, Undefined):
        str(value)
    raise TemplateFault("E144", "A list is needed here.")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return show(value)


def _integer(value: Any) -> int:
    return int(_digits(value) if isinstance(value, str | Undefined) else value)


def _number(value: Any) -> float:
    return float(_digits(value) if isinstance(value, str | Undefined) else value)


def _round(value: Any, digits: Any = 0) -> Any:
    return round(value, max(-_MOST_DIGITS, min(int(digits), 15))) if digits else round(value)


def _digits(value: Any) -> str:
    text = _text(value).strip()
    if len(text) > LONGEST_NUMBER:
        raise TemplateFault("E143", f"A number has at most {LONGEST_NUMBER} characters.")
    return text


FILTERS: Mapping[str, Callable[..., Any]] = {
    "default": _default,
    "d": _default,
    "join": _join,
    "length": _length,
    "count": _length,
    "lower": lambda value: _text(value).lower(),
    "upper": lambda value: _text(value).upper(),
    "trim": lambda value: _text(value).strip(),
    "replace": _replace,
    "split": _split,
    "first": lambda values: _end(values, position=0),
    "last": lambda values: _end(values, position=-1),
    "sort": lambda values: sorted(_list(values)),
    "unique": _unique,
    "min": lambda values: min(_list(values)),
    "max": lambda values: max(_list(values)),
    "sum": lambda values: _small(sum(_list(values))),
    "int": _integer,
    "float": _number,
    "string": show,
    "abs": lambda value: abs(value),
    "round": _round,
    "json": lambda value: json.dumps(plain(value), ensure_ascii=False, sort_keys=True),
    "sh": _sh,
}

_KEPT = (
    "defined", "undefined", "none", "boolean", "integer", "float", "number", "string", "mapping", "sequence", "in",
    "true", "false", "odd", "even", "==", "eq", "!=", "ne", "<", "lt", "<=", "le", ">", "gt", ">=", "ge",
)  # fmt: skip
TESTS: Mapping[str, Any] = {name: JINJA_TESTS[name] for name in _KEPT}
