"""From a plan to a graph: who waits for whom, in which order, and which chain is the longest.

Owns :class:`Graph`. Order and cycles come from the standard library's ``graphlib``; :func:`digraph` gives the same graph as a
networkx ``DiGraph``, imported late, for the critical path and for those who want to draw or analyse it. Promises: the order
is stable (steps that are free of one another stand as they are written), and a cycle is shown as a path with its lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from runbook.errors import InvalidInput, Problem
from runbook.plan.model import Section, Step

if TYPE_CHECKING:
    import networkx


@dataclass(frozen=True, slots=True)
class Graph:
    """Steps by id, in an order in which they may run, with the ids before and after each. All sections are in it."""

    steps: Mapping[str, Step]
    order: tuple[str, ...]
    before: Mapping[str, tuple[str, ...]]
    after: Mapping[str, tuple[str, ...]]

    def section(self, section: Section) -> tuple[str, ...]:
        """The ids of one section, in order."""
        return tuple(step for step in self.order if self.steps[step].section is section)

    @property
    def listed(self) -> tuple[str, ...]:
        """All ids as people are shown them: section by section, so that what ends a run isn't told before its steps."""
        return tuple(step for section in Section for step in self.section(section))

    def ancestors(self, step: str) -> frozenset[str]:
        """All ids that must be done before ``step``."""
        return _reach(step, self.before)

    def descendants(self, step: str) -> frozenset[str]:
        """All ids that wait for ``step``."""
        return _reach(step, self.after)

    def inside(self, hold: str, release: str) -> frozenset[str]:
        """The steps that follow the hold and precede its release; a release in a later section comes after all of the hold's."""
        section = self.steps[hold].section
        if self.steps[release].section is not section:
            return frozenset(step for step in self.descendants(hold) if self.steps[step].section is section)
        return self.descendants(hold) & self.ancestors(release)

    def releases(self) -> Mapping[str, str]:
        """Release by hold: ``{"stop_writers": "start_writers"}``."""
        return {step.releases: step.id for step in self.steps.values() if step.releases}


def build(steps: Iterable[Step]) -> Graph:
    """The graph of these steps. Raises :class:`InvalidInput` (E125) with the cycle's whole path where there is one."""
    by_id = {step.id: step for step in steps}
    before = {step.id: tuple(need for need in dict.fromkeys(step.needs) if need in by_id) for step in by_id.values()}
    order = _sorted(by_id, before)
    plain = Graph(by_id, order, before, _turned(before))
    held = _held(plain)
    return Graph(by_id, order, held, _turned(held)) if held != before else plain


def _held(graph: Graph) -> Mapping[str, tuple[str, ...]]:
    """Who waits for whom, with every step inside a hold waiting for the hold itself, and its release for all of them.

    At first that says nothing new; after a resume it is what makes a hold be taken again before a step inside goes on, and
    released once nothing inside is left to do. A release in ``finally`` waits for none of them: it is for every end.
    """
    before = dict(graph.before)
    for hold, release in graph.releases().items():
        inside = graph.inside(hold, release) if hold in before else frozenset()
        for step in inside:
            before[step] = tuple(dict.fromkeys((*before[step], hold)))
        if hold in before and graph.steps[hold].section is graph.steps[release].section:
            within = (step for step in graph.order if step in inside)
            before[release] = tuple(dict.fromkeys((*before[release], hold, *within)))
    return before


def _turned(before: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    after: dict[str, list[str]] = {step: [] for step in before}
    for step, needs in before.items():
        for need in needs:
            after[need].append(step)
    return {step: tuple(followers) for step, followers in after.items()}


def _sorted(by_id: Mapping[str, Step], before: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    sorter = TopologicalSorter(before)
    try:
        sorter.prepare()
    except CycleError as error:
        raise InvalidInput(_cycle(by_id, error.args[1])) from None
    place = {step: index for index, step in enumerate(by_id)}
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=place.__getitem__)
        order += ready
        sorter.done(*ready)
    return tuple(order)


def _cycle(by_id: Mapping[str, Step], path: list[str]) -> Problem:
    # graphlib gives the path from a step to one that needs it; a reader follows "needs" the other way
    steps = [by_id[step] for step in reversed(path)]
    lines = [f"{step.id} ({step.where}) needs" if step.where else f"{step.id} needs" for step in steps[:-1]]
    return Problem(
        "E125",
        "steps wait for one another in a circle",
        "\n".join([*lines, steps[-1].id]),
        "take one of these needs out",
        steps[0].where,
    )


def _reach(start: str, edges: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    seen: set[str] = set()
    todo = list(edges[start])
    while todo:
        step = todo.pop()
        if step not in seen:
            seen.add(step)
            todo += edges[step]
    return frozenset(seen)


def digraph(graph: Graph) -> networkx.DiGraph[str]:
    """The same graph for networkx: an edge from each step to those that wait for it."""
    import networkx

    drawn: networkx.DiGraph[str] = networkx.DiGraph()
    drawn.add_nodes_from(graph.order)
    drawn.add_edges_from((need, step) for step, needs in graph.before.items() for need in needs)
    return drawn


@dataclass(frozen=True, slots=True)
class CriticalPath:
    """The chain that decides how long the plan takes: its ids, and its length in seconds."""

    steps: tuple[str, ...]
    seconds: float


def critical_path(graph: Graph, seconds: Callable[[Step], float]) -> CriticalPath:
    """The longest chain of the main section, weighing each step by ``seconds``."""
    import networkx

    main = set(graph.section(Section.STEPS))
    drawn = digraph(graph).subgraph(main)
    weighed: networkx.DiGraph[str] = networkx.DiGraph()
    weighed.add_nodes_from(main)
    weighed.add_edges_from((u, v, {"weight": seconds(graph.steps[v])}) for u, v in drawn.edges)
    first = {step for step in main if not weighed.in_degree(step)}
    # a source of its own carries the weight of the steps that start at once
    weighed.add_edges_from(("", step, {"weight": seconds(graph.steps[step])}) for step in first)
    path = networkx.dag_longest_path(weighed, weight="weight") if main else []
    total = sum(seconds(graph.steps[step]) for step in path if step)
    return CriticalPath(tuple(step for step in path if step), total)
