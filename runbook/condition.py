"""Conditions: whether a closed predicate holds for a result.

Owns the one function that decides a :class:`~runbook.operation.Condition`, for waits, for expectations and for whoever shows
them. Promises: it is total. A field that isn't there, or that can't be compared, does not hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import assert_never

from runbook.late import Results, resolve, scalar_text
from runbook.operation import Condition, Fields, Ref, Scalar, Test

_NO_RESULTS: Results = {}
_WORDS: Mapping[Test, str] = {
    Test.EQUALS: "is",
    Test.DIFFERS: "is not",
    Test.AT_LEAST: "is at least",
    Test.AT_MOST: "is at most",
    Test.CONTAINS: "contains",
    Test.ONE_OF: "is one of",
}


def holds(condition: Condition, fields: Fields, results: Results = _NO_RESULTS) -> bool:
    """Whether the condition holds for these fields; ``results`` fill a late value of the condition.

    A number equals the text of it (``5`` and ``"5"``), since some servers answer with text; ``at_least`` and ``at_most``
    compare numbers only.
    """
    if condition.field not in fields:
        return False
    found, wanted = fields[condition.field], resolve(condition.value, results)
    match condition.test:
        case Test.EQUALS:
            return _same(found, wanted)
        case Test.DIFFERS:
            return not _same(found, wanted)
        case Test.AT_LEAST:
            return _ordered(wanted, found)
        case Test.AT_MOST:
            return _ordered(found, wanted)
        case Test.CONTAINS:
            return isinstance(found, str) and scalar_text(wanted) in found
        case Test.ONE_OF:
            return any(_same(found, line) for line in scalar_text(wanted).splitlines())
        case _:
            assert_never(condition.test)


def failing(conditions: Iterable[Condition], fields: Fields, results: Results = _NO_RESULTS) -> tuple[Condition, ...]:
    """The conditions that do not hold, in their order."""
    return tuple(condition for condition in conditions if not holds(condition, fields, results))


def show(condition: Condition) -> str:
    """``rows is at least 1``: a condition as a person reads it."""
    value = condition.value
    shown = str(value) if isinstance(value, Ref) else scalar_text(value).replace("\n", ", ")
    return (
        f"{condition.field} {_WORDS[condition.test]} {shown!r}"
        if shown == ""
        else (f"{condition.field} {_WORDS[condition.test]} {shown}")
    )


def explain(condition: Condition, fields: Fields) -> str:
    """The condition, and what was found instead."""
    if condition.field not in fields:
        return f"expected: {show(condition)}; the result has no field {condition.field!r}"
    return f"expected: {show(condition)}; found: {scalar_text(fields[condition.field])[:200]}"


def _same(found: Scalar, wanted: Scalar) -> bool:
    if found is None or wanted is None:
        return found is wanted
    if isinstance(found, bool) or isinstance(wanted, bool) or (isinstance(found, str) and isinstance(wanted, str)):
        return scalar_text(found) == scalar_text(wanted)
    one, other = _number(found), _number(wanted)
    return one is not None and one == other


def _ordered(low: Scalar, high: Scalar) -> bool:
    one, other = _number(low), _number(high)
    return one is not None and other is not None and one <= other


def _number(value: Scalar) -> Decimal | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
