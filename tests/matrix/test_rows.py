"""The matrix itself: its rows name tests that are there, and each defence that can be taken out is missed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.matrix.__main__ import counted, turned_red
from tests.matrix.row import Row, below
from tests.matrix.rows import ROWS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_names_tests_that_are_there_or_says_what_is_owed(row: Row) -> None:
    assert row.tests or row.owed
    assert (row.takes_out is None) is bool(row.owed), "a row without power says why"
    assert bool(row.takes_out) == bool(row.red)
    for node in (*row.tests, *row.red):
        file, _, test = node.partition("::")
        place = ROOT / file
        assert place.exists(), node
        if test:
            defined = {one.name for one in ast.walk(ast.parse(place.read_text())) if isinstance(one, ast.FunctionDef)}
            assert test in defined, node


def test_no_two_rows_have_one_name() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_without_its_defence_each_row_turns_red() -> None:
    powerful = [row for row in ROWS if row.takes_out is not None]
    assert sorted({row.name for row in powerful} - turned_red(powerful)) == []


def test_the_counts_come_from_the_run() -> None:
    row = Row("X", "", "", ("a.py::t", "b.py", "c"))
    found = {"a.py::t[1]": (5, True), "a.py::tt": (1, True), "b.py::x": (1, False), "c/d.py::y": (2, True)}
    assert counted(row, found) == (8, 7)
    assert below("a.py::t", "a.py::t")
    assert not below("a.py::tt", "a.py::t")
