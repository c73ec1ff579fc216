"""Steps: the written ones of all levels, as the model's, with their predecessors.

Owns the meaning of ``needs`` (the step above, templates, holds), of ``releases`` and of a step's defaults. Promises: every
id in ``needs`` exists and stands in the same section; an included plan's first steps wait for what the including step waits
for, and its successors wait for its last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from runbook.errors import Place, Problem, suggest
from runbook.plan.codes import problem
from runbook.plan.compose import Level, Node
from runbook.plan.file import marks_below
from runbook.plan.model import Backoff, OnFailure, Phase, Retry, Section, Step
from runbook.plan.names import IDENTIFIER
from runbook.plan.reach import Reach
from runbook.plan.shape import RetryShape, StepShape
from runbook.plan.template import is_template
from runbook.units import parse_duration


class StepBuilder:
    """Builds the steps of a level and of those below it."""

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems
        self._released: dict[str, Place] = {}

    def build(self, level: Level) -> dict[Section, list[Step]]:
        """The level's steps by section, in the order in which they are written, included ones in their place."""
        for node in level.nodes.values():
            if node.inner is not None:
                node.inner_steps = self.build(node.inner)
                node.ends = _sinks(node.inner_steps[Section.STEPS])
        reach = Reach(level, self._problems)
        built: dict[Section, list[Step]] = {section: [] for section in Section}
        for section, nodes in level.order.items():
            above: Node | None = None
            for node in nodes:
                needs = self._needs(level, node, above, reach)
                above = node
                if node.inner is not None:
                    self._adopt(built, node, needs)
                elif not node.shape.includes:
                    built[section].append(self._step(level, node, needs))
        reach.check_outputs()
        return built

    def _adopt(self, built: dict[Section, list[Step]], node: Node, needs: tuple[str, ...]) -> None:
        """Put an included plan's steps into the including plan's sections."""
        for section, steps in node.inner_steps.items():
            target = node.section if section is Section.STEPS else section
            own = {step.id for step in steps}
            for step in steps:
                entry = section is Section.STEPS and not own.intersection(step.needs)
                met = tuple(dict.fromkeys((*step.needs, *needs))) if entry else step.needs
                built[target].append(replace(step, section=target, needs=met))

    def _needs(self, level: Level, node: Node, above: Node | None, reach: Reach) -> tuple[str, ...]:
        """The ids that a step waits for: those that it names (or the step above), and those whose outputs it reads."""
        shape, marks = node.shape, level.file.marks
        found: list[str] = []
        if shape.needs is None:
            found.extend(above.ends if above else ())
        else:
            for number, name in enumerate(shape.needs):
                found.extend(self._named(level, node, name, marks.value((*node.path, "needs", number))))
        for name in reach.check(node):
            target = level.nodes[name]
            if target.section is node.section:
                found.extend(target.ends)
        if shape.releases:
            found.extend(self._hold(level, node))
        return tuple(dict.fromkeys(found))

    def _named(self, level: Level, node: Node, name: str, where: Place) -> tuple[str, ...]:
        target = level.nodes.get(name)
        section = target.section if target else None
        ends = target.ends if target else ()
        if target is None and "." in name:
            inner = _inner_step(level, name)
            section, ends = (inner.section, (inner.id,)) if inner else (None, ())
        if section is None:
            self._unknown(level, name, where)
            return ()
        if section is not node.section:
            detail = f"'{name}' is in {section}, this step in {node.section}; sections run one after the other."
            self._problems.append(problem("E133", detail, where=where, name=name))
            return ()
        return ends

    def _unknown(self, level: Level, name: str, where: Place) -> None:
        fix = suggest(name, list(level.nodes)) or f"known: {', '.join(list(level.nodes)[:12])}"
        self._problems.append(problem("E131", fix=fix, where=where, name=name))

    def _hold(self, level: Level, node: Node) -> tuple[str, ...]:
        name = node.shape.releases
        where = level.file.marks.value((*node.path, "releases"))
        target = level.nodes.get(name)
        inner = _inner_step(level, name) if target is None else None
        if target is None and inner is None:
            self._unknown(level, name, where)
            return ()
        if target is not None and (target.shape.includes or target.shape.foreach is not None or target is node):
            detail = "A hold is one step: not an included plan, not a foreach, not the step that releases it."
            self._problems.append(problem("E134", detail, where=where, name=name))
            return ()
        if node.shape.foreach is not None:
            detail = "A foreach would release it more than once."
            self._problems.append(problem("E134", detail, where=where, name=name))
        first = self._released.setdefault(level.prefix + name, where)
        if first is not where:
            detail = f"'{name}' is released at {first.file}:{first.line} already; a hold ends at one step."
            fix = "let one step release it; in `finally` it is released however the run ends"
            self._problems.append(problem("E134", detail, fix=fix, where=where, name=name))
        section = target.section if target else inner.section if inner else None
        return (level.prefix + name,) if section is node.section else ()

    def _step(self, level: Level, node: Node, needs: tuple[str, ...]) -> Step:
        shape, path, marks = node.shape, node.path, level.file.marks
        for key in ("title", "confirm"):
            if is_template(getattr(shape, key)):
                detail = "Templates are rendered in with, when, foreach and outputs."
                where = marks.value((*path, key))
                self._problems.append(problem("E146", detail, fix="write the text out", where=where, name=key))
        return Step(
            id=level.prefix + shape.id,
            title=shape.title or shape.id,
            uses=shape.uses,
            frame=level.prefix,
            section=node.section,
            description=shape.description,
            on=self._on(level, node),
            with_=shape.with_,  # type: ignore[arg-type]
            needs=needs,
            when=shape.when,
            timeout_s=parse_duration(shape.timeout) if shape.timeout else None,
            retry=_retry(shape.retry),
            confirm=shape.confirm,
            releases=level.prefix + shape.releases if shape.releases else "",
            on_failure=OnFailure(shape.on_failure),
            phase=Phase(shape.phase) if shape.phase else level.phase,
            group=level.prefix + shape.id if shape.foreach is not None else "",
            where=marks.value((*path, "id")),
            marks=marks_below(marks, path, _keys(shape)),
            foreach=shape.foreach,  # type: ignore[arg-type]
        )

    def _on(self, level: Level, node: Node) -> str:
        """The environment's name of the system that the step acts on."""
        name = node.shape.on
        if not name or name in level.frame.systems:
            return level.frame.systems.get(name, "")
        if name not in level.file.shape.systems:
            known = list(level.file.shape.systems)
            fix = suggest(name, known) or (f"known: {', '.join(known)}" if known else "declare it under `systems:`")
            shown = name if IDENTIFIER.fullmatch(name) else ""
            where = level.file.marks.value((*node.path, "on"))
            self._problems.append(problem("E136", fix=fix, where=where, name=shown))
        return ""


def _inner_step(level: Level, name: str) -> Step | None:
    """The step of an included plan that a dotted name means."""
    node = level.nodes.get(name.split(".")[0])
    if node is None:
        return None
    whole = level.prefix + name
    return next((step for steps in node.inner_steps.values() for step in steps if step.id == whole), None)


def _sinks(steps: Iterable[Step]) -> tuple[str, ...]:
    """The ids that no other of these steps waits for."""
    listed = list(steps)
    waited = {need for step in listed for need in step.needs}
    return tuple(step.id for step in listed if step.id not in waited)


def _retry(shape: RetryShape | None) -> Retry:
    if shape is None:
        return Retry()
    return Retry(shape.attempts, parse_duration(shape.delay), Backoff(shape.backoff))


def _keys(shape: StepShape) -> tuple[str, ...]:
    return tuple("with" if key == "with_" else key for key in shape.model_fields_set)
