"""Environments: which real things a plan's systems are.

Owns the reading of environment files and inline environments, and whether one fits a plan. Promises: a secret's value that
is written out is refused and not shown; systems that came by ``extends`` are known as inherited.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from runbook.errors import InvalidInput, Place, Problem, suggest
from runbook.operation import Json
from runbook.plan.codes import orderly, problem
from runbook.plan.compose import beside
from runbook.plan.explain import explain
from runbook.plan.file import Reader, checked_shape, digest_of, marks_below, read_document, source_of
from runbook.plan.marks import Below, Marks, Path
from runbook.plan.model import Plan, Source
from runbook.plan.shape import EnvironmentShape
from runbook.secret import MASK
from runbook.system import SYSTEMS, System

MOST_EXTENDED = 8


@dataclass(frozen=True, slots=True)
class Environment:
    """The real things, by the plan's names for them. ``inherited`` are those that came from the extended environment."""

    name: str
    live: bool
    inputs: Mapping[str, Json]
    systems: Mapping[str, System]
    sources: tuple[Source, ...]
    digest: str
    inherited: frozenset[str] = frozenset()
    marks: Mapping[str, Place] = field(default_factory=dict)

    def public(self) -> dict[str, Mapping[str, Json]]:
        """What templates may see of the systems."""
        return {name: system.public() for name, system in self.systems.items()}

    def facts(self) -> dict[str, Json]:
        """What templates see as ``environment``."""
        return {"name": self.name, "live": self.live}


def load_environment(name: str, reader: Reader) -> Environment:
    """The environment in the file of that name, with what it extends; :class:`InvalidInput` with every fault."""
    problems: list[Problem] = []
    environment = _load(name, reader, problems, below=(), asked_at=None)
    if problems or environment is None:
        raise InvalidInput(*orderly(map(_discreet, problems)))
    return environment


def inline_environment(plan: Plan) -> Environment | None:
    """The plan's own environment, if it has one; :class:`InvalidInput` with every fault."""
    if plan.environment is None or not isinstance(plan.marks, Below):
        return None
    problems: list[Problem] = []
    found = read_inline(dict(plan.environment), plan.marks.marks, problems, default_name=plan.name)
    if problems or found is None:
        raise InvalidInput(*orderly(problems))
    return found


def read_inline(
    tree: dict[str, Json], marks: Marks, problems: list[Problem], *, default_name: str
) -> Environment | None:
    """The environment that stands under a plan's ``environment:``; faults go to ``problems``."""
    base: Path = ("environment",)
    named = {"environment": default_name, **tree}
    try:
        shape = EnvironmentShape.model_validate(named)
    except ValidationError as fault:
        problems.extend(map(_discreet, explain(fault, EnvironmentShape, named, marks, base=base)))
        return None
    if shape.extends:
        detail = "An inline environment extends nothing."
        problems.append(problem("E154", detail, where=marks.key((*base, "extends")), name="extends"))
    found: list[Problem] = []
    systems = _systems(shape, marks, found, base=base)
    problems.extend(map(_discreet, found))
    digest = hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
    return _environment(shape, systems, (), digest, marks_below(marks, base))


def check_fits(plan: Plan, environment: Environment) -> list[Problem]:
    """What the plan needs and the environment lacks or has of another type."""
    found: list[Problem] = []
    for name, kind in plan.systems.items():
        where = plan.marks.get(f"systems.{name}")
        system = environment.systems.get(name)
        if system is None:
            near = suggest(name, list(environment.systems))
            detail = f"The plan needs a {kind} as '{name}'; {environment.name} has: {', '.join(environment.systems) or 'none'}."
            fix = near or f"add it to {environment.name}"
            found.append(problem("E171", detail, fix=fix, where=where, name=name))
        elif system.kind != kind:
            detail = f"The plan needs a {kind}; in {environment.name} it is a {system.kind}."
            found.append(
                problem("E172", detail, fix="name another system, or another environment", where=where, name=name)
            )
    return found


def _load(
    name: str, reader: Reader, problems: list[Problem], *, below: tuple[str, ...], asked_at: Place | None
) -> Environment | None:
    try:
        document = read_document(name, reader, asked_at=asked_at)
    except InvalidInput as fault:
        problems.extend(fault.problems)
        return None
    problems.extend(document.problems)
    problems.extend(document.text.secrets(keys=False))
    shape = checked_shape(document, EnvironmentShape, problems, prune=_prune)
    if shape is None:
        return None
    systems = _systems(shape, document.marks, problems, base=())
    source = source_of(document.text)
    made = _environment(shape, systems, (source,), source.sha256, marks_below(document.marks, ()))
    if not shape.extends:
        return made
    extended = _extended(name, shape, reader, problems, below=(*below, name), where=document.marks.value(("extends",)))
    return _inheriting(made, extended) if extended else made


def _extended(
    name: str, shape: EnvironmentShape, reader: Reader, problems: list[Problem], *, below: tuple[str, ...], where: Place
) -> Environment | None:
    target = beside(name, shape.extends)
    if isinstance(target, Problem):
        problems.append(replace(target, where=where))
        return None
    if target in below or len(below) > MOST_EXTENDED:
        problems.append(problem("E173", " → ".join((*below, target)), fix="break the circle", where=where))
        return None
    return _load(target, reader, problems, below=below, asked_at=where)


def _inheriting(environment: Environment, extended: Environment) -> Environment:
    taken = {name: system for name, system in extended.systems.items() if name not in environment.systems}
    sources = (*environment.sources, *extended.sources)
    return replace(
        environment,
        systems={**taken, **environment.systems},
        inherited=frozenset(taken),
        sources=sources,
        digest=digest_of(sources),
    )


def _environment(
    shape: EnvironmentShape,
    systems: Mapping[str, System],
    sources: tuple[Source, ...],
    digest: str,
    marks: Mapping[str, Place],
) -> Environment:
    return Environment(
        name=shape.environment,
        live=shape.live,
        inputs=shape.inputs,  # type: ignore[arg-type]
        systems=systems,
        sources=sources,
        digest=digest,
        marks=marks,
    )


def _systems(shape: EnvironmentShape, marks: Marks, problems: list[Problem], *, base: Path) -> dict[str, System]:
    found: dict[str, System] = {}
    for name, fields in shape.systems.items():
        path = (*base, "systems", name)
        model = _model(fields, marks, path, problems)
        if model is None:
            continue
        if "key" in fields:
            problems.append(problem("E102", where=marks.key((*path, "key")), name="key"))
        try:
            found[name] = model.model_validate({**fields, "key": name})
        except ValidationError as fault:
            tree: Any = fields
            problems.extend(explain(fault, model, tree, marks, base=path))
    return found


def _model(fields: Mapping[str, object], marks: Marks, path: Path, problems: list[Problem]) -> type[System] | None:
    kind = fields.get("type")
    if kind is None:
        detail = f"One of {', '.join(SYSTEMS)}."
        problems.append(problem("E104", detail, fix="add `type:`", where=marks.key(path), name="type"))
        return None
    if not isinstance(kind, str) or kind not in SYSTEMS:
        near = suggest(kind, list(SYSTEMS)) if isinstance(kind, str) else ""
        fix = near or f"expected one of {', '.join(SYSTEMS)}"
        problems.append(problem("E170", fix=fix, where=marks.value((*path, "type"))))
        return None
    return SYSTEMS[kind]


def _prune(tree: dict[str, Json], path: Path) -> bool:
    match path:
        case ("systems", str(name), *_):
            systems: Any = tree["systems"]
            systems.pop(name, None)
            return True
        case ("systems",) | ():
            return False
    tree.pop(str(path[0]), None)
    if path[0] == "environment":
        tree["environment"] = "unnamed"
    return True


def _discreet(found: Problem) -> Problem:
    """Beside a misspelt key may stand a secret: its value isn't shown."""
    where = found.where
    if found.code != "E102" or where is None or not where.text:
        return found
    end = where.column - 1 + where.width
    return replace(found, where=replace(where, text=f"{where.text[:end]}: {MASK}"))
