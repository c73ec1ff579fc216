"""Every problem that runbook raises says what to do next, and names only commands of runbook that there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from runbook.cli.main import cli

ROOT = Path(__file__).resolve().parents[1] / "runbook"
FILES = sorted(path for path in ROOT.rglob("*.py"))
NAMED = re.compile(r"\brunbook ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")
"""A command as it stands in a remedy."""
QUOTED = re.compile(r"(?:^|[`→:;] ?|, then |and )runbook ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")
"""A command as it stands anywhere else: prose names the program as well."""

PROSE = frozenset({"is", "in", "was", "runs as", "refuses", "reads", "doesn"})
"""What follows the program's name where a sentence begins with it."""


def problems(tree: ast.AST) -> Iterator[ast.Call]:
    """The calls that make a problem; among transports, also those that raise one by its parts."""
    for node in ast.walk(tree):
        made = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
        in_parts = made in ("trouble", "unreachable") and isinstance(node, ast.Call) and len(node.args) > 2
        if isinstance(node, ast.Call) and (made == "Problem" or in_parts):
            yield node


def remedy(call: ast.Call) -> ast.expr | None:
    """What the call gives as its remedy."""
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    return call.args[3] if len(call.args) > 3 else named.get("fix")


def texts(node: ast.AST) -> Iterator[str]:
    """The texts in an expression; what a formatted one is filled with is one letter."""
    match node:
        case ast.Constant(str(text)):
            yield text
        case ast.JoinedStr(parts):
            yield "".join(part.value if isinstance(part, ast.Constant) else "X" for part in parts)  # type: ignore[misc]
        case _:
            for child in ast.iter_child_nodes(node):
                yield from texts(child)


def prose(tree: ast.AST) -> set[int]:
    """The docstrings, and texts that stand alone, by identity."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def speech(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every text of a file but its docstrings, with its line."""
    silent = prose(tree)

    def walk(node: ast.AST) -> Iterator[tuple[int, str]]:
        if id(node) in silent:
            return
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            yield from ((node.lineno, text) for text in texts(node))
            return
        for child in ast.iter_child_nodes(node):
            yield from walk(child)

    yield from walk(tree)


@cache
def commands() -> dict[str, frozenset[str]]:
    """The commands, each with its own below it."""
    context = click.Context(cli)
    found = {}
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        below = command.list_commands(context) if isinstance(command, click.Group) else ()
        found[name] = frozenset(below)
    return found


def unknown(found: Iterator[re.Match[str]]) -> list[str]:
    """The commands among what was found that there are none of."""
    missing = []
    for one in found:
        name, below = one[1], one[2]
        if {name, f"{name} {below}"} & PROSE:
            continue
        if name not in commands():
            missing.append(f"runbook {name}")
        elif commands()[name] and below is not None and below not in commands()[name]:
            missing.append(f"runbook {name} {below}")
    return missing


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_problem_has_a_remedy_of_commands_that_exist(path: Path) -> None:
    tree = ast.parse(path.read_text())
    faults = []
    for call in problems(tree):
        fix = remedy(call)
        if fix is None or (isinstance(fix, ast.Constant) and not fix.value):
            faults.append(f"{path.name}:{call.lineno}: {ast.unparse(call.args[0])} says nothing of what to do")
            continue
        for text in texts(fix):
            faults += [f"{path.name}:{call.lineno}: there is no `{one}`" for one in unknown(NAMED.finditer(text))]
    for line, text in speech(tree):
        faults += [f"{path.name}:{line}: there is no `{one}`" for one in unknown(QUOTED.finditer(text))]
    assert not faults, "\n".join(faults)


def test_the_sweep_finds_what_it_looks_for() -> None:
    made = ast.parse(
        'Problem("E1", "s", "d", f"`runbook resum {run}`"); Problem("E2", "s", "d"); Problem("E3", "s", fix="")'
    )
    first, second, third = problems(made)
    fix = remedy(first)
    assert fix is not None
    assert [unknown(NAMED.finditer(text)) for text in texts(fix)] == [["runbook resum"]]
    assert remedy(second) is None
    assert isinstance(found := remedy(third), ast.Constant) and found.value == ""
    assert unknown(QUOTED.finditer("no stop here; runbook sandbox upp")) == ["runbook sandbox upp"]
    assert unknown(NAMED.finditer("runbook show RUN; runbook runs prune; runbook sandbox up")) == []
