"""Every path has a place, if only that of what encloses it."""

from __future__ import annotations

from runbook.plan.marks import Below, at, line_and_column
from runbook.plan.yaml import read_yaml

TEXT = (
    b"steps:\n  - id: one\n    with:\n      script: |\n        set -e\n        echo {{ inputs.x }}\n    needs: [a, b]\n"
)
MARKS = read_yaml("a.yaml", TEXT).marks


def test_positions_are_one_number_and_two() -> None:
    assert line_and_column(at(41_000, 4_194_303)) == (41_000, 4_194_303)


def test_a_path_that_is_not_there_has_the_place_of_what_encloses_it() -> None:
    assert str(MARKS.key(("steps", 0, "gone"))) == "a.yaml:2:5"
    assert str(MARKS.value(("gone",))) == "a.yaml:1:1"
    assert not MARKS.has(("steps", 1))


def test_a_fragment_is_found_inside_of_a_block() -> None:
    place = MARKS.inside(("steps", 0, "with", "script"), "inputs.x")
    assert (str(place), place.width) == ("a.yaml:6:17", len("inputs.x"))


def test_marks_of_a_step_are_a_mapping_by_dotted_names() -> None:
    marks = Below(MARKS, ("steps", 0), ("id", "with", "needs"))
    assert sorted(marks) == ["id", "needs", "with"]
    assert str(marks["needs.1"]) == "a.yaml:7:16"
    assert "with.script" in marks
    assert "with.other" not in marks
    assert str(marks.key("with")) == "a.yaml:3:5"
