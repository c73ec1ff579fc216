"""Where the boxes of a drawing stand: a layered layout, top to bottom, as people draw procedures.

Owns :func:`arrange`. Pure and deterministic. The method is that of Sugiyama, Tagawa and Toda (1981): boxes in layers by their
longest way from the top, long edges through a place in every layer between, the order in a layer by the mean place of
neighbours, and then positions as near to the neighbours' as the order allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

Edge: TypeAlias = tuple[str, str]
_Stop: TypeAlias = "str | tuple[str, str, int]"
"""A box by its id, or the place of an edge in a layer that it passes."""

BESIDE = 28.0
"""Between boxes of a layer."""
BETWEEN = 36.0
"""Between layers."""
_PASSING = 8.0
"""The width that a passing edge is given."""
_SWEEPS = 12


@dataclass(frozen=True, slots=True)
class Size:
    """Of a box, in pixels."""

    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Box:
    """Where a box stands: its upper left corner and its size, in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Its horizontal middle."""
        return self.x + self.width / 2


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Boxes by id, and for each edge the boxes that it passes through, its ends included (those between have no content)."""

    boxes: Mapping[str, Box]
    edges: Mapping[Edge, tuple[Box, ...]]
    width: float
    height: float


def arrange(sizes: Mapping[str, Size], edges: Sequence[Edge]) -> Arrangement:
    """Place boxes of these sizes. ``sizes`` are in an order in which every edge leads forwards."""
    layer = _layers(sizes, edges)
    chains = {edge: _chain(edge, layer) for edge in edges}
    rows = _ordered(_rows(sizes, layer, chains), list(_links(chains)))
    width = {stop: sizes[stop].width if isinstance(stop, str) else _PASSING for row in rows for stop in row}
    middle = _positions(rows, list(_links(chains)), width)
    placed: dict[_Stop, Box] = {}
    top = 0.0
    for row in rows:
        height = max(sizes[stop].height for stop in row if isinstance(stop, str))
        for stop in row:
            own = sizes[stop].height if isinstance(stop, str) else height
            placed[stop] = Box(middle[stop] - width[stop] / 2, top, width[stop], own)
        top += height + BETWEEN
    left = min((box.x for box in placed.values()), default=0.0)
    moved = {stop: Box(box.x - left, box.y, box.width, box.height) for stop, box in placed.items()}
    return Arrangement(
        boxes={stop: box for stop, box in moved.items() if isinstance(stop, str)},
        edges={edge: tuple(moved[stop] for stop in chain) for edge, chain in chains.items()},
        width=max((box.x + box.width for box in moved.values()), default=0.0),
        height=max(top - BETWEEN, 0.0),
    )


def _layers(boxes: Iterable[str], edges: Sequence[Edge]) -> dict[str, int]:
    before: dict[str, list[str]] = {box: [] for box in boxes}
    for one, other in edges:
        before[other].append(one)
    layer: dict[str, int] = {}
    for box, needs in before.items():
        layer[box] = max((layer[need] + 1 for need in needs), default=0)
    return layer


def _chain(edge: Edge, layer: Mapping[str, int]) -> tuple[_Stop, ...]:
    one, other = edge
    passed = [(one, other, between) for between in range(layer[one] + 1, layer[other])]
    return (one, *passed, other)


def _rows(
    boxes: Iterable[str], layer: Mapping[str, int], chains: Mapping[Edge, tuple[_Stop, ...]]
) -> list[list[_Stop]]:
    rows: list[list[_Stop]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for box in boxes:
        rows[layer[box]].append(box)
    for chain in chains.values():
        for stop in chain[1:-1]:
            if not isinstance(stop, str):
                rows[stop[2]].append(stop)
    return rows


def _links(chains: Mapping[Edge, tuple[_Stop, ...]]) -> Iterable[tuple[_Stop, _Stop]]:
    for chain in chains.values():
        yield from pairwise(chain)


def _ordered(rows: list[list[_Stop]], links: list[tuple[_Stop, _Stop]]) -> list[list[_Stop]]:
    """The order with the fewest crossings that sweeps down and up come upon."""
    up, down = _neighbours(links)
    best, fewest = rows, _crossings(rows, links)
    current = [list(row) for row in rows]
    for sweep in range(_SWEEPS):
        forwards = sweep % 2 == 0
        indices = range(1, len(current)) if forwards else range(len(current) - 2, -1, -1)
        for index in indices:
            near = current[index - 1] if forwards else current[index + 1]
            place = {stop: at for at, stop in enumerate(near)}
            known = up if forwards else down
            current[index] = _by_mean(current[index], known, place)
        _exchange(current, up, down)
        crossings = _crossings(current, links)
        if crossings < fewest:
            best, fewest = [list(row) for row in current], crossings
    return best


def _by_mean(row: list[_Stop], known: Mapping[_Stop, list[_Stop]], place: Mapping[_Stop, int]) -> list[_Stop]:
    own = {stop: at for at, stop in enumerate(row)}

    def mean(stop: _Stop) -> float:
        places = [place[other] for other in known.get(stop, []) if other in place]
        return sum(places) / len(places) if places else own[stop]

    return sorted(row, key=lambda stop: (mean(stop), own[stop]))


def _exchange(rows: list[list[_Stop]], up: Mapping[_Stop, list[_Stop]], down: Mapping[_Stop, list[_Stop]]) -> None:
    """Exchange neighbours in a row where their edges cross less the other way round."""
    for index, row in enumerate(rows):
        above = {stop: at for at, stop in enumerate(rows[index - 1])} if index else {}
        below = {stop: at for at, stop in enumerate(rows[index + 1])} if index + 1 < len(rows) else {}
        for at in range(len(row) - 1):
            one, other = row[at], row[at + 1]
            as_is, turned = 0, 0
            for near, known in ((above, up), (below, down)):
                pairs = [(near[a], near[b]) for a in known.get(one, []) for b in known.get(other, [])]
                as_is += sum(a > b for a, b in pairs)
                turned += sum(a < b for a, b in pairs)
            if turned < as_is:
                row[at], row[at + 1] = other, one


def _neighbours(
    links: list[tuple[_Stop, _Stop]],
) -> tuple[dict[_Stop, list[_Stop]], dict[_Stop, list[_Stop]]]:
    up: dict[_Stop, list[_Stop]] = {}
    down: dict[_Stop, list[_Stop]] = {}
    for one, other in links:
        down.setdefault(one, []).append(other)
        up.setdefault(other, []).append(one)
    return up, down


def _crossings(rows: list[list[_Stop]], links: list[tuple[_Stop, _Stop]]) -> int:
    place = {stop: (layer, at) for layer, row in enumerate(rows) for at, stop in enumerate(row)}
    by_layer: dict[int, list[tuple[int, int]]] = {}
    for one, other in links:
        by_layer.setdefault(place[one][0], []).append((place[one][1], place[other][1]))
    return sum(
        (a - c) * (b - d) < 0
        for pairs in by_layer.values()
        for at, (a, b) in enumerate(pairs)
        for c, d in pairs[at + 1 :]
    )


def _positions(
    rows: list[list[_Stop]], links: list[tuple[_Stop, _Stop]], width: Mapping[_Stop, float]
) -> dict[_Stop, float]:
    """The middle of each stop: near the mean of its neighbours, in the order of its row, without overlap."""
    up, down = _neighbours(links)
    middle: dict[_Stop, float] = {}
    for row in rows:
        middle |= _spread(row, dict.fromkeys(row, 0.0), width)
    for sweep in range(_SWEEPS):
        ordered = rows if sweep % 2 == 0 else rows[::-1]
        for row in ordered:
            wanted = {}
            for stop in row:
                near = [*up.get(stop, []), *down.get(stop, [])]
                wanted[stop] = sum(middle[other] for other in near) / len(near) if near else middle[stop]
            middle |= _spread(row, wanted, width)
    return middle


def _spread(row: Sequence[_Stop], wanted: Mapping[_Stop, float], width: Mapping[_Stop, float]) -> dict[_Stop, float]:
    """Positions nearest to those wanted that keep order and distance: least squares, by pooling neighbours that collide."""
    offset = [0.0]
    for one, other in pairwise(row):
        offset.append(offset[-1] + (width[one] + width[other]) / 2 + BESIDE)
    pools: list[tuple[float, int]] = []  # mean and size: what stands together moves together
    for stop, shift in zip(row, offset, strict=True):
        mean, size = wanted[stop] - shift, 1
        while pools and pools[-1][0] > mean:
            before, count = pools.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        pools.append((mean, size))
    means = [mean for mean, size in pools for _ in range(size)]
    return {stop: mean + shift for stop, mean, shift in zip(row, means, offset, strict=True)}
