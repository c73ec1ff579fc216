"""Marks: where every key and value of a document stands, found by its path.

Owns the compact record that the composer leaves behind (:data:`Spot`). Promises: asking for a path that isn't there gives
the nearest enclosing thing that is, so that every problem has a place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from runbook.errors import Place
from runbook.plan.text import Text

Path: TypeAlias = tuple[str | int, ...]
Position: TypeAlias = int
"""Line and column (both from 0) in one number: tens of thousands of them are kept."""
Spot: TypeAlias = "Position | tuple[Position, list[Spot]] | tuple[Position, dict[str, tuple[Position, Spot]]]"

_BITS = 23
_TOKEN = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'|[^\s#,\[\]{}](?:[^,\[\]{}#:]|:(?!\s|$)|(?<!\s)#)*")


def at(line: int, column: int) -> Position:
    """The position of a line and a column, both from 0."""
    return line << _BITS | column


def line_and_column(position: Position) -> tuple[int, int]:
    """What :func:`at` was given."""
    return position >> _BITS, position & (1 << _BITS) - 1


class Marks:
    """The places of one document's keys and values."""

    __slots__ = ("_root", "_text")

    def __init__(self, text: Text, root: Spot) -> None:
        self._text = text
        self._root = root

    @property
    def text(self) -> Text:
        """The file that the marks point into."""
        return self._text

    def key(self, path: Path) -> Place:
        """The place of the key (or list item) at ``path``."""
        key, spot, found = self._walk(path)
        position = key if key is not None and found == len(path) else _of(spot)
        return self._place(position)

    def value(self, path: Path) -> Place:
        """The place of the value at ``path``; of the key above it, where it has a block of its own."""
        key, spot, found = self._walk(path)
        listed = isinstance(spot, int) and all(isinstance(part, int) for part in path[found:])
        return self._place(_of(spot) if key is None or found == len(path) or listed else key)

    def inside(self, path: Path, fragment: str) -> Place:
        """The place of ``fragment`` within the text value at ``path``; of the value, where it can't be found."""
        line, column = line_and_column(_of(self._walk(path)[1]))
        text = self._text
        for number in range(line, min(line + 400, len(text.lines))):
            start = text.lines[number].find(fragment, column if number == line else 0)
            if start >= 0:
                return text.place(number, start, len(fragment))
        return self.value(path)

    def has(self, path: Path) -> bool:
        """Whether something stands at ``path``."""
        return self._walk(path)[2] == len(path)

    def part(self, path: Path, place: Place) -> str:
        """The key below ``path`` in whose part of the text a place lies; empty where that is in none."""
        _, spot, found = self._walk(path)
        children = spot[1] if isinstance(spot, tuple) and found == len(path) else None
        if not isinstance(children, dict):
            return ""
        begun = at(place.line - 1, place.column - 1)
        before = {position: name for name, (position, _) in children.items() if position <= begun}
        return before[max(before)] if before else ""

    def _walk(self, path: Path) -> tuple[Position | None, Spot, int]:
        """The deepest key position, the deepest spot, and how many parts of the path were found."""
        key: Position | None = None
        spot = self._root
        for found, part in enumerate(path):
            children = spot[1] if isinstance(spot, tuple) else None
            if isinstance(children, dict) and part in children:
                key, spot = children[str(part)]
            elif isinstance(children, list) and isinstance(part, int) and part < len(children):
                spot = children[part]
                key = _of(spot)
            else:
                return key, spot, found
        return key, spot, len(path)

    def _place(self, position: Position) -> Place:
        line, column = line_and_column(position)
        match = _TOKEN.match(self._text.lines[line], column) if line < len(self._text.lines) else None
        return self._text.place(line, column, len(match[0].rstrip()) if match else 1)


class Below(Mapping[str, Place]):
    """The marks below one path, as a mapping from dotted paths (``with.artifact``) to places of values."""

    __slots__ = ("_base", "_marks", "_names")

    def __init__(self, marks: Marks, base: Path, names: tuple[str, ...] = ()) -> None:
        self._marks = marks
        self._base = base
        self._names = names

    @property
    def marks(self) -> Marks:
        """The whole document's marks."""
        return self._marks

    def path(self, name: str) -> Path:
        """The whole path of a dotted name; numbers are list positions."""
        return (*self._base, *(int(part) if part.isdecimal() else part for part in name.split(".")))

    def inside(self, name: str, fragment: str) -> Place:
        """The place of ``fragment`` in the text value of that name."""
        return self._marks.inside(self.path(name), fragment)

    def key(self, name: str) -> Place:
        """The place of the key of that name; of the nearest thing above it, where it isn't."""
        return self._marks.key(self.path(name))

    def nearest(self, name: str) -> Place:
        """The place of the value of that name, or of the nearest thing above it."""
        return self._marks.value(self.path(name))

    def __getitem__(self, name: str) -> Place:
        path = self.path(name)
        if not self._marks.has(path):
            raise KeyError(name)
        return self._marks.value(path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _of(spot: Spot) -> Position:
    return spot[0] if isinstance(spot, tuple) else spot
