"""Order, cycles and the critical path; both graph libraries agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook.errors import InvalidInput
from runbook.graph import build, critical_path, digraph
from tests.engine.story import step


def test_free_steps_stand_as_they_are_written() -> None:
    graph = build([step("c"), step("a"), step("b", "c")])
    assert graph.order == ("c", "a", "b")
    assert graph.after["c"] == ("b",)


def test_a_cycle_is_shown_as_a_path() -> None:
    with pytest.raises(InvalidInput) as fault:
        build([step("a", "c"), step("b", "a"), step("c", "b")])
    detail = fault.value.problems[0].detail.splitlines()
    assert len(detail) == 4
    assert detail[0].split()[0] == detail[-1]


def test_steps_inside_a_hold_wait_for_it() -> None:
    graph = build([step("stop"), step("x", "stop"), step("y", "x"), step("start", "y", releases="stop")])
    assert graph.before["y"] == ("x", "stop")
    assert graph.inside("stop", "start") == {"x", "y"}


def test_the_critical_path_is_the_longest_chain() -> None:
    graph = build([step("a"), step("b", "a"), step("c"), step("end", "b", "c")])
    path = critical_path(graph, lambda s: {"a": 1.0, "b": 1.0, "c": 5.0, "end": 1.0}[s.id])
    assert path.steps == ("c", "end")
    assert path.seconds == 6.0


@st.composite
def _dags(draw: st.DrawFn) -> list[tuple[str, tuple[str, ...]]]:
    count = draw(st.integers(1, 12))
    names = [f"s{i}" for i in range(count)]
    return [
        (name, tuple(draw(st.lists(st.sampled_from(names[:i]), unique=True)) if i else ()))
        for i, name in enumerate(names)
    ]


@given(_dags())
def test_both_orders_agree(dag: list[tuple[str, tuple[str, ...]]]) -> None:
    import networkx

    graph = build([step(name, *needs) for name, needs in reversed(dag)])
    place = {name: index for index, name in enumerate(graph.order)}
    drawn = digraph(graph)
    assert networkx.is_directed_acyclic_graph(drawn)
    assert set(drawn.nodes) == set(graph.order)
    assert all(place[before] < place[after] for before, after in drawn.edges)
    assert {(n, name) for name, needs in dag for n in needs} == set(drawn.edges)
