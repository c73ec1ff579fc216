"""Regular expressions of a plan's own, matched in a time that grows with the lengths of text and pattern alone.

Owns what a ``pattern`` may be and what it fits. Promises: no pattern and no value make a match run for ever, as
backtracking would (``(a+)+$``); what such an engine can't do, look-around and backreferences, is refused when the plan is
read. The engine is that of pydantic (Rust's ``regex``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

from pydantic import StringConstraints, TypeAdapter, ValidationError
from pydantic_core import SchemaError


def check_pattern(text: str) -> str:
    """The text, if it is a pattern. Raises ValueError with what is wrong with it."""
    if text:
        try:
            _adapter(text)  # by itself: `a)|(b` is none
            _whole(text)
        except SchemaError as error:
            why = str(error).strip().splitlines()[-1].rpartition("error: ")[2].rstrip(".")
            raise ValueError(f"expected a regular expression (no look-around, no backreferences): {why}") from None
    return text


def fits(pattern: str, value: str) -> bool:
    """Whether the pattern fits the whole value."""
    try:
        _whole(pattern).validate_python(value)
    except ValidationError:
        return False
    return True


@lru_cache(maxsize=64)
def _whole(pattern: str) -> TypeAdapter[str]:
    return _adapter(f"^(?:{pattern})$")


def _adapter(pattern: str) -> TypeAdapter[str]:
    return TypeAdapter(Annotated[str, StringConstraints(pattern=pattern)])
