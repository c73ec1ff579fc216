"""What an action is, for whoever writes a plan: its words, its fields, its example.

Owns the page of one action and the list of all, as text and as JSON. Promises: everything comes from the class itself; a field
shown as required is one without which `runbook validate` refuses the step.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel

from runbook.action import Inputs, Interrupted
from runbook.check.fields import AnyAction, artifact_fields, system_fields
from runbook.operation import Json
from runbook.schema import Schema, first_line, inputs_schema, outputs_schema

WIDTH = 100
_INTERRUPTED = {
    Interrupted.OBSERVE: "a resume looks at the world and does what remains",
    Interrupted.REPEATABLE: "a resume does it again",
    Interrupted.ASK: "a resume asks a person",
}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of inputs or outputs, as it is shown. ``default`` is None where there is none worth showing."""

    name: str
    type: str
    description: str
    required: bool
    default: Json


def inputs_of(action: AnyAction) -> tuple[Field, ...]:
    """The fields of ``with``."""
    systems = {name: f"system: {kind.kind}" for name, kind in system_fields(action.inputs_type).items()}
    backups = dict.fromkeys(artifact_fields(action.inputs_type), "artifact")
    return tuple(_fields(inputs_schema(action), action.inputs_type, {**systems, **backups}))


def outputs_of(action: AnyAction) -> tuple[Field, ...]:
    """What ``{{ steps.ID.FIELD }}`` gives."""
    backups = dict.fromkeys(artifact_fields(action.outputs_type), "artifact")
    return tuple(_fields(outputs_schema(action), action.outputs_type, backups))


def listing(actions: Iterable[AnyAction]) -> str:
    """All actions, a line each."""
    rows = [(action.name, action.effect.value, first_line(type(action))) for action in actions]
    wide = max((len(name) for name, _, _ in rows), default=0)
    return "\n".join(f"{name:<{wide}}  {effect:<8}  {line}" for name, effect, line in rows)


def page(action: AnyAction) -> str:
    """One action in full."""
    on = f"on: a system of type {action.system_type.kind}" if action.system_type else "on: nothing (leave `on` out)"
    resumed = f"if it is interrupted: {_INTERRUPTED[action.interrupted]}"
    parts = [
        f"{action.name} ({action.effect.value})",
        inspect.cleandoc(type(action).__doc__ or ""),
        "\n".join([on, resumed, *(["made to be held: release it with `releases:`"] if action.holds else [])]),
        "with:\n" + _table(inputs_of(action)),
        "outputs:\n" + _table(outputs_of(action)),
        "example:\n" + textwrap.indent(action.example.rstrip(), "  "),
    ]
    return "\n\n".join(parts)


def as_json(action: AnyAction) -> dict[str, Json]:
    """One action for programs; ``schema`` is the JSON Schema of its ``with``."""
    return {
        "name": action.name,
        "effect": action.effect.value,
        "interrupted": action.interrupted.value,
        "holds": action.holds,
        "on": action.system_type.kind if action.system_type else None,
        "description": inspect.cleandoc(type(action).__doc__ or ""),
        "inputs": [_field_json(field) for field in inputs_of(action)],
        "outputs": [_field_json(field) for field in outputs_of(action)],
        "schema": inputs_schema(action),
        "example": action.example,
    }


def _field_json(field: Field) -> Json:
    return {
        "name": field.name,
        "type": field.type,
        "description": field.description,
        "required": field.required,
        "default": field.default,
    }


def _table(fields: tuple[Field, ...]) -> str:
    if not fields:
        return "  (none)"
    lines: list[str] = []
    for field in fields:
        default = "" if field.default is None else f" [{_shown(field.default)}]"
        need = ", required" if field.required else default
        lines.append(f"  {field.name}: {field.type}{need}")
        lines += textwrap.wrap(field.description, WIDTH, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines)


def _shown(value: Json) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return ", ".join(map(_shown, value))
    return str(value)


def _fields(schema: Schema, model: type[BaseModel], known: dict[str, str]) -> Iterator[Field]:
    properties = cast("Schema", schema["properties"])
    definitions = cast("Schema", schema["$defs"])
    for name, field in model.model_fields.items():
        described = cast("Schema", properties[name])
        kind = known.get(name) or _kind(described, definitions)
        default = described.get("default")
        required = field.is_required() and issubclass(model, Inputs)
        yield Field(name, kind, field.description or "", required, default)


def _kind(schema: Json, definitions: Schema) -> str:
    """The type in words: ``text``, ``create | keep``, ``list of text``, ``query, at_least, …``."""
    if not isinstance(schema, dict):
        return "anything"
    match schema:
        case {"$ref": str(reference)}:
            name = reference.removeprefix("#/$defs/")
            return "" if name == "template" else _kind(definitions.get(name), definitions)
        case {"enum": [*words]}:
            return " | ".join(map(_shown, words))
        case {"const": word}:
            return _shown(word)
        case {"anyOf": [*branches]}:
            kinds = [_kind(branch, definitions) for branch in branches]
            return " or ".join(dict.fromkeys(kind for kind in kinds if kind))
        case {"type": "array", "items": items}:
            return f"list of {_kind(items, definitions)}"
        case {"type": "object", "properties": dict(properties)}:
            return f"{{{', '.join(properties)}}}"
        case {"type": "object"}:
            return "mapping"
        case {"type": "string", "format": "date-time"}:
            return "time"
        case {"type": str(word)}:
            return {"string": "text", "integer": "whole number", "boolean": "true or false", "null": ""}.get(word, word)
    return "anything"
