"""The house's style, held as a test: sizes, names, docstrings, and nothing left half done.

Each rule says what to do instead. The few places that may break one are listed here, each with its reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "runbook").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))
EVERYTHING = [*SOURCES, *TESTS, *BENCHMARKS]

LONGEST_FUNCTION = 70
LONGEST_FILE = 400

BANNED_NAMES = {
    "utils": "the noun that the functions are about (quoting, units, graph)",
    "util": "the noun that the functions are about (quoting, units, graph)",
    "helpers": "the noun that they help with",
    "helper": "the noun that it helps with",
    "manager": "what it does to what (Journal, Fence, Ledger)",
    "common": "the thing that is shared (host, operation)",
    "misc": "one file for each noun in it",
}

UNTYPED_ALLOWED = {
    "runbook/plan": "text becomes a typed plan here",
}

CATCH_ALL_ALLOWED = {
    "runbook/runner": "the one place that turns an unexpected failure into an event",
    "runbook/walstore/daemon.py": "the last frame of a process of its own: nobody above could show what it was",
    "runbook/cli/main.py": "the last line before the terminal: a fault of ours is said to be one",
}

UNFINISHED = "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error"))


def name(path: Path) -> str:
    """The path as a person reads it in a failure."""
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    """The file, parsed."""
    return ast.parse(path.read_text(), str(path))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a file, nested ones too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def named(path: Path) -> dict[str, list[str]]:
    """The names that a file gives (its folders', its own, its classes'), each with its words in lower case."""
    words = {path.stem: path.stem.lower().split("_")} | {part: [part] for part in path.relative_to(ROOT).parts[:-1]}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ClassDef):
            words[node.name] = [word.lower() for word in re.findall(r"[A-Z][a-z]*|[a-z]+", node.name)]
    return words


def lines_matching(path: Path, pattern: str) -> list[str]:
    """`file:line: text` of each line that the pattern is found in."""
    found = re.compile(pattern)
    numbered = enumerate(path.read_text().splitlines(), 1)
    return [f"{name(path)}:{number}: {line.strip()}" for number, line in numbered if found.search(line)]


def allowed(path: Path, places: dict[str, str]) -> bool:
    """Whether the file is, or lies below, one of the listed places."""
    return any(name(path) == place or name(path).startswith(f"{place}/") for place in places)


def offenders(paths: list[Path], pattern: str, places: dict[str, str] | None = None) -> list[str]:
    """Every line of the files that the pattern is found in, but for the listed places."""
    return [line for path in paths if not allowed(path, places or {}) for line in lines_matching(path, pattern)]


def test_there_is_something_to_look_at() -> None:
    assert len(SOURCES) > 20
    assert len(TESTS) > 5


def test_a_file_holds_one_noun() -> None:
    sizes = {name(path): len(path.read_text().splitlines()) for path in EVERYTHING}
    long = {path: size for path, size in sizes.items() if size > LONGEST_FILE}
    assert long == {}, f"split each by noun (at most {LONGEST_FILE} lines)"


def test_a_function_fits_on_a_screen() -> None:
    long = {
        f"{name(path)}:{function.lineno} {function.name}": size
        for path in EVERYTHING
        for function in functions(path)
        if (size := (function.end_lineno or 0) - function.lineno + 1) > LONGEST_FUNCTION
    }
    assert long == {}, f"branch in the parent, compute in the leaves (at most {LONGEST_FUNCTION} lines)"


def test_a_name_says_what_a_thing_is() -> None:
    bad = {
        f"{name(path)}: {whole}": f"say instead: {BANNED_NAMES[word]}"
        for path in EVERYTHING
        for whole, words in named(path).items()
        for word in words
        if word in BANNED_NAMES
    }
    assert bad == {}


def test_a_module_says_what_it_owns() -> None:
    written = [path for path in EVERYTHING if path.name != "__init__.py" or path.read_text().strip()]
    assert [name(path) for path in written if not ast.get_docstring(tree(path))] == [], "what it owns, what it promises"


def test_public_names_are_described() -> None:
    bare = [
        f"{name(path)}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in tree(path).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert bare == [], "shapes, units, errors; what a caller may rely on"


def test_nothing_is_left_half_done() -> None:
    assert offenders(EVERYTHING, rf"\b({UNFINISHED})\b") == []


def test_a_silenced_check_says_which() -> None:
    assert offenders(EVERYTHING, r"#\s*(noqa|type:\s*ignore)\s*($|[^:\[\s])") == []


def test_data_past_the_loader_has_a_type() -> None:
    found = offenders(SOURCES, r"\b([Dd]ict|Mapping)\[str, Any\]", UNTYPED_ALLOWED)
    assert found == [], "a frozen dataclass, or `Json`"


def test_expected_failures_are_caught_by_name() -> None:
    found = offenders(SOURCES, r"except( \(?(Base)?Exception\b|:)", CATCH_ALL_ALLOWED)
    assert found == [], "catch what can happen, by its name"
