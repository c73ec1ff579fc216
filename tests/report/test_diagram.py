"""Pictures as text: nothing redundant, nothing that a title could break."""

from __future__ import annotations

import re
from collections.abc import Sequence

import networkx
import pytest
from hypothesis import given

from runbook.action import Effect
from runbook.graph import build
from runbook.plan.model import OnFailure, Section, Step
from runbook.report.diagram import as_dot, as_mermaid, reduced
from tests.report.drawn import drawn, needs

NASTY = 'He said "end" <b>&</b> `x` #1; \\ [a](b) {c} | %%{init}%% --> s2\n\x1b[31m'


def step(name: str, *before: str, title: str = "", **more: object) -> Step:
    return Step(id=name, title=title or name, uses="shell.run", needs=before, **more)  # type: ignore[arg-type]


@given(needs())
def test_a_wait_that_follows_from_others_is_not_drawn(wanted: Sequence[tuple[int, ...]]) -> None:
    steps = [step(f"s{at}", *(f"s{need}" for need in before)) for at, before in enumerate(wanted)]
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    graph.add_nodes_from(one.id for one in steps)
    graph.add_edges_from((need, one.id) for one in steps for need in one.needs)
    assert set(reduced(build(steps))) == set(networkx.transitive_reduction(graph).edges)


def test_the_edges_of_a_hold_are_one_bracket() -> None:
    steps = (step("stop"), step("work", "stop"), step("more", "work"), step("start", "more", releases="stop"))
    picture = drawn(*steps)
    assert picture.holds == (("stop", "start"),)
    assert picture.parts[0].edges == (("stop", "work"), ("work", "more"), ("more", "start"))
    assert "  s1 -. holds until .-> s4\n" in as_mermaid(picture)
    assert 's1 -> s4 [style=dashed, label="holds until", constraint=false]' in as_dot(picture)


def test_sections_stand_apart_and_are_numbered_in_the_order_of_reading() -> None:
    picture = drawn(
        step("a"), step("b", "a"), step("tell", section=Section.ON_FAILURE), step("clean", section=Section.FINALLY)
    )
    assert [part.label for part in picture.parts] == ["", "if a step fails", "in any case, at the end"]
    assert [node.number for part in picture.parts for node in part.nodes] == [1, 2, 3, 4]
    assert '  subgraph part1["if a step fails"]\n' in as_mermaid(picture)
    assert 'label="in any case, at the end"' in as_dot(picture)


@pytest.mark.parametrize(
    ("made", "tags"),
    [
        (step("a"), ("destroys",)),
        (step("a", confirm="Really?"), ("destroys", "asks")),
        (step("a", when="{{ inputs.x }}", on_failure=OnFailure.CONTINUE), ("destroys", "if needed", "may fail")),
        (step("a", foreach=["x"]), ("destroys", "for each")),
        (Step(id="a", title="a", uses="manual"), ("a person",)),
    ],
)
def test_what_a_reader_should_not_miss_is_a_word(made: Step, tags: tuple[str, ...]) -> None:
    assert drawn(made, effects={"a": Effect.DESTROYS}).parts[0].nodes[0].tags == tags


def test_a_title_is_text_whatever_it_holds() -> None:
    picture = drawn(step("a", title=NASTY), step("end", "a", title="subgraph"))
    mermaid = as_mermaid(picture)
    line = mermaid.splitlines()[1]
    label = re.fullmatch(r'  s1\["([^"]*)"\]:::reads', line)
    assert label is not None, line
    text, small = label[1].split("<br/>")
    assert small == "<small>shell.run · reads</small>"
    assert not set(text) & set('"<>`[]{}|\\&%\x1b\n')
    decoded = re.sub(r"#(\d+);", lambda match: chr(int(match[1])), text)
    assert decoded == "1. " + " ".join(NASTY.replace("\x1b", "").split())

    dot = as_dot(picture).splitlines()[4]
    quoted = re.fullmatch(r'  s1 \[label="((?:[^"\\]|\\.)*)", fillcolor="[^"]*", color="[^"]*"\]', dot)
    assert quoted is not None, dot
    assert '\\"end\\"' in quoted[1]


def test_what_destroys_is_marked_in_every_form() -> None:
    picture = drawn(step("a"), effects={"a": Effect.DESTROYS})
    assert ":::destroys" in as_mermaid(picture)
    assert "penwidth=2.5" in as_dot(picture)
    assert "destroys" in as_dot(picture)
