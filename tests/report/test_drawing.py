"""The SVG: well formed whatever a title holds, the same every time, and readable without colours."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from runbook.action import Effect
from runbook.plan.model import Section, Step
from runbook.report.drawing import as_svg
from tests.report.drawn import drawn

SVG = "{http://www.w3.org/2000/svg}"


def step(name: str, *before: str, title: str = "", releases: str = "", section: Section = Section.STEPS) -> Step:
    return Step(
        id=name, title=title or name, uses="shell.run", needs=before, releases=releases, section=section, on="db"
    )


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_titles_are_text_and_long_ones_are_wrapped() -> None:
    title = 'Read the <whole> "backup" & compare it with its manifest'
    svg = as_svg(drawn(step("a", title=title), title="<x> & y"))
    said = texts(svg)
    assert said[0] == "<x> & y"
    lines = said[1 : said.index("shell.run on db")]
    assert " ".join(lines) == f"1. {title}"
    assert all(len(line) <= 36 for line in lines)


def test_a_title_without_end_is_cut_and_told_whole_in_the_tooltip() -> None:
    title = "word " * 60
    svg = as_svg(drawn(step("a", title=title)))
    assert any(line.endswith("…") for line in texts(svg))
    tooltip = ET.fromstring(svg).find(f".//{SVG}title")
    assert tooltip is not None
    assert tooltip.text == f"a: {title.strip()}"


def test_a_script_without_spaces_is_wrapped_too() -> None:
    said = texts(as_svg(drawn(step("a", title="復" * 30))))
    assert "".join(line for line in said if "復" in line).count("復") == 30


def test_a_word_says_what_the_colour_says() -> None:
    svg = as_svg(drawn(step("a"), step("b", "a"), effects={"b": Effect.DESTROYS}))
    assert {"reads", "destroys"} <= set(texts(svg))
    heavy = [box for box in ET.fromstring(svg).iter(f"{SVG}rect") if box.get("stroke-width") == "2.5"]
    assert len(heavy) == 1


def test_a_hold_is_a_bracket_with_its_name_beside_the_boxes() -> None:
    svg = as_svg(drawn(step("stop"), step("work", "stop"), step("start", "work", releases="stop")))
    assert "held: stop" in texts(svg)
    root = ET.fromstring(svg)
    brackets = [path.get("d", "") for path in root.iter(f"{SVG}path") if path.get("class") == "b"]
    assert len(brackets) == 1
    boxes = [
        float(box.get("x", 0)) + float(box.get("width", 0)) for box in root.iter(f"{SVG}rect") if box.get("rx") == "7"
    ]
    assert float(brackets[0].split("H")[1].split("V")[0]) > max(boxes)


def test_sections_have_their_headings() -> None:
    svg = as_svg(drawn(step("a"), step("b", section=Section.ON_FAILURE), step("c", section=Section.FINALLY)))
    assert {"if a step fails", "in any case, at the end"} <= set(texts(svg))


def test_the_same_plan_gives_the_same_bytes() -> None:
    steps = [step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c")]
    assert as_svg(drawn(*steps)) == as_svg(drawn(*steps))
