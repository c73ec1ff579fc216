"""Reach: whether what a template names can be there when it is rendered.

Owns the static checks of names in templates. Promises: every unknown input, system, step, and output of an included plan is
found with its place and the nearest name; outputs of steps that may not have run are refused unless a default stands in.
Outputs of actions are for the checks that know the actions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runbook.errors import Place, Problem, suggest
from runbook.plan.codes import problem
from runbook.plan.compose import Level, Node
from runbook.plan.marks import Path
from runbook.plan.model import Section
from runbook.plan.references import references
from runbook.plan.scope import AT_THE_END, Scope, render
from runbook.plan.system_fields import public_fields
from runbook.plan.template import ROOTS, Reference, TemplateFault, as_template, is_template

_FIELDS = {"run": ("id", "started_at", *AT_THE_END), "environment": ("name", "live")}

_NOTHING = Scope({}, {}, {})
"""For a template that names nothing: what it gives, or why it gives nothing, is known before anything runs."""


class Reach:
    """What the templates of one level may name."""

    def __init__(self, level: Level, problems: list[Problem]) -> None:
        self._level = level
        self._problems = problems

    def check(self, node: Node) -> list[str]:
        """Check all templates of a step; the local ids of the steps whose outputs it reads."""
        shape, path = node.shape, node.path
        read: list[str] = []
        for at, text in texts_of(shape.with_, (*path, "with")):
            read.extend(self._text(text, at, node))
        if shape.when:
            read.extend(self._text(as_template(shape.when), (*path, "when"), node))
            self._sole(shape.when, (*path, "when"))
        if isinstance(shape.foreach, str):
            self._foreach(shape.foreach, node)
        elif shape.foreach is not None:
            self._items(shape.foreach, node)
        return read

    def check_outputs(self) -> None:
        """Check the templates of the plan's own outputs."""
        for at, text in texts_of(self._level.file.shape.outputs, ("outputs",)):
            self._text(text, at, None)

    def _text(self, text: str, path: Path, node: Node | None) -> list[str]:
        try:
            found = references(text)
            if not found:
                render(text, _NOTHING)
        except TemplateFault as fault:
            where = self._level.file.marks.inside(path, fault.fragment or text)
            self._problems.append(problem(fault.code, fault.detail, fix=fault.fix, name=fault.name, where=where))
            return []
        for reference in sorted(found):
            self._reference(reference, path, node)
        nodes = self._level.nodes
        return sorted(
            {ref.name for ref in found if ref.root == "steps" and ref.name in nodes and nodes[ref.name] is not node}
        )

    def _sole(self, text: str, path: Path) -> None:
        if is_template(text) and not (text.startswith("{{") and text.endswith("}}")):
            where = self._level.file.marks.value(path)
            self._problems.append(
                problem("E140", "This has to be one expression.", fix="write {{ expression }}", where=where)
            )

    def _foreach(self, text: str, node: Node) -> None:
        path = (*node.path, "foreach")
        where = self._level.file.marks.value(path)
        if not is_template(text):
            self._problems.append(
                problem("E135", "It is one text.", fix="write a list or {{ inputs.NAME }}", where=where)
            )
            return
        self._sole(text, path)
        self._early(text, path)

    def _early(self, text: str, path: Path) -> None:
        """Check a template that is rendered before the run."""
        where = self._level.file.marks.value(path)
        self._text(text, path, None)
        try:
            early = {ref.root for ref in references(text)} & {"steps", "run", "item"}
        except TemplateFault:
            return
        if early:
            detail = f"The list has to be known before the run; {', '.join(sorted(early))} is known only during it."
            self._problems.append(problem("E135", detail, fix="use an input", where=where))

    def _items(self, items: list[str], node: Node) -> None:
        path = (*node.path, "foreach")
        for number, item in enumerate(items):
            if is_template(item):
                self._early(item, (*path, number))
                continue
            fault = item_fault(item, items[:number])
            if fault:
                where = self._level.file.marks.value((*path, number))
                self._problems.append(problem("E135", fault, where=where))

    def _reference(self, ref: Reference, path: Path, node: Node | None) -> None:
        """Report a reference to what can't be there."""
        shape = self._level.file.shape
        match ref.root:
            case "inputs":
                self._known(ref, path, self._level.file.inputs, declare="inputs")
            case "systems":
                if self._known(ref, path, shape.systems, declare="systems") and ref.name and ref.field:
                    self._field(ref, path, public_fields(shape.systems[ref.name]), "Secrets and hosts aren't in scope.")
            case "run" if ref.name in AT_THE_END and (node is None or node.section is Section.STEPS):
                detail = "How the run ends is known in `finally` and `on_failure_steps` only."
                self._report("E141", ref, path, detail, fix="use it there")
            case "run" | "environment":
                self._known(ref, path, dict.fromkeys(_FIELDS[ref.root]), declare="")
            case "item":
                if node is None or node.shape.foreach is None:
                    self._report(
                        "E141", ref, path, "There is an item only in a step with foreach.", fix="add `foreach:`"
                    )
            case "steps":
                self._step(ref, path, node)
            case _:
                self._unknown_root(ref, path)

    def _known(self, ref: Reference, path: Path, known: Mapping[str, object], *, declare: str) -> bool:
        if not ref.name or ref.name in known:
            return True
        names = list(known)
        near = suggest(ref.name, names)
        listed = f"known: {', '.join(names[:12])}" if names else f"declare it under `{declare}:`"
        self._report("E141", ref, path, "", fix=near or listed)
        return False

    def _field(self, ref: Reference, path: Path, known: tuple[str, ...], why: str) -> None:
        if ref.field not in known:
            fix = suggest(ref.field, known) or f"known: {', '.join(known)}"
            self._report("E141", ref, path, why, fix=fix)

    def _unknown_root(self, ref: Reference, path: Path) -> None:
        level = self._level
        homes = (("inputs", level.file.inputs), ("systems", level.file.shape.systems), ("steps", level.nodes))
        home = next((root for root, names in homes if ref.root in names), None)
        fix = f"did you mean '{home}.{ref.root}'?" if home else suggest(ref.root, ROOTS) or f"known: {', '.join(ROOTS)}"
        self._report("E141", ref, path, "", fix=fix)

    def _step(self, ref: Reference, path: Path, node: Node | None) -> None:
        if not ref.name:
            self._report(
                "E141", ref, path, "Which step is read has to be known before the run.", fix="write steps.ID.OUTPUT"
            )
            return
        target = self._level.nodes.get(ref.name)
        if target is None:
            fix = suggest(ref.name, list(self._level.nodes)) or f"known: {', '.join(list(self._level.nodes)[:12])}"
            self._problems.append(problem("E131", fix=fix, where=self._place(ref, path), name=ref.name))
        elif target is node:
            detail = f"Step '{ref.name}' would wait for itself."
            self._problems.append(problem("E132", detail, fix="name another step", where=self._place(ref, path)))
        elif target.inner is not None and ref.field and ref.field not in target.inner.file.shape.outputs:
            outputs = tuple(target.inner.file.shape.outputs)
            self._field(ref, path, outputs, f"{target.inner.file.name} has no such output.")
        elif target.shape.foreach is not None and ref.field:
            detail = f"'steps.{ref.name}' is a list, one entry for each item."
            self._report("E141", ref, path, detail, fix=f"write steps.{ref.name}[0].{ref.field}")
        elif (why := _may_not_have_run(ref, target, node)) is not None:
            self._problems.append(problem("E147", why[0], fix=why[1], where=self._place(ref, path)))

    def _report(self, code: str, ref: Reference, path: Path, detail: str, *, fix: str) -> None:
        parts = [part for part in (ref.root, ref.name, ref.field) if part]
        self._problems.append(problem(code, detail, fix=fix, where=self._place(ref, path), name=".".join(parts)))

    def _place(self, ref: Reference, path: Path) -> Place:
        return self._level.file.marks.inside(path, ".".join(part for part in (ref.root, ref.name) if part))


def _may_not_have_run(ref: Reference, target: Node, node: Node | None) -> tuple[str, str] | None:
    """Why the output may be missing when it is read, and what to do about it."""
    remedy = f"add a default: steps.{ref.name}.{ref.field or 'OUTPUT'} | default(...)"
    section = node.section if node is not None else Section.STEPS
    if section is not target.section:
        if section is Section.FINALLY:
            return "`finally` runs also when no step did: it uses no outputs of other sections.", "use an input"
        if section is Section.STEPS:
            return f"'{ref.name}' runs after all steps.", "name a step of `steps`"
        return None if ref.guarded else (f"'{ref.name}' may have failed or not begun.", remedy)
    if ref.guarded or not target.guarded:
        return None
    if target.shape.on_failure == "continue":
        return f"'{ref.name}' may fail without stopping the run, and has no outputs then.", remedy
    if node is not None and as_template(node.shape.when) == as_template(target.shape.when):
        return None
    return f"'{ref.name}' may be skipped by its `when`.", f"{remedy}, or share its `when`"


def item_fault(item: str, earlier: list[str]) -> str:
    """What is wrong with an item of a foreach, or nothing."""
    if not item or len(item) > 200 or not item.isprintable():
        return "An item is a text of 1 to 200 printable characters."
    return "Each item may stand in it once: items name the steps." if item in earlier else ""


def texts_of(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    """Every template in a value, with its path."""
    match value:
        case str():
            if is_template(value):
                yield path, value
        case list():
            for number, item in enumerate(value):
                yield from texts_of(item, (*path, number))
        case dict():
            for key, item in value.items():
                yield from texts_of(item, (*path, key))
