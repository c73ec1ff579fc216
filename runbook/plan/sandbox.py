"""The sandbox: Jinja2 for templates that are more than dotted names, with its work bounded.

Owns the closed list of what a template may contain, the filters, and the limits. Loaded late, as Jinja2 is heavy.
Promises: no attribute of a Python object is ever read and nothing is called; no value larger than the limit is made, not
even on the way; loops are counted; constants are folded under the same limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NoReturn

from jinja2 import (
    StrictUndefined,
    Template,
    TemplateError,
    TemplateSyntaxError,
    Undefined,
    UndefinedError,
    nodes,
    pass_context,
)
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from runbook.errors import suggest
from runbook.plan.filters import FILTERS, TESTS, bounded_operation
from runbook.plan.template import (
    LARGEST_OUTPUT,
    LONGEST_TEMPLATE,
    Absent,
    Reference,
    TemplateFault,
    look_up,
    missing,
    refer,
    show,
    too_large,
    upper,
)

MOST_ROUNDS = 10_000
"""Rounds of all loops of one rendering."""
MOST_WORK = 32 * 1024 * 1024
"""Characters and items that the operators and filters of one rendering may be given and make, all together."""
DEEPEST_EXPRESSION = 100
_TROUBLE = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError, MemoryError)

_ALLOWED: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Tuple, nodes.List, nodes.Dict,
    nodes.Pair, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Filter, nodes.Test, nodes.CondExpr, nodes.BinExpr,
    nodes.UnaryExpr, nodes.Compare, nodes.Operand, nodes.Concat, nodes.Keyword, nodes.If, nodes.For,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Compiled:
    """A template ready to be rendered. ``native``: it is one expression, so its value keeps its type."""

    template: Template
    native: bool
    references: frozenset[Reference]


class _Sandbox(ImmutableSandboxedEnvironment):
    """Reads mappings only; every operator is bounded; nothing can be called."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def getattr(self, obj: object, attribute: str) -> Any:
        """The field of a mapping."""
        return self._field(obj, attribute)

    def getitem(self, obj: object, argument: object) -> Any:
        """The field of a mapping, or the items of a list or text."""
        if isinstance(argument, str):
            return self._field(obj, argument)
        if isinstance(obj, list | tuple | str) and isinstance(argument, int | slice):
            try:
                return obj[argument]
            except IndexError:
                return self._undefined(Absent(f"it has no item {argument}"))
        if isinstance(obj, Undefined):
            return obj
        raise TemplateFault("E144", "Only lists and texts have numbered items.")

    def call(self, context: Context, obj: object, *args: object, **kwargs: object) -> NoReturn:
        """Nothing can be called."""
        raise TemplateFault("E142", "A template calls nothing.", fix="use a filter")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """The operator, unless its result would be too large."""
        for operand in (left, right):
            if isinstance(operand, Undefined):
                str(operand)
        _charge(context, (left, right))
        result = bounded_operation(operator, left, right)
        _charge(context, (result,))
        return result

    def _field(self, obj: object, name: str) -> object:
        if isinstance(obj, Undefined):
            return obj
        if name.startswith("_"):
            raise _unsafe(name)
        found = look_up(obj, name)
        return self._undefined(found) if isinstance(found, Absent) else found

    def _undefined(self, absent: Absent) -> Undefined:
        return self.undefined(hint=absent.reason, exc=partial(_Undefined, absent=absent))  # type: ignore[arg-type]


class _Undefined(UndefinedError):
    """Something absent was used."""

    def __init__(self, message: str | None = None, *, absent: Absent) -> None:
        super().__init__(message)
        self.absent = absent


@dataclass(slots=True)
class _Meter:
    """What one rendering may still do."""

    rounds: int = MOST_ROUNDS
    work: int = MOST_WORK


def _charge(context: Context, values: Iterable[object]) -> None:
    """Count what an operator or a filter is given, and what it makes."""
    meter: _Meter = context.parent["_meter"]
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        meter.work -= len(value) + 1 if isinstance(value, str | list | tuple | dict) else 1
        if meter.work < 0:
            raise TemplateFault("E143", "It takes too much work.", fix="make it simpler")
        if isinstance(value, list | tuple):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())


def _metered(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, its arguments and its result counted."""

    @pass_context
    def run(context: Context, *values: object, **named: object) -> object:
        _charge(context, values)
        result = function(*values, **named)
        _charge(context, (result,))
        return result

    return run


def _part(value: object, start: object, stop: object, step: object) -> object:
    """The part ``[start:stop:step]`` of a list or text."""
    return value if isinstance(value, Undefined) else _SANDBOX.getitem(value, slice(start, stop, step))


@pass_context
def _each(context: Context, value: object) -> Iterator[object]:
    """The items of a list, counted against the rendering's rounds."""
    meter: _Meter = context.parent["_meter"]
    if isinstance(value, Undefined):
        str(value)
    if not isinstance(value, list | tuple):
        raise TemplateFault("E144", "A loop needs a list.")
    for item in value:
        meter.rounds -= 1
        if meter.rounds < 0:
            raise TemplateFault("E143", f"Its loops take more than {MOST_ROUNDS:,} rounds.")
        yield item


def _together(values: list[object]) -> str:
    texts = [show(value) for value in values]
    if sum(map(len, texts)) > LARGEST_OUTPUT:
        raise too_large()
    return "".join(texts)


def _environment() -> _Sandbox:
    sandbox = _Sandbox(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, finalize=show)
    sandbox.globals.clear()
    sandbox.filters = {name: _metered(function) for name, function in FILTERS.items()}
    sandbox.filters |= {"_each": _each, "_together": _metered(_together), "_part": _metered(_part)}
    sandbox.tests = dict(TESTS)
    return sandbox


_SANDBOX = _environment()


@lru_cache(maxsize=4_096)
def compiled(text: str) -> Compiled:
    """The template, checked; :class:`TemplateFault` where it isn't one or isn't safe."""
    if len(text) > LONGEST_TEMPLATE:
        raise TemplateFault("E143", f"It has more than {LONGEST_TEMPLATE:,} characters.")
    try:
        tree = _SANDBOX.parse(text)
        _refuse(tree)
        found = frozenset(_references(tree))
        native = _sole_expression(tree, text)
        body = tree
        if native is not None:
            body = nodes.Template([nodes.Assign(nodes.Name("result", "store"), native, lineno=1)], lineno=1)
        _bound(body)
        body.set_environment(_SANDBOX)
        code = _SANDBOX.compile(body)
        return Compiled(Template.from_code(_SANDBOX, code, {}), native is not None, found)
    except TemplateSyntaxError as fault:
        raise TemplateFault("E140", f"{upper(fault.message or '')}.", fragment=_line(text, fault.lineno)) from None
    except (RecursionError, MemoryError):
        raise TemplateFault("E143", "It is nested too deep.") from None


def render_compiled(template: Compiled, context: Mapping[str, object]) -> object:
    """The template's value in ``context``: any value if it is native, else text."""
    inner = template.template.new_context({**context, "_meter": _Meter()})
    try:
        if template.native:
            for _ in template.template.root_render_func(inner):
                pass
            value = inner.vars["result"]
            if isinstance(value, Undefined):
                str(value)
            return value
        return _joined(template.template.root_render_func(inner))
    except _Undefined as fault:
        raise missing(fault.absent) from None
    except TemplateError as fault:
        raise TemplateFault("E144", f"{fault.message}.") from None
    except _TROUBLE as fault:
        detail = "A value has the wrong type for what is done with it." if isinstance(fault, TypeError) else ""
        raise TemplateFault("E144", detail or f"The expression fails: {type(fault).__name__}.") from None


def _joined(chunks: Iterator[str]) -> str:
    parts: list[str] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > LARGEST_OUTPUT:
            raise too_large()
        parts.append(chunk)
    return "".join(parts)


def _sole_expression(tree: nodes.Template, text: str) -> nodes.Expr | None:
    """The expression, where the text is ``{{ expression }}`` and nothing else."""
    match tree.body:
        case [nodes.Output(nodes=[nodes.Expr() as expression])] if not isinstance(expression, nodes.TemplateData):
            return expression if text.startswith("{{") and text.endswith("}}") else None
    return None


def _refuse(tree: nodes.Template) -> None:
    """Refuse everything that isn't on the closed list."""
    waiting: list[tuple[nodes.Node, int]] = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > DEEPEST_EXPRESSION:
            raise TemplateFault("E143", "It is nested too deep.")
        if isinstance(node, nodes.Call):
            raise TemplateFault(
                "E142", "A template calls nothing.", fix=f"use a filter: {_known(FILTERS)}", fragment="("
            )
        if not isinstance(node, _ALLOWED) or (isinstance(node, nodes.For) and node.recursive):
            raise TemplateFault("E142", "Only expressions, if and for may stand in a template.")
        _refuse_name(node)
        waiting.extend((child, depth + 1) for child in node.iter_child_nodes())


def _refuse_name(node: nodes.Node) -> None:
    match node:
        case nodes.Name(name=name) | nodes.Getattr(attr=name) | nodes.Getitem(arg=nodes.Const(value=str(name))):
            if name.startswith("_"):
                raise _unsafe(name)
        case nodes.Filter(name=name):
            _must_know("filter", name, FILTERS)
        case nodes.Test(name=name):
            _must_know("test", name, TESTS)


def _must_know(what: str, name: str, known: Mapping[str, Callable[..., Any]]) -> None:
    if name not in known:
        fix = suggest(name, list(known)) or f"known: {_known(known)}"
        raise TemplateFault("E141", f"There is no {what} '{name}'.", fix=fix, name=name, fragment=name)


def _known(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names))


def _unsafe(name: str) -> TemplateFault:
    return TemplateFault(
        "E142", f"'{name}' is an unsafe attribute.", fix="names that begin with _ can't be read", fragment=name
    )


def _references(tree: nodes.Template) -> Iterator[Reference]:
    local = {name.name for loop in tree.find_all(nodes.For) for name in loop.target.find_all(nodes.Name)}
    local |= {loop.target.name for loop in tree.find_all(nodes.For) if isinstance(loop.target, nodes.Name)}
    yield from (found for found in _read(tree, guarded=False) if found.root not in local)


def _read(node: nodes.Node, *, guarded: bool) -> Iterator[Reference]:
    path: list[str] = []
    base: nodes.Node = node
    while True:
        match base:
            case nodes.Getattr(node=inner, attr=name) | nodes.Getitem(node=inner, arg=nodes.Const(value=str(name))):
                path.append(name)
            case nodes.Getitem(node=inner, arg=argument):
                path.clear()
                yield from _read(argument, guarded=False)
            case _:
                break
        base = inner
    if isinstance(base, nodes.Name):
        if base.ctx == "load":
            yield refer((base.name, *path[::-1]), guarded=guarded)
        return
    if base is not node:
        yield from _read(base, guarded=guarded)
        return
    asks = (isinstance(node, nodes.Filter) and node.name in ("default", "d")) or (
        isinstance(node, nodes.Test) and node.name in ("defined", "undefined")
    )
    for child in node.iter_child_nodes():
        yield from _read(child, guarded=asks and child is getattr(node, "node", None))


def _bound(tree: nodes.Node) -> None:
    """Count the rounds of loops, and join and cut under the limits."""
    for loop in tree.find_all(nodes.For):
        loop.iter = nodes.Filter(loop.iter, "_each", [], [], None, None, lineno=loop.lineno)
    for parent in reversed([tree, *tree.find_all(nodes.Node)]):  # what is replaced takes its children along
        for field, value in parent.iter_fields():
            if isinstance(value, list):
                value[:] = [_counted(item) for item in value]
            elif isinstance(value, nodes.Node):
                setattr(parent, field, _counted(value))


def _counted(node: Any) -> Any:
    """The filter that does the same, counted, for what would join or cut texts and lists; the node itself, where it doesn't."""
    match node:
        case nodes.Concat(nodes=parts):
            listed = nodes.List(parts, lineno=node.lineno)
            return nodes.Filter(listed, "_together", [], [], None, None, lineno=node.lineno)
        case nodes.Getitem(node=whole, arg=nodes.Slice(start=start, stop=stop, step=step)):
            ends: list[nodes.Expr] = [end or nodes.Const(None) for end in (start, stop, step)]
            return nodes.Filter(whole, "_part", ends, [], None, None, lineno=node.lineno)
    return node


def _line(text: str, number: int) -> str:
    """The first template sign and what follows it on that line of the text, to find it by."""
    lines = text.splitlines() or [""]
    line = lines[min(number, len(lines)) - 1]
    starts = [at for at in (line.find("{{"), line.find("{%"), line.find("{#")) if at >= 0]
    return line[min(starts) :].rstrip() if starts else line.strip()
