"""Composition: a plan and the plans that it includes, as one list of steps.

Owns the levels of inlining: whose names mean what, where an included plan begins and ends. Promises: ids of included steps
begin with the including step's; nothing outside the plan root is read; circles and explosions are refused with their path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from runbook.errors import Problem, suggest
from runbook.operation import Json
from runbook.plan.codes import problem
from runbook.plan.file import PlanFile, Reader, read_plan_file
from runbook.plan.marks import Path
from runbook.plan.model import Frame, InputSpec, Phase, Section, Step
from runbook.plan.shape import StepShape
from runbook.plan.template import is_template
from runbook.plan.values import from_value

MOST_STEPS = 20_000
MOST_LEVELS = 16
MOST_FRAMES = 1_000
_NOT_FOR_INCLUDES = ("on", "timeout", "retry", "confirm", "releases", "on_failure", "foreach")

Sections = Mapping[Section, list[Step]]


@dataclass(slots=True, eq=False)
class Node:
    """One written step. ``ends`` are the ids that a successor waits for; ``inner`` is the included plan, if it is one."""

    shape: StepShape
    section: Section
    path: Path
    ends: tuple[str, ...]
    inner: Level | None = None
    inner_steps: Sections = field(default_factory=dict)

    @property
    def guarded(self) -> bool:
        """Whether it may end without outputs and its successors still run."""
        return bool(self.shape.when) or self.shape.on_failure == "continue"


@dataclass(slots=True, eq=False)
class Level:
    """A plan being inlined. ``nodes`` are its written steps by local id; ``order`` has them by section."""

    file: PlanFile
    frame: Frame
    phase: Phase | None
    parent: Level | None
    nodes: dict[str, Node] = field(default_factory=dict)
    order: dict[Section, list[Node]] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """What the ids of its steps begin with."""
        return self.frame.prefix


class Composer:
    """Reads included plans and lays out all levels. ``problems`` fills as it goes; ``files`` are in order of reading."""

    def __init__(self, reader: Reader, problems: list[Problem]) -> None:
        self.problems = problems
        self.files: dict[str, PlanFile | None] = {}
        self.levels: list[Level] = []
        self._reader = reader
        self._count = 0

    def lay_out(self, file: PlanFile) -> Level:
        """The level of the plan itself, with all levels below it."""
        self.files[file.name] = file
        systems = {name: name for name in file.shape.systems}
        frame = Frame("", None, file.inputs, {}, systems, outputs=_json(file.shape.outputs))
        return self._level(Level(file, frame, None, None))

    def _level(self, level: Level) -> Level:
        self.levels.append(level)
        shape = level.file.shape
        written = (
            (Section.STEPS, shape.steps),
            (Section.ON_FAILURE, shape.on_failure_steps),
            (Section.FINALLY, shape.finally_),
        )
        for section, steps in written:
            level.order[section] = []
            for number, step in enumerate(steps):
                self._node(level, section, step, (section.value, number))
        return level

    def _node(self, level: Level, section: Section, shape: StepShape, path: Path) -> None:
        marks = level.file.marks
        first = level.nodes.get(shape.id)
        if first is not None:
            before = marks.value((*first.path, "id"))
            detail = f"It is first used at {before.line}:{before.column}."
            where = marks.value((*path, "id"))
            self.problems.append(problem("E130", detail, fix="choose another id", where=where, name=shape.id))
            return
        self._count += 1
        if self._count == MOST_STEPS + 1:
            self.problems.append(problem("E153", f"More than {MOST_STEPS:,}.", fix="divide the plan"))
        node = Node(shape, section, path, (level.prefix + shape.id,))
        level.nodes[shape.id] = node
        level.order[section].append(node)
        if shape.includes:
            node.inner = self._include(level, node)
        elif shape.systems:
            where = marks.key((*path, "systems"))
            self.problems.append(
                problem("E154", "Only an included plan's systems are mapped.", where=where, name="systems")
            )

    def _include(self, level: Level, node: Node) -> Level | None:
        shape, path, marks = node.shape, node.path, level.file.marks
        where = marks.value((*path, "uses"))
        for key in _NOT_FOR_INCLUDES:
            if key in shape.model_fields_set:
                detail = "An included plan's steps have their own."
                self.problems.append(problem("E154", detail, where=marks.key((*path, key)), name=key))
        name = beside(level.file.name, shape.uses)
        if isinstance(name, Problem):
            self.problems.append(replace(name, where=where))
            return None
        circle = _circle(level, name)
        if circle:
            self.problems.append(problem("E152", " → ".join(circle), fix="break the circle", where=where))
            return None
        if (
            len(above := _ancestors(level)) >= MOST_LEVELS
            or len(self.levels) >= MOST_FRAMES
            or self._count > MOST_STEPS
        ):
            detail = f"At most {MOST_LEVELS} levels, {MOST_FRAMES:,} included plans and {MOST_STEPS:,} steps."
            self.problems.append(problem("E153", detail, fix=f"included below {above[0]}", where=where))
            return None
        if name not in self.files:
            self.files[name] = read_plan_file(name, self._reader, self.problems, asked_at=where)
        file = self.files[name]
        if file is None:
            return None
        frame = Frame(
            prefix=f"{level.prefix}{shape.id}.",
            parent=level.prefix,
            inputs=file.inputs,
            bindings=self._bindings(level, node, file),
            systems=self._systems(level, node, file),
            when=shape.when,
            outputs=_json(file.shape.outputs),
            title=shape.title,
        )
        phase = Phase(shape.phase) if shape.phase else level.phase
        return self._level(Level(file, frame, phase, level))

    def _bindings(self, level: Level, node: Node, file: PlanFile) -> dict[str, Json]:
        given = _json(node.shape.with_)
        marks, path = level.file.marks, (*node.path, "with")
        for name in given.keys() - file.inputs.keys():
            fix = suggest(name, list(file.inputs)) or f"{file.name} has: {', '.join(file.inputs) or 'no inputs'}"
            self.problems.append(problem("E160", fix=fix, where=marks.key((*path, name)), name=name))
        for name, spec in file.inputs.items():
            if name in given:
                self._check_binding(spec, given[name], level, (*path, name))
            elif not spec.has_default and not spec.optional:
                where = marks.value((*node.path, "uses"))
                self.problems.append(
                    problem("E162", spec.help, fix=f"add `{name}:` to its with", where=where, name=name)
                )
        return {name: value for name, value in given.items() if name in file.inputs}

    def _check_binding(self, spec: InputSpec, value: Json, level: Level, path: Path) -> None:
        if holds_template(value) or (value is None and spec.optional):
            return
        try:
            from_value(spec, value)
        except ValueError as refusal:
            where = level.file.marks.value(path)
            self.problems.append(problem("E161", fix=str(refusal), where=where, name=spec.name))

    def _systems(self, level: Level, node: Node, file: PlanFile) -> dict[str, str]:
        """The included plan's system names, to the environment's."""
        marks, path = level.file.marks, (*node.path, "systems")
        ours, mapped = level.file.shape.systems, {}
        for name in node.shape.systems.keys() - file.shape.systems.keys():
            fix = suggest(name, list(file.shape.systems)) or f"{file.name} has: {', '.join(file.shape.systems)}"
            self.problems.append(problem("E136", fix=fix, where=marks.key((*path, name)), name=name))
        for theirs, kind in file.shape.systems.items():
            own = node.shape.systems.get(theirs, theirs)
            where = marks.value((*path, theirs))
            if own not in ours:
                code, name = ("E136", own) if theirs in node.shape.systems else ("E155", theirs)
                fix = suggest(own, list(ours)) or f"add it: systems: {{{theirs}: ...}}"
                self.problems.append(
                    problem(code, f"{file.name} needs a {kind} as '{theirs}'.", fix=fix, where=where, name=name)
                )
            elif ours[own] != kind:
                detail = f"{file.name} needs a {kind} as '{theirs}'; '{own}' is a {ours[own]}."
                self.problems.append(problem("E172", detail, where=where, name=own))
            elif own in level.frame.systems:
                mapped[theirs] = level.frame.systems[own]
        return mapped


def beside(name: str, written: str) -> str | Problem:
    """The name of the file that ``written`` in file ``name`` means, relative to the plan root; or why it means none."""
    if written.startswith("/") or "\\" in written or "\0" in written:
        return problem("E151", "An absolute path names a file outside of it.", fix="write ./NAME.yaml")
    if not written.endswith((".yaml", ".yml")):
        return problem("E150", "Included files end with .yaml or .yml.", fix="write ./NAME.yaml")
    parts = name.split("/")[:-1]
    for part in written.split("/"):
        if part == ".." and not parts:
            return problem("E151", f"{written} climbs above it.", fix="keep included plans below the plan root")
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def holds_template(value: Json) -> bool:
    """Whether any text in the value is to be rendered."""
    match value:
        case str():
            return is_template(value)
        case list():
            return any(map(holds_template, value))
        case dict():
            return any(map(holds_template, value.values()))
    return False


def _ancestors(level: Level) -> list[str]:
    names = []
    here: Level | None = level
    while here is not None:
        names.append(here.file.name)
        here = here.parent
    return names[::-1]


def _circle(level: Level, name: str) -> list[str]:
    names = _ancestors(level)
    return [*names[names.index(name) :], name] if name in names else []


def _json(values: Mapping[str, object]) -> dict[str, Json]:
    return dict(values)  # type: ignore[arg-type]
