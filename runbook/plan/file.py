"""One plan file: read, checked for shape, not yet composed with others.

Owns :class:`Reader`, through which every file comes in, and :class:`PlanFile`. Promises: all faults of structure and shape
of a file are found in one reading; where the faults allow it, the rest of the file is still handed on, so that faults of
meaning are found as well.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from runbook.errors import InvalidInput, Place, Problem, nearest
from runbook.operation import Json
from runbook.plan.codes import problem
from runbook.plan.explain import explain, faulty
from runbook.plan.marks import Below, Marks, Path
from runbook.plan.model import InputSpec, Source
from runbook.plan.scalar import kind
from runbook.plan.shape import EnvironmentShape, InputShape, InputType, PlanShape
from runbook.plan.template import is_template
from runbook.plan.text import Text
from runbook.plan.values import from_value
from runbook.plan.yaml import Document, read_yaml
from runbook.system import SYSTEMS

M = TypeVar("M", bound=BaseModel)


class Reader(Protocol):
    """Gives files' bytes by their name relative to the plan root (``/`` between parts, no ``..``)."""

    def read(self, name: str) -> bytes:
        """The bytes; ``OSError`` where it can't be read, :class:`InvalidInput` where it must not be."""


@dataclass(frozen=True, slots=True)
class FrozenReader:
    """A reader of sources that were frozen with a run."""

    sources: Mapping[str, bytes]

    @classmethod
    def of(cls, sources: Iterable[Source]) -> FrozenReader:
        """A reader of these sources."""
        return cls({source.name: source.text.encode() for source in sources})

    def read(self, name: str) -> bytes:
        """The bytes that were frozen under this name."""
        if name not in self.sources:
            raise FileNotFoundError(f"{name} is not among the frozen files")
        return self.sources[name]


@dataclass(frozen=True, slots=True, eq=False)
class PlanFile:
    """A plan file by itself. ``inputs`` are its declared inputs, defaults checked."""

    name: str
    marks: Marks
    shape: PlanShape
    inputs: Mapping[str, InputSpec]


def read_document(name: str, reader: Reader, *, asked_at: Place | None = None) -> Document:
    """The document of that name; ``asked_at`` is the place that names it, if another file does."""
    try:
        raw = reader.read(name)
    except OSError as fault:
        reason = fault.strerror or "it isn't there"
        detail = f"{name}: {reason}."
        raise InvalidInput(problem("E100", detail, fix="check the path", where=asked_at)) from None
    except InvalidInput as fault:  # where the reader won't go: it doesn't know who asked
        raise InvalidInput(*(replace(one, where=one.where or asked_at) for one in fault.problems)) from None
    return read_yaml(name, raw)


def read_plan_file(
    name: str, reader: Reader, problems: list[Problem], *, asked_at: Place | None = None
) -> PlanFile | None:
    """The plan file of that name; its faults go to ``problems``. None where nothing can be said about its meaning."""
    try:
        document = read_document(name, reader, asked_at=asked_at)
    except InvalidInput as fault:
        problems.extend(fault.problems)
        return None
    problems.extend(document.problems)
    problems.extend(document.text.secrets(keys=True))
    shape = checked_shape(document, PlanShape, problems, prune=_prune)
    if shape is None:
        return None
    return PlanFile(name, document.marks, shape, _inputs(shape, document.marks, problems))


class Pruner(Protocol):
    """Removes what is at fault, so that the rest can be checked; False where that can't be done."""

    def __call__(self, tree: dict[str, Json], path: Path) -> bool: ...


def checked_shape(document: Document, model: type[M], problems: list[Problem], *, prune: Pruner) -> M | None:
    """The document in the form of ``model``; faults go to ``problems``."""
    tree = document.tree
    if not isinstance(tree, dict):
        problems.append(
            problem(
                "E103",
                f"This is {kind(tree)}.",
                fix="expected keys and values",
                where=document.marks.value(()),
                name="the file",
            )
        )
        return None
    if (other := _mistaken(tree, model, document)) is not None:
        problems.append(other)
        return None
    try:
        return model.model_validate(tree)
    except ValidationError as fault:
        known = {(p.where.line, p.where.column) for p in document.problems if p.where}
        found = [
            p
            for p in explain(fault, model, tree, document.marks)
            if not p.where or (p.where.line, p.where.column) not in known
        ]
        versions = [p for p in found if p.code == "E105"]
        problems.extend(versions or found)
        paths = faulty(fault, tree)
    pruned = copy.deepcopy(tree)
    if versions or not all(prune(pruned, path) for path in paths):
        return None
    try:
        return model.model_validate(pruned)
    except ValidationError:
        return None


def _mistaken(tree: dict[str, Json], model: type[BaseModel], document: Document) -> Problem | None:
    """The one thing to say where a plan and an environment were taken for each other: no key of theirs is a mistake."""
    planned = "runbook" in tree and "steps" in tree
    name, where = document.text.name, document.marks.key(tuple(tree)[:1])
    if model is PlanShape and isinstance(tree.get("environment"), str) and "steps" not in tree:
        fix = f"name the plan, and give this with --env {name}"
        return problem("E107", fix=fix, where=where, name="an environment, not a plan")
    if issubclass(model, EnvironmentShape) and planned and not isinstance(tree.get("environment"), str):
        fix = "name an environment: --env NAME, or --env PATH"
        return problem("E107", fix=fix, where=where, name="a plan, not an environment")
    return None


def _prune(tree: dict[str, Json], path: Path) -> bool:
    """Drop a faulty key of a step or of the plan; a fault in names that others refer to can't be dropped."""
    match path:
        case (("steps" | "on_failure_steps" | "finally") as section, int(number), str(key), *_) if key not in (
            "id",
            "uses",
        ):
            steps: Any = tree[section]
            steps[number].pop(key, None)
            return True
        case ("inputs", str(name), "type"):
            return _respelt(tree["inputs"], name, "type", get_args(InputType))
        case ("systems", str(name)):
            return _respelt(tree, "systems", name, tuple(SYSTEMS))
        case ("inputs", str(name), str(key), *_) if key != "type":
            inputs: Any = tree["inputs"]
            inputs[name].pop(key, None)
            return True
        case (str(key), *_) if key not in ("runbook", "steps", "on_failure_steps", "finally", "inputs", "systems"):
            tree.pop(key, None)
            if key == "name":
                tree["name"] = "unnamed"
            return True
    return False


def _respelt(tree: Any, above: str, key: str, known: tuple[str, ...]) -> bool:
    """Put what is surely meant in the place of a misspelt type, so that the rest can be checked; False where nothing is."""
    written = tree[above].get(key) if isinstance(tree[above], dict) else None
    meant = nearest(written, known, likeness=0.8) if isinstance(written, str) else ""
    if meant:
        tree[above][key] = meant
    return bool(meant)


def _inputs(shape: PlanShape, marks: Marks, problems: list[Problem]) -> dict[str, InputSpec]:
    return {name: _input(name, declared, marks, problems) for name, declared in shape.inputs.items()}


def _input(name: str, declared: InputShape, marks: Marks, problems: list[Problem]) -> InputSpec:
    path: Path = ("inputs", name)
    if name.endswith(("password", "passwd", "secret", "token", "private_key", "api_key")):
        problems.append(
            problem(
                "E181",
                f"'{name}' would be journalled and shown like any input.",
                fix="give the secret to a system in the environment: {env: NAME} or {file: PATH}",
                where=marks.key(path),
            )
        )
    spec = InputSpec(
        name=name,
        type=declared.type,
        of=declared.of,
        help=declared.help,
        choices=_choices(name, declared, marks, problems),
        pattern=declared.pattern,
        optional=declared.optional,
        where=marks.key(path),
    )
    if "default" not in declared.model_fields_set or (declared.default is None and declared.optional):
        return spec
    try:
        if any(is_template(text) for text in _texts(declared.default)):
            raise ValueError("expected a value: a default isn't a template")  # noqa: TRY301 - handled like other refusals
        default = from_value(spec, declared.default)  # type: ignore[arg-type]
    except ValueError as refusal:
        where = marks.value((*path, "default"))
        problems.append(problem("E161", fix=str(refusal), where=where, name=name))
        default = None
    return replace(spec, has_default=True, default=default)


def _choices(name: str, declared: InputShape, marks: Marks, problems: list[Problem]) -> tuple[Json, ...]:
    """The choices in their JSON form; for a list they are choices of its elements."""
    element = InputSpec(name, declared.of if declared.type == "list" else declared.type)
    found: list[Json] = []
    for number, choice in enumerate(declared.choices):
        try:
            found.append(from_value(element, choice))  # type: ignore[arg-type]
        except ValueError as refusal:
            where = marks.value(("inputs", name, "choices", number))
            problems.append(problem("E161", fix=str(refusal), where=where, name=name))
    return tuple(found)


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _texts(item)


def source_of(text: Text) -> Source:
    """The file as it is frozen with a run."""
    return Source(text.name, text.raw.decode(), hashlib.sha256(text.raw).hexdigest())


def digest_of(sources: Iterable[Source]) -> str:
    """The digest over all sources' bytes, in order, in hex."""
    total = hashlib.sha256()
    for source in sources:
        total.update(bytes.fromhex(source.sha256))
    return total.hexdigest()


def marks_below(marks: Marks, base: Path, names: Iterable[str] = ()) -> Below:
    """The marks below ``base`` as a mapping by dotted names."""
    return Below(marks, base, tuple(names))
