"""Faults of shape in plain words, at their places.

Owns the way from pydantic's errors to problems. Promises: no message holds a value from the file; a key that is nearly
right comes with its spelling.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from runbook.errors import Problem, suggest
from runbook.operation import Json
from runbook.plan.codes import problem
from runbook.plan.marks import Marks, Path
from runbook.plan.names import InvalidName
from runbook.plan.scalar import kind
from runbook.secret import MASK

_SECRET = "never the value itself"  # noqa: S105 - the words by which a refused secret is known, not a secret


def explain(
    fault: ValidationError, model: type[BaseModel], tree: Json, marks: Marks, *, base: Path = ()
) -> list[Problem]:
    """The problems behind a validation error of ``model`` on the value ``tree``, which stands at ``base`` in the document."""
    errors = [(error, _real(error["loc"], tree)) for error in fault.errors(include_input=False, include_url=False)]
    secret = {path for error, path in errors if _SECRET in _words(error, _at(tree, path))}
    found: dict[tuple[Path, str], Problem] = {}
    for error, path in errors:
        made = _problem(error, path, model, tree, marks, base)
        found.setdefault((path, made.code), _discreet(made) if path in secret else made)
    return list(found.values())


def _discreet(made: Problem) -> Problem:
    """The problem without the value: where a secret is to be named, whatever stands there may be one, however it is written."""
    where = made.where
    if where is None or not where.text:
        return made
    return replace(made, where=replace(where, text=where.text[: where.column - 1] + MASK, width=len(MASK)))


def faulty(fault: ValidationError, tree: Json) -> list[Path]:
    """The paths that a validation error is about."""
    return [_real(error["loc"], tree) for error in fault.errors(include_input=False, include_url=False)]


def _real(loc: tuple[int | str, ...], tree: Json) -> Path:
    """The error's path without the steps that name a branch of a union or a key."""
    path: list[int | str] = []
    here: object = tree
    for part in loc:
        if (isinstance(here, dict) and part in here) or (
            isinstance(here, list) and isinstance(part, int) and part < len(here)
        ):
            here = here[part]  # type: ignore[index]
        elif isinstance(here, dict) and part == loc[-1] and part != "[key]":
            path.append(part)
            break
        else:
            continue
        path.append(part)
    return tuple(path)


def _problem(
    error: Mapping[str, Any], path: Path, model: type[BaseModel], tree: Json, marks: Marks, base: Path
) -> Problem:
    name = (
        str(path[-1])
        if path and isinstance(path[-1], str)
        else str(next((p for p in path[::-1] if isinstance(p, str)), ""))
    )
    whole = (*base, *path)
    if error["type"] == "extra_forbidden":
        known = _keys(model, path[:-1])
        if " " in name and _at(tree, path) is None:
            fix = "quote the value before it: inside { } an unquoted value ends at a comma"
            return problem("E102", fix=fix, where=marks.key(whole), name=name)
        fix = suggest(name, known) or f"known keys: {', '.join(known)}"
        return problem("E102", fix=fix, where=marks.key(whole), name=name)
    if error["type"] == "missing":
        where = marks.key(whole[:-1]) if len(whole) > 1 else marks.text.place(0, 0)
        return problem("E104", _meaning(model, path), fix=f"add `{name}:`", where=where, name=name)
    cause = (error.get("ctx") or {}).get("error")
    if isinstance(cause, InvalidName):
        where = marks.key(whole) if error["loc"][-1] == "[key]" else marks.value(whole)
        return problem("E106", f"{_upper(str(cause))}.", fix="use a to z, 0 to 9 and _", where=where)
    value = _at(tree, path)
    said = _words(error, value)
    if path == ("runbook",):
        return problem("E105", f"{_upper(said)}.", fix="write `runbook: 1`", where=marks.value(whole))
    if _SECRET in said:
        detail = f"Here stands {kind(value)}; its value isn't shown."
        return problem("E180", detail, fix="use {env: NAME} or {file: PATH}", where=marks.value(whole))
    expected, _, hint = said.partition("; ")
    return problem(
        "E103", f"{_upper(expected)}." if hint else "", fix=hint or expected, where=marks.value(whole), name=name
    )


def _words(error: Mapping[str, Any], value: object) -> str:
    """What was expected, in words that need no knowledge of Python."""
    ctx = error.get("ctx") or {}
    match str(error["type"]):
        case "string_type":
            return f"expected text, this is {kind(value)}" + (": quote it" if isinstance(value, int | float) else "")
        case "bool_type" | "bool_parsing":
            return "expected true or false" + (": this is text" if value in ("yes", "no", "on", "off") else "")
        case "int_type" | "int_parsing" | "int_from_float":
            return f"expected a whole number, this is {kind(value)}"
        case "list_type" | "tuple_type":
            return f"expected a list, this is {kind(value)}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"expected keys and values, this is {kind(value)}"
        case "literal_error" | "enum":
            known = str(ctx.get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")
            near = suggest(value, known) if isinstance(value, str) else ""
            return f"expected one of {', '.join(known)}" + (f"; {near}" if near else "")
        case "string_pattern_mismatch":
            return f"must match {ctx.get('pattern', '')}"
        case "value_error":
            return str(ctx.get("error", error["msg"]))
        case str(code) if code.startswith("datetime_") or code == "timezone_aware":
            return "expected a time with its zone, like 2026-02-14T12:00:00Z"
        case "greater_than_equal":
            return f"expected at least {ctx.get('ge')}"
        case "less_than_equal":
            return f"expected at most {ctx.get('le')}"
        case "too_short" | "string_too_short":
            return "must not be empty"
    return re.sub(r"^Input should be ", "expected ", str(error["msg"]))


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _at(tree: Json, path: Iterable[str | int]) -> object:
    here: Any = tree
    for part in path:
        here = here[part] if not isinstance(here, dict) or part in here else None
    return here


def _model(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model that describes the mapping at ``path``."""
    here: Any = model
    for part in path:
        here = _bare(here)
        if isinstance(here, type) and issubclass(here, BaseModel):
            fields = {field.alias or name: field for name, field in here.model_fields.items()}
            here = fields[str(part)].annotation if part in fields else None
        elif get_args(here):
            here = next(argument for argument in reversed(get_args(here)) if argument is not Ellipsis)
        else:
            return None
    here = _bare(here)
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None


def _bare(annotation: Any) -> Any:
    """The annotation without Annotated, and without None or plain types beside a model."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Union, types.UnionType):
            branches = [branch for branch in get_args(annotation) if branch is not type(None)]
            annotation = next((b for b in branches if isinstance(b, type) and issubclass(b, BaseModel)), branches[0])
        else:
            return annotation


def _keys(model: type[BaseModel], path: Path) -> list[str]:
    found = _model(model, path)
    return [field.alias or name for name, field in found.model_fields.items() if not field.exclude] if found else []


def _meaning(model: type[BaseModel], path: Path) -> str:
    """The description of the field at ``path``."""
    found = _model(model, path[:-1])
    for name, field in found.model_fields.items() if found else ():
        if (field.alias or name) == path[-1] and field.description:
            return f"{field.description}."
    return ""
