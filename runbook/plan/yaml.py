"""YAML text to plain values, with the place of every key and value.

Owns the composer over libyaml's events (ruamel.yaml.clib) and its budgets. Promises: YAML 1.2 core schema; no object is ever
constructed from a tag; nothing recurses, so no nesting can overflow a stack; values beyond the budgets are never built;
faults of structure are collected, and the first fault of syntax ends the reading. Values that aliases share are shared.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from runbook.errors import InvalidInput, Place, Problem
from runbook.operation import Json
from runbook.plan.codes import orderly, problem
from runbook.plan.marks import Marks, Position, Spot, at, line_and_column
from runbook.plan.scalar import Ambiguous, kind, resolve
from runbook.plan.syntax import explain_syntax
from runbook.plan.text import Text, decode

MOST_VALUES = 500_000
"""Values (keys included) that a file may write out: a plan of 10,000 steps has about 200,000."""
MOST_EXPANDED = 100_000
"""Values that aliases may add to those."""
DEEPEST = 64


@dataclass(frozen=True, slots=True)
class Document:
    """One file as values. ``problems`` are faults of structure; the values stand as well as they can."""

    text: Text
    tree: Json
    marks: Marks
    problems: tuple[Problem, ...]


def read_yaml(name: str, raw: bytes) -> Document:
    """The document in ``raw``; :class:`InvalidInput` where it can't be read or a budget is exceeded."""
    text = decode(name, raw)
    with collection_paused():
        composer = _Composer(text)
        tree, spot = composer.compose()
    return Document(text, tree, Marks(text, spot), orderly(composer.problems))


class _Mark(Protocol):
    line: int
    column: int


class _Event(Protocol):
    """What the handlers use of libyaml's events; each kind of event has some of it."""

    start_mark: _Mark
    anchor: str | None
    tag: str | None
    value: str
    implicit: tuple[bool, bool]
    version: tuple[int, int] | None
    tags: dict[str, str] | None


@dataclass(slots=True, eq=False)
class _Level:
    """A mapping or list that is open. ``key`` is set between a key and its value."""

    value: list[Json] | dict[str, Json]
    spots: list[Spot] | dict[str, tuple[Position, Spot]]
    position: Position
    anchor: str | None
    size_before: int
    deepest: int
    key: str | None = None
    key_position: Position = 0
    awaits_value: bool = False
    inside_key: bool = False


@dataclass(frozen=True, slots=True)
class _Anchored:
    """What an anchor names: the value, its places, its size in values and its own depth."""

    value: Json
    spot: Spot
    size: int
    depth: int


class _Composer:
    """Builds values from events. ``problems`` fills as it goes."""

    def __init__(self, text: Text) -> None:
        self.problems: list[Problem] = []
        self._text = text
        self._levels: list[_Level] = []
        self._anchors: dict[str, _Anchored] = {}
        self._anchor_places: dict[str, Position] = {}
        self._size = 0
        self._expanded = 0
        self._result: tuple[Json, Spot] | None = None

    def compose(self) -> tuple[Json, Spot]:
        """The root value and its places."""
        from ruamel.yaml import events
        from ruamel.yaml.cyaml import CParser  # type: ignore[attr-defined]
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        take: dict[type, Callable[[Any], None]] = {
            events.ScalarEvent: self._scalar,
            events.MappingStartEvent: self._begin_mapping,
            events.SequenceStartEvent: self._begin_list,
            events.MappingEndEvent: self._end,
            events.SequenceEndEvent: self._end,
            events.AliasEvent: self._alias,
            events.DocumentStartEvent: self._begin_document,
        }
        parser = CParser(self._text.content)
        try:
            while (event := parser.get_event()) is not None:
                handler = take.get(type(event))
                if handler is not None:
                    handler(event)
        except MarkedYAMLError as fault:
            self._stop(explain_syntax(self._text, fault))
        except YAMLError:
            self._stop(problem("E112", "The parser gave no position.", where=Place(self._text.name, 1, 1)))
        finally:
            parser.dispose()
        if self._result is None:
            self._stop(problem("E127", "", fix="a plan begins with `runbook: 1`", where=self._text.place(0, 0)))
        return self._result

    def _stop(self, last: Problem) -> NoReturn:
        """Give up: ``last`` ends the reading, after what was found before it."""
        raise InvalidInput(*orderly([*self.problems, last]))

    def _place(self, position: Position, width: int = 1) -> Place:
        return self._text.place(*line_and_column(position), width)

    def _fault(self, code: str, position: Position, detail: str = "", *, fix: str = "", name: str = "") -> None:
        self.problems.append(problem(code, detail, fix=fix, name=name, where=self._place(position, max(1, len(name)))))
        if len(self.problems) > 500:
            raise InvalidInput(*orderly(self.problems))

    def _begin_document(self, event: _Event) -> None:
        if self._result is not None:
            detail = f"The second document starts at line {event.start_mark.line + 1}."
            self._stop(problem("E124", detail, fix="one plan per file", where=self._place(_at(event))))
        if event.version is not None or event.tags:
            self._fault("E123", _at(event), "A line that begins with % changes how the rest is read.", fix="remove it")

    def _scalar(self, event: _Event) -> None:
        mark = event.start_mark
        position = at(mark.line, mark.column)
        if event.tag is not None:
            self._refuse_tag(event, position)
        value: Json = event.value
        self._count()
        plain = event.implicit[0]
        level = self._levels[-1] if self._levels else None
        is_key = level is not None and level.key is None and not level.awaits_value and isinstance(level.value, dict)
        if plain and not (is_key and value == "<<"):
            try:
                value = resolve(event.value)
            except Ambiguous as reason:
                self._fault(
                    "E126",
                    position,
                    f"{str(reason)[:1].upper()}{str(reason)[1:]}.",
                    fix="quote it, or write it otherwise",
                )
        if event.anchor is not None:
            self._anchor(event, position, value)
        if is_key and level is not None:
            self._key(level, value, position, plain=plain)
            return
        self._add(value, position)

    def _key(self, level: _Level, value: Json, position: Position, *, plain: bool) -> None:
        if plain and value == "<<":
            self._fault("E121", position, "A merge key copies another mapping's keys.", fix="write the keys out")
        if not isinstance(value, str):
            shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            self._fault("E125", position, f"This key is {kind(value)}.", fix=f'quote it: "{shown}"')
            value = f"\0{shown}"
        elif value.startswith("\0"):
            self._fault("E125", position, "This key begins with a NUL character.", fix="leave the character out")
        self._accept_key(level, value, position)

    def _accept_key(self, level: _Level, key: str, position: Position) -> None:
        spots = level.spots
        if isinstance(spots, dict) and key in spots:
            line, column = line_and_column(spots[key][0])
            detail = "Only one of them would count."
            self._fault("E114", position, detail, fix=f"first defined at {line + 1}:{column + 1}", name=key)
        level.key, level.key_position, level.awaits_value = key, position, True

    def _begin_mapping(self, event: _Event) -> None:
        self._begin(event, {}, {})

    def _begin_list(self, event: _Event) -> None:
        self._begin(event, [], [])

    def _begin(self, event: _Event, value: dict[str, Json] | list[Json], spots: Any) -> None:
        position = _at(event)
        self._refuse_tag(event, position)
        self._refuse_key(position)
        if len(self._levels) >= DEEPEST:
            self._stop(problem("E119", f"More than {DEEPEST} levels.", fix="flatten it", where=self._place(position)))
        anchor = event.anchor
        if anchor is not None and anchor in self._anchor_places:
            self._reused(anchor, position)
            anchor = None
        elif anchor is not None:
            self._anchor_places[anchor] = position
        self._levels.append(_Level(value, spots, position, anchor, self._size + self._expanded, len(self._levels) + 1))
        self._count()

    def _refuse_key(self, position: Position) -> None:
        """A mapping, list or alias where a key should be is a fault; a stand-in takes its place."""
        level = self._levels[-1] if self._levels else None
        if level is not None and isinstance(level.value, dict) and not level.awaits_value:
            self._fault("E125", position, "This key is a list, a mapping or an alias.", fix="write the key as text")
            level.key, level.awaits_value, level.inside_key = "\0", True, True

    def _end(self, event: _Event) -> None:
        level = self._levels.pop()
        spot: Spot = (level.position, level.spots)  # type: ignore[assignment]
        depth = level.deepest - len(self._levels)
        if level.anchor is not None:
            size = self._size + self._expanded - level.size_before
            self._anchors[level.anchor] = _Anchored(level.value, spot, size, depth)
        if self._levels:
            self._levels[-1].deepest = max(self._levels[-1].deepest, level.deepest)
        self._add(level.value, spot)

    def _alias(self, event: _Event) -> None:
        position = _at(event)
        name = str(event.anchor)
        self._refuse_key(position)
        target = self._anchors.get(name)
        if target is None:
            if name in self._anchor_places:
                self._fault(
                    "E116", position, "It stands inside of what it names.", fix="write the values out", name=name
                )
            else:
                self._fault("E117", position, "No anchor of this name stands above.", name=name)
            self._add(None, position)
            return
        self._expanded += target.size
        if self._expanded > MOST_EXPANDED:
            detail = f"More than {MOST_EXPANDED:,} values after expansion."
            self._stop(problem("E118", detail, fix="write the values out", where=self._place(position)))
        if len(self._levels) + target.depth > DEEPEST:
            self._stop(problem("E119", f"More than {DEEPEST} levels.", fix="flatten it", where=self._place(position)))
        if self._levels:
            self._levels[-1].deepest = max(self._levels[-1].deepest, len(self._levels) + target.depth)
        spot: Spot = position if isinstance(target.spot, int) else (position, target.spot[1])  # type: ignore[assignment]
        self._add(target.value, spot)

    def _anchor(self, event: _Event, position: Position, value: Json) -> None:
        name = event.anchor
        if name is None:
            return
        if name in self._anchor_places:
            self._reused(name, position)
            return
        self._anchor_places[name] = position
        self._anchors[name] = _Anchored(value, position, size=1, depth=0)

    def _reused(self, name: str, position: Position) -> None:
        line, column = line_and_column(self._anchor_places[name])
        detail = f"&{name} is first set at {line + 1}:{column + 1}; an alias below could mean either."
        self._fault("E115", position, detail, fix="choose another name", name=name)

    def _refuse_tag(self, event: _Event, position: Position) -> None:
        if event.tag is not None:
            detail = f"{event.tag} asks the reader to construct something; runbook reads plain values only."
            self._fault("E122", position, detail, fix="remove the tag; quote the value if it is text")

    def _count(self) -> None:
        self._size += 1
        if self._size > MOST_VALUES:
            self._stop(
                problem("E120", f"More than {MOST_VALUES:,} values in {self._text.name}.", fix="divide the file")
            )

    def _add(self, value: Json, spot: Spot) -> None:
        if not self._levels:
            self._result = (value, spot)
            return
        level = self._levels[-1]
        if level.inside_key:
            level.inside_key = False
            return
        if isinstance(level.value, list):
            level.value.append(value)
            level.spots.append(spot)  # type: ignore[union-attr]
            return
        if level.key is not None and level.key not in level.value and not level.key.startswith("\0"):
            level.value[level.key] = value
            level.spots[level.key] = (level.key_position, spot)  # type: ignore[call-overload]
        level.key, level.awaits_value = None, False


def _at(event: _Event) -> Position:
    return at(event.start_mark.line, event.start_mark.column)


@contextmanager
def collection_paused() -> Iterator[None]:
    """Tens of thousands of containers are built and none is garbage: looking for some doubles the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
