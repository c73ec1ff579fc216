"""Placeholders: what stands in a dry-run for a value that nobody can know yet.

Owns :class:`Placeholder`, a text in angle brackets, and :data:`Foreseeable`, the fields of typed data that one may stand in.
Promises: a placeholder is no number and no instant, and whoever reckons with it gets a TypeError or an AttributeError, never a
wrong value; one that is read as text, from a disk or a journal, is refused unless the reader says that it only looks ahead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

AHEAD = {"ahead": True}
"""The validation context of a dry-run: the only one in which a text in angle brackets is taken for a placeholder."""

T = TypeVar("T")


class Placeholder(str):
    """``<steps.dump.bytes>``: as text it reads like this; as anything else it can't be used."""

    __slots__ = ()

    def below(self, name: str) -> Placeholder:
        """The placeholder of a field of what this one stands for: ``<steps.pick.artifact.name>``."""
        return stand_for(f"{self[1:-1]}.{name}")

    def __mul__(self, times: object) -> str:
        """Never: a text could be repeated, but this is none."""
        raise TypeError(f"{self} is not known yet")

    __rmul__ = __mul__


def stand_for(what: str) -> Placeholder:
    """The placeholder of what is named so: ``steps.dump.bytes``, ``sha256 of shop.dump, from dump``."""
    return Placeholder(f"<{what}>")


def standing_in(value: object) -> frozenset[str]:
    """The placeholders in a value in JSON form; one that was written as text and read again is one, too."""
    match value:
        case str():
            return frozenset((str(value),)) if value.startswith("<") and value.endswith(">") else frozenset()
        case Mapping():
            return frozenset[str]().union(*(standing_in(each) for each in value.values()))
        case list() | tuple():
            return frozenset[str]().union(*(standing_in(each) for each in value))
    return frozenset()


def mentions(text: str, placeholders: Iterable[str]) -> bool:
    """Whether a text holds one of them, or a field of what one of them stands for; other angle brackets are just text."""
    return any(one in text or f"{one[:-1]}." in text for one in placeholders)


class _Foreseeable:
    """Lets a placeholder stand where the type would not: one made by an action always, one that is read only ahead of a run."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler(source)
        written = core_schema.wrap_serializer_function_ser_schema(_write, schema=inner)
        return core_schema.with_info_wrap_validator_function(_read, inner, serialization=written)


Foreseeable: TypeAlias = Annotated[T, _Foreseeable()]
"""A field that may hold a placeholder in a dry-run; its type is what it has in a run."""


def _read(value: object, handler: core_schema.ValidatorFunctionWrapHandler, info: core_schema.ValidationInfo) -> object:
    if isinstance(value, Placeholder):
        return value
    if isinstance(value, str) and value.startswith("<") and value.endswith(">"):
        if info.context == AHEAD:
            return Placeholder(value)
        raise ValueError("this stands for a value that was not known yet, and is none")
    return handler(value)


def _write(value: Any, handler: core_schema.SerializerFunctionWrapHandler) -> Any:
    return str(value) if isinstance(value, Placeholder) else handler(value)
