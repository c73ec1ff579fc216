"""Values on their way into a command: what a shell would read as more than a value, and a program as an option.

Owns the two lints of templates in command lines (an unquoted value in a script, a value at the beginning of an argument).
Promises: what can't do harm is let through: numbers, durations, an input's closed choices, the environment's own names, and
whatever goes through the ``sh`` filter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from runbook.check import places
from runbook.check.codes import fault
from runbook.errors import Problem
from runbook.operation import Json
from runbook.plan.model import InputSpec, Plan, Step
from runbook.plan.template import is_template, simple

if TYPE_CHECKING:
    from jinja2 import nodes

SCRIPT = "script"
"""The field of ``shell.run`` that a shell reads."""
_ARGV = ("argv", "probe")
_SHELLS = frozenset(("sh", "bash", "dash", "ash", "ksh", "zsh"))
_OURS = frozenset(("run", "systems", "environment"))
_PLAIN = frozenset(("integer", "number", "boolean", "duration", "size", "datetime"))
_UNSIGNED = frozenset(("boolean", "duration", "size", "datetime", "path"))
_PIECE = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_OPTIONLESS = re.compile(
    r"""\^? (?: \[ (?: [A-Za-z]-[A-Za-z] | [0-9]-[0-9] | [A-Za-z0-9_/.:@,] | \\[wd] )+ \] | [A-Za-z0-9_/:@,] | \\[wd] )
        (?: \+ | \{[1-9][0-9]*(?:,[0-9]*)?\} )? (?! [*?+{] )
        (?: \\. | \[[^\[\]\\]*\] | [^|()\[\]\\] | \( (?: \\. | \[[^\[\]\\]*\] | [^()\[\]\\] )* \) )*""",
    re.VERBOSE | re.DOTALL,
)
"""Patterns that fit no text with a hyphen at its beginning: their first piece is there, is none, and has no alternative."""


def word_faults(plan: Plan, step: Step) -> Iterator[Problem]:
    """What is dangerous in the step's command lines: fields ``script``, ``argv`` and ``probe``."""
    script = step.with_.get(SCRIPT)
    if isinstance(script, str):
        yield from _unquoted(plan, step, script, ("with", SCRIPT))
    for field in _ARGV:
        argv = step.with_.get(field)
        if isinstance(argv, list):
            yield from _arguments(plan, step, field, argv)


def _arguments(plan: Plan, step: Step, field: str, argv: list[Json]) -> Iterator[Problem]:
    scripts = _scripts(argv)
    options = True
    for number, word in enumerate(argv):
        if word == "--":
            options = False
        if not isinstance(word, str) or not is_template(word):
            continue
        path = ("with", field, number)
        if number in scripts:
            yield from _unquoted(plan, step, word, path)
        elif number and options and word.startswith("{{") and not _no_option(plan, step, word):
            first = _PIECE.match(word)
            detail = "If the value begins with '-', the program takes it for an option."
            fix = 'put "--" before it, or give the input a `pattern` or `choices`'
            yield fault("E223", detail, fix=fix, where=places.inside(step, path, first[0] if first else word))


def _scripts(argv: list[Json]) -> frozenset[int]:
    """The positions of arguments that a shell reads as a script: ``sh -c SCRIPT``."""
    words = [word if isinstance(word, str) else "" for word in argv]
    found: set[int] = set()
    for number, word in enumerate(words):
        if word.rsplit("/", 1)[-1] in _SHELLS:
            options = [at for at in range(number + 1, len(words) - 1) if re.fullmatch(r"-[a-z]*c", words[at])]
            found.update(at + 1 for at in options[:1])
    return frozenset(found)


def _unquoted(plan: Plan, step: Step, text: str, path: tuple[str | int, ...]) -> Iterator[Problem]:
    for piece in dict.fromkeys(_PIECE.findall(text)):
        if _quoted(plan, step, piece):
            continue
        written = piece[2:-2].strip(" -+")
        detail = "A shell reads the value as a part of the script: `; rm -rf /` in it would be run."
        whole = written if re.fullmatch(r"[\w.]+", written) else f"({written})"
        fix = f"write {{{{ {whole} | sh }}}}, or use argv"
        yield fault("E222", detail, fix=fix, where=places.inside(step, path, piece))


def _quoted(plan: Plan, step: Step, piece: str) -> bool:
    """Whether the value of a ``{{ expression }}`` is quoted, or harmless as it is."""
    template = simple(piece)
    if template is not None:
        return all(isinstance(part, str) or _harmless(plan, step, part, _PLAIN) for part in template.parts)
    from jinja2 import Environment, TemplateError, nodes

    try:
        tree = Environment(autoescape=False).parse(piece)  # noqa: S701 - parsed only, never rendered
    except TemplateError:
        return True  # the loader has reported it
    return all(_safe(plan, step, node) for output in tree.find_all(nodes.Output) for node in output.nodes)


def _safe(plan: Plan, step: Step, node: nodes.Node) -> bool:
    from jinja2 import nodes

    match node:
        case nodes.TemplateData() | nodes.Const() | nodes.Filter(name="sh"):
            return True
        case nodes.CondExpr():
            branches = (node.expr1, node.expr2)
            return all(branch is None or _safe(plan, step, branch) for branch in branches)
        case nodes.Concat():
            return all(_safe(plan, step, part) for part in node.nodes)
    path = tuple(_written(node).split("."))
    return path[0] != "" and _harmless(plan, step, path, _PLAIN)


def _written(node: nodes.Node) -> str:
    """A dotted name as it is written; empty for anything else."""
    from jinja2 import nodes

    parts: list[str] = []
    while isinstance(node, nodes.Getattr):
        parts.append(node.attr)
        node = node.node
    return ".".join((node.name, *parts[::-1])) if isinstance(node, nodes.Name) else ""


def _harmless(plan: Plan, step: Step, path: tuple[str, ...], types: frozenset[str]) -> bool:
    """Whether the value of a dotted name can only be what is harmless: it is ours, of such a type, or one of a few."""
    if path[0] in _OURS:
        return True
    spec = _input(plan, step, path)
    if spec is None:
        return False
    kind = spec.of if spec.type == "list" else spec.type
    return kind in types or (bool(spec.choices) and all(_tame(str(choice)) for choice in spec.choices))


def _no_option(plan: Plan, step: Step, text: str) -> bool:
    """Whether the value that a word begins with can't begin with a hyphen."""
    first = _PIECE.match(text)
    template = simple(first[0]) if first else None
    path = template.parts[0] if template else None
    if not isinstance(path, tuple):
        return False
    if path == ("item",):
        return isinstance(step.foreach, list) and not any(str(item).startswith("-") for item in step.foreach)
    if _harmless(plan, step, path, _UNSIGNED):
        return True
    spec = _input(plan, step, path)
    return spec is not None and bool(spec.pattern) and _OPTIONLESS.fullmatch(spec.pattern) is not None


def _input(plan: Plan, step: Step, path: tuple[str, ...]) -> InputSpec | None:
    return plan.frames[step.frame].inputs.get(path[1]) if path[0] == "inputs" and len(path) == 2 else None


def _tame(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_./:@%+=,][A-Za-z0-9_./:@%+=,-]*", text) is not None
