"""Documents are plain values with places; budgets hold before anything is built, and nothing recurses."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from io import StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from runbook.errors import InvalidInput
from runbook.plan.text import LARGEST_BYTES
from runbook.plan.yaml import DEEPEST, MOST_VALUES, Document, read_yaml
from tests.plan.given import codes


def read(text: str) -> Document:
    return read_yaml("tried.yaml", text.encode())


def test_values_and_places() -> None:
    document = read("a: 1\nb:\n  - x\n  - {c: 'y z', d: [true, null]}\n")
    assert document.tree == {"a": 1, "b": ["x", {"c": "y z", "d": [True, None]}]}
    assert document.problems == ()
    assert str(document.marks.key(("b",))) == "tried.yaml:2:1"
    assert str(document.marks.value(("b", 1, "c"))) == "tried.yaml:4:9"
    assert document.marks.value(("b", 1, "c")).width == len("'y z'")
    assert str(document.marks.value(("b", 1, "d", 0))) == "tried.yaml:4:20"


def test_yes_and_no_are_text_as_in_yaml_1_2() -> None:
    assert read("on: no\n").tree == {"on": "no"}


def test_an_alias_is_the_value_that_it_names_at_its_own_place() -> None:
    document = read("a: &x [1, 2]\nb: *x\nc: &y text\nd: *y\n")
    assert document.tree == {"a": [1, 2], "b": [1, 2], "c": "text", "d": "text"}
    assert str(document.marks.value(("b",))) == "tried.yaml:2:4"


def test_faults_of_structure_are_collected_and_the_first_value_stands() -> None:
    document = read("a: 1\na: 2\n1: x\nb: !t 3\nc: 010\n? [k]\n: v\n? {m: n}\n: w\nd: 4\n")
    assert [problem.code for problem in document.problems] == ["E114", "E125", "E122", "E126", "E125", "E125"]
    assert document.tree == {"a": 1, "b": 3, "c": "010", "d": 4} or document.tree == {
        "a": 1,
        "b": "3",
        "c": "010",
        "d": 4,
    }


def test_fifty_four_levels_of_aliases_count_as_what_they_expand_to() -> None:
    text = "a: &a [x, x]\n" + "".join(
        f"b{n}: &b{n} [*{'a' if n == 0 else f'b{n - 1}'}, *{'a' if n == 0 else f'b{n - 1}'}]\n" for n in range(40)
    )
    begun = time.process_time()
    assert codes(lambda: read(text)) == ["E118"]
    assert time.process_time() - begun < 60, "nobody writes them out"


def test_aliases_may_not_nest_deeper_than_values_may() -> None:
    half = DEEPEST // 2 + 2
    deep = "[" * half + "]" * half
    assert codes(lambda: read(f"a: &a {deep}\nb: {'[' * half}*a{']' * half}\n")) == ["E119"]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[[{a: "])
def test_five_thousand_levels_end_in_a_message_not_in_a_crash(opening: str) -> None:
    program = (
        "import sys; from runbook.plan.yaml import read_yaml; from runbook.errors import InvalidInput\n"
        "try: read_yaml('deep.yaml', (sys.argv[1] * 5000).encode())\n"
        "except InvalidInput as fault: print('E119' in [p.code for p in fault.problems])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, opening], capture_output=True, text=True, timeout=300, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "True\n", "")


def test_too_many_values_and_too_large_a_file() -> None:
    assert codes(lambda: read("[" + "a," * (MOST_VALUES + 1) + "]")) == ["E120"]
    assert codes(lambda: read("a" * (LARGEST_BYTES + 1))) == ["E101"]


def test_keys_that_share_a_file_with_a_broken_line_are_reported_with_it() -> None:
    assert codes(lambda: read("a: 1\na: 2\nb: [1, 2\nc: 3\n")) == ["E114", "E112"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1, 2\nb: 3\n", "1:4"),
        ("a: 'x\nb: 1\n", "1:4"),
        ("a: {b: 1\n", "1:4"),
        ("a: b: c\n", "1:5"),
        ("a:\n\tb: 1\n", "2:1"),
    ],
)
def test_broken_syntax_is_shown_where_it_begins(text: str, place: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(text)
    assert str(caught.value.problems[0].where) == f"tried.yaml:{place}"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.text(st.characters(codec="ascii", exclude_categories=["Cc"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef_ :#-", min_size=1, max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES)
@settings(max_examples=60, deadline=None)
def test_whatever_is_written_is_read_back(value: object) -> None:
    assert read(json.dumps({"value": value})).tree == {"value": value}
    out = StringIO()
    YAML(typ="safe").dump({"value": value}, out)
    assert read(out.getvalue()).tree == {"value": value}
