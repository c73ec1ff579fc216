"""docs/reliability.md names, for each promise, the test that shows it: that test exists, and is one that runs."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
ROW = re.compile(r"^\| (?!---|promise|limit|what happens|command|`|Root |series|seeds)(.+) \|$", re.MULTILINE)


@pytest.mark.parametrize(("file", "test"), NAMED, ids=lambda part: str(part))
def test_each_named_test_exists(file: str, test: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_row_of_the_tables_names_a_test() -> None:
    promises = PAGE.partition("## The simulator")[0]
    assert [row[:60] for row in ROW.findall(promises) if "::test_" not in row] == []
    assert len(ROW.findall(promises)) > 20


def test_each_named_command_can_be_run() -> None:
    modules = re.findall(r"python -m ([\w.]+)", PAGE)
    assert "tests.simulation" in modules
    assert [module for module in modules if find_spec(module) is None] == []


def test_the_number_of_mutations_is_the_one_that_is_told() -> None:
    from tests.simulation.mutations import MUTATIONS

    assert f"{len(MUTATIONS)} in all" in PAGE
