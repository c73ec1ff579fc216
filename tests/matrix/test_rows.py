"""The matrix itself: its rows name tests that are there, and each defence that can be taken out is missed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.matrix.__main__ import counted
from tests.matrix.checkout import copied
from tests.matrix.mutation import Mutation
from tests.matrix.power import Without, mutated, patched
from tests.matrix.row import Row, below, widest
from tests.matrix.rows import ROWS
from tests.matrix.session import Broken, Session

ROOT = Path(__file__).parents[2]
POWERFUL = [row for row in ROWS if row.takes_out is not None]
MUTATED = [row for row in POWERFUL if isinstance(row.takes_out, Mutation)]
QUICK = ("F4", "F22")
"""Rows whose mutation is tried in every run of the tests; all are by `python -m tests.matrix`."""
LONG = ("tests/trouble", "tests/evidence")
"""Whole runs on real servers: so are rows that turn red there."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_names_tests_that_are_there_or_says_what_is_owed(row: Row) -> None:
    assert row.tests or row.owed
    assert (row.takes_out is None) is bool(row.owed), "a row without power says why"
    assert bool(row.takes_out) == bool(row.red)
    for node in row.nodes:
        file, _, test = node.partition("::")
        place = ROOT / file
        assert place.exists(), node
        if test:
            defined = {one.name for one in ast.walk(ast.parse(place.read_text())) if isinstance(one, ast.FunctionDef)}
            assert test.partition("[")[0] in defined, node


def test_no_two_rows_have_one_name() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_without_its_defence_in_this_process_each_row_turns_red() -> None:
    here = [row for row in POWERFUL if row not in MUTATED and not any(node.startswith(LONG) for node in row.red)]
    assert sorted({row.name for row in here} - set(patched(here))) == []


@pytest.mark.parametrize("row", MUTATED, ids=lambda row: row.name)
def test_a_mutation_finds_its_text_once_and_leaves_a_program(row: Row) -> None:
    assert isinstance(row.takes_out, Mutation)
    assert row.takes_out.fault(ROOT) == ""


@pytest.mark.parametrize("name", QUICK)
def test_without_its_defence_in_another_process_a_row_turns_red(name: str) -> None:
    (row,) = [row for row in MUTATED if row.name == name]
    assert (without := mutated(row)).red, without.said


def test_a_mutation_that_changes_nothing_that_is_tried_is_told() -> None:
    held = (f"{Path(__file__).relative_to(ROOT)}::test_no_two_rows_have_one_name",)
    nowhere = Mutation("runbook/errors.py", '"""', "")
    told = mutated(Row("X", "", "", held, nowhere, held))
    assert (told.tried, told.red, "stands there" in told.said) == (False, (), True)
    harmless = Mutation("pyproject.toml", "minversion =", "minversion  =")
    told = mutated(Row("X", "", "", held, harmless, held))
    assert told == Without(tried=True, said="its tests hold without the defence")


@pytest.fixture
def checkout() -> Iterator[tuple[Path, Path]]:
    with copied() as (folder, python):
        yield folder, python


def test_every_process_of_a_test_comes_from_the_copy(checkout: tuple[Path, Path]) -> None:
    folder, python = checkout
    (folder / "tests" / "test_copy.py").write_text(
        "import subprocess, sys\n"
        "from pathlib import Path\n"
        "import runbook, tests.evidence.program as program\n"
        "from runbook.transports.supervisor import client\n\n"
        "def test_copy(tmp_path):\n"
        f"    copy = Path({str(folder)!r})\n"
        "    assert Path(runbook.__file__).is_relative_to(copy)\n"
        "    assert Path(client.__file__).with_name('boot.py').is_relative_to(copy)\n"
        "    asked = [sys.executable, '-c', 'import runbook; print(runbook.__file__)']\n"
        "    said = subprocess.run(asked, cwd='/', env={}, text=True, capture_output=True, check=True).stdout\n"
        "    assert Path(said).is_relative_to(copy)\n"
        "    assert program.RUNBOOK.is_relative_to(copy)\n"
        "    assert program.RUNBOOK.read_text().startswith(f'#!{sys.executable}')\n"
    )
    (line,) = [line for line in Session(folder, python).lines(["tests/test_copy.py"]) if "test" in line]
    assert line["held"], line["why"]


def test_what_can_not_be_collected_is_told(checkout: tuple[Path, Path]) -> None:
    folder, python = checkout
    (folder / "tests" / "test_broken.py").write_text("import nothing_of_that_name\n")
    told = [line for line in Session(folder, python).lines(["tests/test_broken.py"]) if "broken" in line]
    assert [line["broken"] for line in told] == ["tests/test_broken.py"]
    assert "nothing_of_that_name" in told[0]["why"]
    with pytest.raises(Broken, match="test_absent"):
        list(Session(folder, python).lines(["tests/test_broken.py::test_absent"]))


def test_the_counts_come_from_the_run() -> None:
    row = Row("X", "", "", ("a.py::t", "b.py", "c"))
    found: dict[str, dict[str, Any]] = {
        "a.py::t[1]": {"cases": 5, "held": True},
        "a.py::tt": {"cases": 1, "held": True},
        "b.py::x": {"cases": 1, "held": False, "why": "it is so"},
        "c/d.py::y": {"cases": 2, "held": True},
    }
    tried = counted(row, found)
    assert (tried.cases, tried.held, tried.faults) == (8, 7, ("b.py::x: it is so",))
    assert not tried.well
    assert counted(row, {"a.py::t[1]": found["a.py::t[1]"]}).well
    assert not counted(row, {}).well, "nothing was tried"


def test_a_test_that_two_nodes_name_is_run_once() -> None:
    assert below("a.py::t", "a.py::t")
    assert not below("a.py::tt", "a.py::t")
    assert widest(("a.py::t", "a.py", "b.py::t[1]", "a.py", "b.py::t")) == ("a.py", "b.py::t")
