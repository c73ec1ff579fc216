"""Templates as text: the simple ones read here, the others handed to the sandbox.

Owns the grammar of ``{{ inputs.name }}``, the look-up of dotted names and the way values read inside of text. Most
templates are dotted names: those never load Jinja2, and mean the same as in it. Promises: a look-up reads mappings and
nothing else of Python; what isn't there is :class:`Absent`, never a default.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from runbook.operation import Json
from runbook.plan.scalar import kind

ROOTS = ("inputs", "systems", "steps", "item", "run", "environment")
LARGEST_OUTPUT = 1024 * 1024
"""Characters of a rendered text, and of any text or list made on the way."""
LONGEST_TEMPLATE = 64 * 1024

_SIMPLE = re.compile(r"\{\{\s*((?:" + "|".join(ROOTS) + r")(?:\.[a-zA-Z][a-zA-Z0-9_]*)*)\s*\}\}")
_SIGNS = re.compile(r"\{\{|\{%|\{#")


class Reference(NamedTuple):
    """What a template reads: ``steps.pick.artifact``. ``guarded``: it has a ``default()`` or is only asked for."""

    root: str
    name: str = ""
    field: str = ""
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Absent:
    """Nothing stands at this name. ``step`` and ``output`` are set where a step's output is missing."""

    reason: str
    step: str = ""
    output: str = ""


class TemplateFault(Exception):
    """A template that can't be read or rendered. ``fragment`` is the part of its text that is at fault.

    ``path`` leads to the template within the value that was rendered; ``absent`` is what was missing, if that is why.
    """

    def __init__(
        self, code: str, detail: str, *, fix: str = "", name: str = "", fragment: str = "", absent: Absent | None = None
    ) -> None:
        super().__init__(detail)
        self.path: tuple[str | int, ...] = ()
        self.code = code
        self.detail = detail
        self.fix = fix
        self.name = name
        self.fragment = fragment
        self.absent = absent


class Lacking(KeyError):
    """Raised by a mapping that knows why it has no such key."""

    def __init__(self, absent: Absent) -> None:
        super().__init__(absent.reason)
        self.absent = absent


@dataclass(frozen=True, slots=True)
class Simple:
    """Texts and dotted names in turn. ``native``: one dotted name and nothing beside it, so its value keeps its type."""

    parts: tuple[str | tuple[str, ...], ...]
    native: bool


def is_template(text: str) -> bool:
    """Whether anything in the text is to be rendered."""
    return "{" in text and _SIGNS.search(text) is not None


def as_template(expression: str) -> str:
    """The condition of a ``when``, written bare or in braces, as a template that keeps its type."""
    return expression if is_template(expression) else f"{{{{ {expression} }}}}"


@lru_cache(maxsize=4_096)
def simple(text: str) -> Simple | None:
    """The template, if it holds nothing but dotted names; None where the sandbox has to read it."""
    pieces = _SIMPLE.split(text)
    if any(_SIGNS.search(piece) for piece in pieces[::2]):
        return None
    parts = [tuple(piece.split(".")) if number % 2 else piece for number, piece in enumerate(pieces)]
    kept = tuple(part for part in parts if part)
    return Simple(kept, native=len(kept) == 1 and len(pieces) == 3)


def refer(path: Sequence[str], *, guarded: bool = False) -> Reference:
    """The reference that a dotted name makes; what lies below its third part doesn't matter."""
    root, name, field, *_ = (*path, "", "")
    return Reference(root, name, field, guarded)


def look_up(value: object, name: str) -> object:
    """The field ``name`` of a mapping, or :class:`Absent`. Anything absent has nothing but absent fields."""
    if isinstance(value, Absent):
        return value
    if not isinstance(value, Mapping):
        return Absent(f"{kind(value)} has no field '{name}'")
    try:
        found: object = value[name]
    except Lacking as fault:
        return fault.absent
    except KeyError:
        return Absent(f"there is no '{name}'")
    return found


def show(value: object) -> str:
    """A value as it reads inside of a text: lists and mappings as JSON. Null has no text, which is a fault."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case None:
            raise TemplateFault("E144", "A value inside of the text is null.", fix="give it a default('...')")
        case list() | tuple() | Mapping():
            return json.dumps(plain(value), ensure_ascii=False)
    return str(value)


def plain(value: object) -> Json:
    """The value as JSON; :class:`TemplateFault` where it isn't, or is too large."""
    return _plain(value, [LARGEST_OUTPUT], depth=0)


def missing(absent: Absent) -> TemplateFault:
    """The fault of using what isn't there."""
    if absent.step:
        name = f"steps.{absent.step}.{absent.output}"
        return TemplateFault("E145", f"{upper(absent.reason)}.", fix="use default(...)", name=name, absent=absent)
    return TemplateFault("E144", f"{upper(absent.reason)}.", absent=absent)


def upper(text: str) -> str:
    """The text as the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def too_large() -> TemplateFault:
    """The fault of a value beyond :data:`LARGEST_OUTPUT`."""
    return TemplateFault("E143", f"It makes more than {LARGEST_OUTPUT:,} characters.", fix="make it smaller")


def _plain(value: object, room: list[int], *, depth: int) -> Json:
    """``room`` is what may still be made, shared by the whole value: items may be large and repeated."""
    if depth > 100:
        raise TemplateFault("E143", "It makes a value that is nested too deep.")
    room[0] -= len(value) if isinstance(value, str) else 1
    if room[0] < 0:
        raise too_large()
    match value:
        case None | str() | bool() | int():
            return value
        case float():
            if not math.isfinite(value):
                raise TemplateFault("E144", "It makes a number that isn't finite.")
            return value
        case list() | tuple():
            return [_plain(item, room, depth=depth + 1) for item in value]
        case Mapping():
            return {str(key): _plain(value[key], room, depth=depth + 1) for key in value}
    raise TemplateFault("E144", f"It makes a {type(value).__name__}, which is neither text, number, list nor mapping.")
