"""A plan as a picture: who waits for whom, what changes or destroys, what is held while other steps run.

Owns :class:`Picture` and its two text forms, Mermaid and DOT; ``drawing.py`` has the third. Pure. Promises: a wait that follows
from others isn't drawn; titles are text in every form, whatever they hold; numbers are those of a run's own lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runbook.action import Effect
from runbook.graph import Graph, build
from runbook.plan.model import OnFailure, Plan, Section, Step

PEOPLE = frozenset(("manual", "approval"))
SECTIONS = {
    Section.STEPS: "",
    Section.ON_FAILURE: "if a step fails",
    Section.FINALLY: "in any case, at the end",
}


@dataclass(frozen=True, slots=True)
class Node:
    """A step. ``tags`` are short words to be shown beside it (``destroys``, ``asks``, …), its effect first."""

    id: str
    number: int
    title: str
    uses: str
    effect: Effect
    tags: tuple[str, ...]

    @property
    def heading(self) -> str:
        """Number and title."""
        return f"{self.number}. {self.title}"


@dataclass(frozen=True, slots=True)
class Part:
    """A section of the plan. ``label`` is empty for the steps themselves; edges are pairs of ids."""

    label: str
    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A whole plan. ``holds``: a step whose effect lasts, and the step that releases it."""

    name: str
    title: str
    parts: tuple[Part, ...]
    holds: tuple[tuple[str, str], ...]


def picture(plan: Plan, effects: Mapping[str, Effect]) -> Picture:
    """The picture of a plan; ``effects`` by step. Steps with ``foreach`` may still be whole."""
    graph = build(plan.steps)
    number = {step: place for place, step in enumerate(graph.listed, start=1)}
    edges = reduced(graph)
    parts = []
    for section, label in SECTIONS.items():
        inside = graph.section(section)
        nodes = tuple(_node(graph.steps[step], number[step], effects[step]) for step in inside)
        own = tuple((one, other) for one, other in edges if one in inside and other in inside)
        if nodes:
            parts.append(Part(label, nodes, own))
    return Picture(plan.name, _plain(plan.title), tuple(parts), tuple(graph.releases().items()))


def reduced(graph: Graph) -> tuple[tuple[str, str], ...]:
    """The waits that don't follow from others (the transitive reduction), in the order of the steps."""
    place = {step: index for index, step in enumerate(graph.order)}
    reach: dict[str, int] = {}  # what is before a step, as bits by place
    edges = []
    for step in graph.order:
        before = graph.before[step]
        beyond = 0
        for need in before:
            beyond |= reach[need]
        direct = [need for need in before if not beyond >> place[need] & 1]
        edges += [(need, step) for need in sorted(direct, key=place.__getitem__)]
        reach[step] = beyond
        for need in before:
            reach[step] |= 1 << place[need]
    return tuple(edges)


def _node(step: Step, number: int, effect: Effect) -> Node:
    tags = ["a person"] if step.uses in PEOPLE else [effect.value]
    if step.confirm:
        tags.append("asks")
    if step.foreach is not None:
        tags.append("for each")
    if step.when:
        tags.append("if needed")
    if step.on_failure is OnFailure.CONTINUE:
        tags.append("may fail")
    uses = f"{step.uses} on {step.on}" if step.on else step.uses
    return Node(step.id, number, _plain(step.title or step.id), uses, effect, tuple(tags))


def _plain(text: str) -> str:
    """The text in one line, without what no reader sees: XML has no way to hold a control character."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())


def as_mermaid(drawn: Picture) -> str:
    """The picture for Mermaid, as Markdown renderers show it."""
    names = _names(drawn)
    lines = ["flowchart TD"]
    for place, part in enumerate(drawn.parts):
        lines += [f'  subgraph part{place}["{_entities(part.label)}"]'] if part.label else []
        lines += [_mermaid_node(names[node.id], node) for node in part.nodes]
        lines += [f"  {names[one]} --> {names[other]}" for one, other in part.edges]
        lines += ["  end"] if part.label else []
    lines += [f"  {names[hold]} -. holds until .-> {names[release]}" for hold, release in drawn.holds]
    lines += [f"  classDef {effect.value} {style}" for effect, style in _MERMAID.items()]
    return "\n".join([*lines, ""])


_MERMAID = {
    Effect.READS: "fill:#f6f8fa,stroke:#8c959f,color:#1f2328",
    Effect.CREATES: "fill:#ddf4ff,stroke:#0969da,color:#1f2328",
    Effect.CHANGES: "fill:#fff8c5,stroke:#bf8700,color:#1f2328",
    Effect.DESTROYS: "fill:#ffebe9,stroke:#cf222e,stroke-width:3px,color:#1f2328",
}


def _mermaid_node(name: str, node: Node) -> str:
    text = f"{_entities(node.heading)}<br/><small>{_entities(node.uses)} · {_entities(', '.join(node.tags))}</small>"
    shape = f'(["{text}"])' if "a person" in node.tags else f'["{text}"]'
    return f"  {name}{shape}:::{node.effect.value}"


def _entities(text: str) -> str:
    """Text in which nothing means anything to Mermaid or to HTML: its own entity codes."""
    return "".join(
        char if char.isalnum() or char in " .,:/()+-_=·'" or ord(char) > 0xA0 else f"#{ord(char)};" for char in text
    )


def as_dot(drawn: Picture) -> str:
    """The picture for Graphviz."""
    names = _names(drawn)
    lines = [
        f"digraph {_quoted(drawn.name)} {{",
        '  graph [rankdir=TB, fontname="Helvetica", labelloc=t, label=' + _quoted(drawn.title or drawn.name) + "]",
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11, margin="0.2,0.1"]',
        '  edge [color="#57606a", fontname="Helvetica", fontsize=9]',
    ]
    for place, part in enumerate(drawn.parts):
        inner = [*(_dot_node(names[node.id], node) for node in part.nodes)]
        inner += [f"  {names[one]} -> {names[other]}" for one, other in part.edges]
        if part.label:
            label = f"    label={_quoted(part.label)}"
            inner = [f"  subgraph cluster_{place} {{", label, *(f"  {line}" for line in inner), "  }"]
        lines += inner
    lines += list(_dot_holds(drawn, names))
    return "\n".join([*lines, "}", ""])


_DOT = {
    Effect.READS: 'fillcolor="#f6f8fa", color="#8c959f"',
    Effect.CREATES: 'fillcolor="#ddf4ff", color="#0969da"',
    Effect.CHANGES: 'fillcolor="#fff8c5", color="#bf8700"',
    Effect.DESTROYS: 'fillcolor="#ffebe9", color="#cf222e", penwidth=2.5',
}


def _dot_node(name: str, node: Node) -> str:
    text = _quoted(node.heading)[:-1] + r"\n" + _quoted(f"{node.uses} · {', '.join(node.tags)}")[1:]
    return f"  {name} [label={text}, {_DOT[node.effect]}]"


def _dot_holds(drawn: Picture, names: Mapping[str, str]) -> Iterator[str]:
    for hold, release in drawn.holds:
        yield f'  {names[hold]} -> {names[release]} [style=dashed, label="holds until", constraint=false]'


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _names(drawn: Picture) -> dict[str, str]:
    """A name for each step that no form takes for a word of its own."""
    return {node.id: f"s{node.number}" for part in drawn.parts for node in part.nodes}
