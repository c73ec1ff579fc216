"""Values for the outputs of stubs: of the right type, and of another kind in every variant, so that conditions turn both ways."""

from __future__ import annotations

import types
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from runbook.operation import Json, Question

_TEXT = "rehearsed"
_INSTANT = "2026-01-01T00:00:00Z"
_OF_TYPE: dict[str, Json] = {
    "integer": 1,
    "number": 1.0,
    "datetime": _INSTANT,
    "duration": "1m",
    "size": "1 MB",
    "path": "/rehearsed",
}


def invented(model: type[BaseModel], variant: int) -> dict[str, Json]:
    """A value for every field. In even variants truth values are true and counts 1, in odd ones false and 0."""
    fields = model.model_fields.items()
    return {name: _INSTANT if _is_instant(name) else _value(field.annotation, variant) for name, field in fields}


def answer(question: Question, variant: int) -> str | int | float | bool:
    """What somebody says to a question: the choices in turn, or a value of its type."""
    even = variant % 2 == 0
    if question.choices:
        return question.choices[variant % len(question.choices)]
    if question.type == "boolean":
        return even
    found = _OF_TYPE.get(question.type, _TEXT)
    return found if isinstance(found, str | int | float) else _TEXT


def _is_instant(name: str) -> bool:
    """Instants among outputs are texts: their names tell them apart."""
    return name == "recovery_point" or name.endswith(("_at", "_time"))


def _value(annotation: Any, variant: int) -> Json:
    even = variant % 2 == 0
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _value(inner[0], variant)
    if origin in (Union, types.UnionType):
        some = [one for one in inner if one is not type(None)]
        return _value(some[0], variant) if even or len(some) == len(inner) else None
    if origin is Literal:
        return inner[variant % len(inner)]  # type: ignore[no-any-return]  # a literal is text, number or truth value
    if origin in (list, tuple, set, frozenset):
        return [_value(inner[0], variant)] if inner and even else []
    if origin is dict:
        return {}
    if isinstance(annotation, type):
        return _plain(annotation, variant)
    return _TEXT


def _plain(kind: type, variant: int) -> Json:
    even = variant % 2 == 0
    if issubclass(kind, BaseModel):
        return invented(kind, variant)
    if issubclass(kind, Enum):
        words = list(kind)
        return str(words[variant % len(words)].value)
    if issubclass(kind, bool):
        return even
    if issubclass(kind, int | float):
        return int(even)
    if issubclass(kind, datetime):
        return _INSTANT
    return {} if issubclass(kind, dict) else _TEXT
