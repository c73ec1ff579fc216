"""The layout: nothing overlaps, everything leads downwards, and edges pass between boxes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given

from runbook.report.layers import BESIDE, Arrangement, Box, Edge, Size, arrange
from tests.report.drawn import needs


def arranged(wanted: Sequence[tuple[int, ...]]) -> Arrangement:
    sizes = {f"s{at}": Size(100 + 10 * (at % 3), 40 + 5 * (at % 4)) for at in range(len(wanted))}
    edges: list[Edge] = [(f"s{need}", f"s{at}") for at, before in enumerate(wanted) for need in before]
    return arrange(sizes, edges)


def apart(one: Box, other: Box) -> bool:
    beside = one.x + one.width <= other.x + 0.01 or other.x + other.width <= one.x + 0.01
    below = one.y + one.height <= other.y + 0.01 or other.y + other.height <= one.y + 0.01
    return beside or below


@given(needs())
def test_boxes_never_overlap_and_lie_inside(wanted: Sequence[tuple[int, ...]]) -> None:
    found = arranged(wanted)
    boxes = list(found.boxes.values())
    assert len(boxes) == len(wanted)
    assert all(apart(one, other) for at, one in enumerate(boxes) for other in boxes[at + 1 :])
    for box in boxes:
        assert box.x >= -0.01
        assert box.x + box.width <= found.width + 0.01
        assert box.y + box.height <= found.height + 0.01


@given(needs())
def test_an_edge_leads_down_and_touches_no_other_box(wanted: Sequence[tuple[int, ...]]) -> None:
    found = arranged(wanted)
    for (one, other), chain in found.edges.items():
        assert (chain[0], chain[-1]) == (found.boxes[one], found.boxes[other])
        assert all(upper.y + upper.height < lower.y for upper, lower in pairwise(chain))
        for passed in chain[1:-1]:
            assert all(apart(passed, box) for box in found.boxes.values())


def test_a_chain_is_straight() -> None:
    found = arranged([(), (0,), (1,), (2,)])
    assert len({round(box.middle, 3) for box in found.boxes.values()}) == 1


def test_branches_stand_beside_one_another_under_what_they_share() -> None:
    found = arrange({name: Size(100, 40) for name in "abcd"}, [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])
    a, b, c, d = (found.boxes[name] for name in "abcd")
    assert b.y == c.y
    assert c.x - (b.x + b.width) == pytest.approx(BESIDE)
    assert a.middle == pytest.approx(d.middle)
    assert a.middle == pytest.approx((b.middle + c.middle) / 2)


def test_crossings_that_can_be_avoided_are() -> None:
    found = arrange({name: Size(100, 40) for name in "abcd"}, [("a", "d"), ("b", "c")])
    assert (found.boxes["a"].x < found.boxes["b"].x) == (found.boxes["d"].x < found.boxes["c"].x)


def test_nothing_takes_no_room() -> None:
    assert arrange({}, []) == Arrangement({}, {}, 0.0, 0.0)
