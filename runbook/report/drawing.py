"""The picture of a plan as SVG: boxes in layers, a bracket round what is held, one colour and one word for what a step does.

Owns the look. Pure: no fonts are measured, so texts are given the room that a wide sans serif takes. Promises: the same plan gives
the same bytes; every text is escaped; what a colour says a word says too.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from runbook.action import Effect
from runbook.report.diagram import Node, Part, Picture
from runbook.report.layers import Arrangement, Box, Size, arrange

_WIDTH = 340.0
_LINE = 18.0
_MARGIN = 24.0
_HEADING = 24.0
_LABEL = 34.0
_LANE = 26.0
_MOST_LINES = 3
_TITLE_CHARS = 36
_USES_CHARS = 52

_COLORS = {
    Effect.READS: ("#57606a", "#eaeef2"),
    Effect.CREATES: ("#0550ae", "#ddf4ff"),
    Effect.CHANGES: ("#7d4e00", "#fff8c5"),
    Effect.DESTROYS: ("#a40e26", "#ffebe9"),
}
_STYLE = """\
text{font-family:-apple-system,'Segoe UI','Noto Sans','DejaVu Sans',Helvetica,Arial,sans-serif;fill:#1f2328}
.t{font-size:14px;font-weight:600}.u{font-size:12px;fill:#57606a}.g{font-size:11px;font-weight:600}
.h{font-size:18px;font-weight:600}.l{font-size:13px;font-weight:600;fill:#57606a}
.e{fill:none;stroke:#57606a;stroke-width:1.5}.b{fill:none;stroke:#8250df;stroke-width:1.5;stroke-dasharray:5 4}
.k{font-size:11px;fill:#8250df;font-weight:600}"""


@dataclass(frozen=True, slots=True)
class _Placed:
    """A part of the picture at its height."""

    part: Part
    layout: Arrangement
    top: float


def as_svg(drawn: Picture) -> str:
    """The picture as an SVG document."""
    layouts = [arrange({node.id: _size(node) for node in part.nodes}, part.edges) for part in drawn.parts]
    inner = max((layout.width for layout in layouts), default=_WIDTH)
    width = inner + 2 * _MARGIN + _LANE * len(drawn.holds)
    heading = _wrapped(drawn.title or drawn.name, int((width - 2 * _MARGIN) / 11.5))
    placed, height = _stacked(drawn.parts, layouts, top=_MARGIN + _HEADING * len(heading) + 12)
    body = [
        f'<text class="h" x="{_MARGIN:g}" y="{_MARGIN - 6 + _HEADING * line:g}">{escape(text)}</text>'
        for line, text in enumerate(heading, start=1)
    ]
    where: dict[str, Box] = {}
    for one in placed:
        body += _part(one, inner)
        shift_x, shift_y = _MARGIN + (inner - one.layout.width) / 2, one.top
        for step, box in one.layout.boxes.items():
            where[step] = Box(box.x + shift_x, box.y + shift_y, box.width, box.height)
    body += _holds(drawn, where, right=_MARGIN + inner)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        f'role="img" aria-label={quoteattr(f"The plan {drawn.name}: {drawn.title}")}>'
    )
    marker = (
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerUnits="userSpaceOnUse" markerWidth="9" '
        'markerHeight="9" orient="auto"><path d="M0 0L8 4L0 8z" fill="#57606a"/></marker></defs>'
    )
    paper = f'<rect width="{width:g}" height="{height:g}" rx="8" fill="#ffffff"/>'
    return "\n".join([head, f"<style>{_STYLE}</style>", marker, paper, *body, "</svg>", ""])


def _stacked(parts: Iterable[Part], layouts: Iterable[Arrangement], *, top: float) -> tuple[list[_Placed], float]:
    """The parts one below the other, and where the last one ends."""
    placed = []
    for part, layout in zip(parts, layouts, strict=True):
        top += _LABEL if part.label else 0
        placed.append(_Placed(part, layout, top))
        top += layout.height + _MARGIN
    return placed, top


def _part(one: _Placed, inner: float) -> Iterator[str]:
    x, y = _MARGIN + (inner - one.layout.width) / 2, one.top
    if one.part.label:
        yield f'<text class="l" x="{_MARGIN:g}" y="{y - 12:g}">{escape(one.part.label)}</text>'
        yield f'<path d="M{_MARGIN:g} {y - 32:g}H{_MARGIN + inner:g}" stroke="#d0d7de"/>'
    yield f'<g transform="translate({x:g} {y:g})">'
    for chain in one.layout.edges.values():
        yield f'<path class="e" d="{_curve(chain)}" marker-end="url(#a)"/>'
    for node in one.part.nodes:
        yield from _box(node, one.layout.boxes[node.id])
    yield "</g>"


def _curve(chain: tuple[Box, ...]) -> str:
    """From the foot of the first box, straight through what is passed, to the head of the last."""
    first, last = chain[0], chain[-1]
    x, y = first.middle, first.y + first.height
    path = [f"M{x:.1f} {y:.1f}"]
    for stop in chain[1:]:
        half = (stop.y - y) / 2
        path.append(f"C{x:.1f} {y + half:.1f} {stop.middle:.1f} {stop.y - half:.1f} {stop.middle:.1f} {stop.y:.1f}")
        x, y = stop.middle, stop.y
        if stop is not last:
            y += stop.height
            path.append(f"V{y:.1f}")
    return "".join(path)


def _size(node: Node) -> Size:
    tags = 22 if _own_row(node) else 0
    return Size(_WIDTH, 14 + _LINE * len(_title(node)) + 20 + tags + 6)


def _title(node: Node) -> list[str]:
    return _wrapped(node.heading, _TITLE_CHARS)


def _own_row(node: Node) -> bool:
    """Whether the words beside the action need a row of their own."""
    return _length(node.uses) + sum(len(tag) + 4 for tag in node.tags) > _USES_CHARS


def _box(node: Node, box: Box) -> Iterator[str]:
    dark, light = _COLORS[node.effect]
    weight = 2.5 if node.effect is Effect.DESTROYS else 1.2
    yield f"<g><title>{escape(f'{node.id}: {node.title}')}</title>"
    yield (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:g}" height="{box.height:g}" rx="7" fill="#ffffff" '
        f'stroke="{dark}" stroke-width="{weight}"/>'
    )
    yield f'<rect x="{box.x + 2:.1f}" y="{box.y + 7:.1f}" width="4" height="{box.height - 14:g}" rx="2" fill="{dark}"/>'
    y = box.y + 8
    for line in _title(node):
        y += _LINE
        yield f'<text class="t" x="{box.x + 16:.1f}" y="{y:.1f}">{escape(line)}</text>'
    y += 20
    yield f'<text class="u" x="{box.x + 16:.1f}" y="{y:.1f}">{escape(_cut(node.uses, _USES_CHARS))}</text>'
    y += 22 if _own_row(node) else 0
    x = box.x + box.width - 10
    for tag in reversed(node.tags):
        x -= 7.0 * len(tag) + 14
        own = tag == node.tags[0]
        back, ink = (light, dark) if own else ("#fbefff", "#6639ba")
        yield f'<rect x="{x:.1f}" y="{y - 13:.1f}" width="{7.0 * len(tag) + 10:.1f}" height="18" rx="9" fill="{back}"/>'
        middle = x + (7.0 * len(tag) + 10) / 2
        yield f'<text class="g" x="{middle:.1f}" y="{y:.1f}" text-anchor="middle" style="fill:{ink}">{escape(tag)}</text>'
    yield "</g>"


def _holds(drawn: Picture, where: Mapping[str, Box], *, right: float) -> Iterator[str]:
    """A bracket at the right from the step that takes a hold to the one that releases it."""
    for lane, (hold, release) in enumerate(drawn.holds):
        one, other = where[hold], where[release]
        x = right + 8 + _LANE * lane
        top, foot = one.y + one.height / 2, other.y + other.height / 2
        yield f'<path class="b" d="M{one.x + one.width:.1f} {top:.1f}H{x:.1f}V{foot:.1f}H{other.x + other.width:.1f}"/>'
        middle = (top + foot) / 2
        text = escape(f"held: {hold}")
        yield f'<text class="k" transform="translate({x + 13:.1f} {middle:.1f}) rotate(-90)" text-anchor="middle">{text}</text>'


def _wrapped(text: str, room: int) -> list[str]:
    """At most three lines of at most ``room`` columns; what is left out shows as an ellipsis."""
    lines = [""]
    for word in _words(text, room):
        joined = f"{lines[-1]} {word}".strip()
        if _length(joined) <= room or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(word)
    cut = [_cut(line, room) for line in lines[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        cut[-1] = _cut(f"{lines[_MOST_LINES - 1]} {lines[_MOST_LINES]}…", room)
    return cut


def _words(text: str, room: int) -> Iterator[str]:
    """The words, those that no line holds in pieces: some scripts have no spaces."""
    for word in text.split():
        piece = ""
        for char in word:
            if _length(piece + char) > room:
                yield piece
                piece = ""
            piece += char
        yield piece


def _cut(text: str, room: int) -> str:
    if _length(text) <= room:
        return text
    while _length(text) > room - 1:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _length(text: str) -> int:
    """Columns: a wide character takes two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
