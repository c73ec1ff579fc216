"""JSON Schemas of plans and environments, for editors: made from the models that read them, and from the actions.

Owns their making. Promises: what the loader accepts the schema accepts; every action's fields come with their descriptions as soon
as ``uses:`` names it; the text is the same for the same models. The dialect is draft-07, which every editor's YAML support reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import cast

from runbook.action import Inputs
from runbook.check.fields import AnyAction, artifact_fields, system_fields
from runbook.operation import Json
from runbook.plan.shape import EnvironmentShape, PlanShape
from runbook.system import SYSTEMS

Schema = dict[str, Json]

DIALECT = "http://json-schema.org/draft-07/schema#"
_NAMED = ("properties", "patternProperties", "$defs")
_NESTED = ("items", "additionalProperties", "propertyNames", "if", "then", "not")
_LISTED = ("anyOf", "allOf", "oneOf", "prefixItems")
_LIMITS = ("enum", "const", "pattern", "format")
_OPEN_ENDS = ("$comment", "description", "default", "type", "minLength", "maxLength")
_TEMPLATE: Schema = {"$ref": "#/$defs/template"}


def plan_schema(catalogue: Mapping[str, AnyAction]) -> Schema:
    """The schema of plan files, with the fields of these actions."""
    schema = _tidy(cast("Schema", PlanShape.model_json_schema(by_alias=True)))
    definitions = _of(schema, "$defs")
    definitions["template"] = {
        "type": "string",
        "pattern": r"\{\{",
        "description": "A template: {{ inputs.NAME }}, {{ steps.ID.OUTPUT }}, …",
    }
    step = _of(definitions, "StepShape")
    _of(step, "properties")["uses"] = _uses(catalogue)
    step["allOf"] = [_branch(action, definitions) for _, action in sorted(catalogue.items())]
    properties = _of(schema, "properties")
    _named_by_pattern(_of(properties, "systems"), {"anyOf": _types()})
    inline = environment_schema()
    definitions |= _of(inline, "$defs")
    properties["environment"] = {"type": "object", "properties": inline["properties"], "additionalProperties": False}
    return {"$schema": DIALECT, "title": "A runbook plan", **_reachable(schema)}


def environment_schema() -> Schema:
    """The schema of environment files."""
    schema = _tidy(cast("Schema", EnvironmentShape.model_json_schema(by_alias=True)))
    definitions: Schema = {}
    branches: list[Json] = []
    for kind, model in SYSTEMS.items():
        made = _tidy(cast("Schema", model.model_json_schema(ref_template=f"#/$defs/{kind}.{{model}}")))
        definitions |= {f"{kind}.{name}": each for name, each in _of(made, "$defs").items()}
        del made["$defs"]
        _of(made, "properties").pop("key", None)
        definitions[kind] = made
        branches.append({"if": _given("type", kind), "then": {"$ref": f"#/$defs/{kind}"}})
    system: Schema = {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"description": "What kind of system it is", "anyOf": _types()}},
        "allOf": branches,
    }
    _named_by_pattern(_of(_of(schema, "properties"), "systems"), system)
    schema["$defs"] = {**_of(schema, "$defs"), **definitions}
    return {"$schema": DIALECT, "title": "A runbook environment", **schema}


def text_of(schema: Schema) -> str:
    """The schema as its file has it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def inputs_schema(action: AnyAction) -> Schema:
    """The schema of an action's ``with``: systems by name, artifacts and late values as templates. With its own ``$defs``."""
    return _inputs(action.inputs_type, prefix="")


def outputs_schema(action: AnyAction) -> Schema:
    """The schema of an action's outputs. With its own ``$defs``."""
    return _tidy(cast("Schema", action.outputs_type.model_json_schema(mode="serialization")))


def first_line(documented: object) -> str:
    """The first line of a class's docstring."""
    return (documented.__doc__ or "").strip().splitlines()[0]


def _types() -> list[Json]:
    return [{"const": kind, "description": first_line(model)} for kind, model in SYSTEMS.items()]


def _uses(catalogue: Mapping[str, AnyAction]) -> Schema:
    known: list[Json] = [
        {"const": name, "description": f"{first_line(type(action))} ({action.effect.value})"}
        for name, action in sorted(catalogue.items())
    ]
    included: Json = {"type": "string", "pattern": r"^\.{0,2}/?.*\.ya?ml$", "description": "Another plan, inlined here"}
    return {
        "description": "An action (postgres.restore) or another plan (./restore-db.yaml)",
        "anyOf": [*known, included],
    }


def _branch(action: AnyAction, definitions: Schema) -> Schema:
    """What a step that uses this action looks like; the models of its inputs go to ``definitions``."""
    fields = _inputs(action.inputs_type, prefix=f"{action.name}.")
    definitions |= _of(fields, "$defs")
    del fields["$defs"]
    definitions[f"{action.name}.with"] = fields
    required: list[Json] = ["with"] if fields.get("required") else []
    properties: Schema = {"with": {"$ref": f"#/$defs/{action.name}.with"}}
    if action.system_type is not None:
        properties["on"] = {"type": "string", "description": f"The system that it acts on: a {action.system_type.kind}"}
        required.append("on")
    else:
        properties["on"] = False
    return {"if": _given("uses", action.name), "then": {"properties": properties, "required": required}}


def _given(key: str, word: str) -> Schema:
    """Where ``key`` has that value: as a pattern, since editors take a ``const`` for met by its first letters."""
    return {"properties": {key: {"type": "string", "pattern": f"^{re.escape(word)}$"}}, "required": [key]}


def _named_by_pattern(schema: Schema, value: Schema) -> None:
    """Put ``value`` for what stands under any name of the mapping."""
    schema["patternProperties"] = dict.fromkeys(_of(schema, "patternProperties"), value)


def _inputs(model: type[Inputs], *, prefix: str) -> Schema:
    made = _tidy(cast("Schema", model.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")))
    properties = _of(made, "properties")
    for name, kind in system_fields(model).items():
        described = _described(properties[name], f"A system of type {kind.kind}")
        properties[name] = {"type": "string", "description": f"{described} (the plan's name of a {kind.kind})"}
    for name in artifact_fields(model):
        properties[name] = {"description": _described(properties[name], "A backup"), **_TEMPLATE}
    definitions = {f"{prefix}{name}": _templated(each) for name, each in _of(made, "$defs").items()}
    made["$defs"] = {name: each for name, each in definitions.items() if not name.endswith("Artifact")}
    made["properties"] = {name: _field(each) for name, each in properties.items()}
    return _reachable(made)


def _described(schema: Json, default: str) -> str:
    said = schema.get("description") if isinstance(schema, dict) else None
    return said if isinstance(said, str) else default


def _field(schema: Json) -> Json:
    """The schema of a value that may be given by a template as well."""
    if not isinstance(schema, dict):
        return schema
    if str(schema.get("$ref", "")).endswith("Artifact"):
        return {**schema, **_TEMPLATE}
    inner = _templated(schema)
    if not isinstance(inner, dict) or inner.get("$ref") == _TEMPLATE["$ref"] or _takes_any_text(inner):
        return inner
    outer: Schema = {key: inner.pop(key) for key in ("description", "default") if key in inner}
    alternatives = inner.pop("anyOf", None) if set(inner) == {"anyOf"} else [inner]
    return {**outer, "anyOf": [*cast("list[Json]", alternatives), dict(_TEMPLATE)]}


def _templated(schema: Json) -> Json:
    """The schema with templates allowed for every value below it."""
    if not isinstance(schema, dict):
        return schema
    made: Schema = {}
    for key, value in schema.items():
        if key in ("properties", "patternProperties") and isinstance(value, dict):
            made[key] = {name: _field(each) for name, each in value.items()}
        elif key in ("items", "additionalProperties"):
            made[key] = _field(value)
        elif key in _LISTED and isinstance(value, list):
            made[key] = [_templated(each) for each in value]
        else:
            made[key] = value
    return made


def _takes_any_text(schema: Schema) -> bool:
    if not any(key in schema for key in ("type", "anyOf", "$ref", "const", "enum")):
        return True
    branches = schema.get("anyOf")
    if isinstance(branches, list):
        return any(isinstance(branch, dict) and _takes_any_text(branch) for branch in branches)
    return schema.get("type") == "string" and set(schema) <= set(_OPEN_ENDS)


def _tidy(schema: Schema) -> Schema:
    """Without generated titles and without defaults that say nothing; always with ``$defs``."""
    made = _tidied(schema)
    return {**made, "$defs": made.get("$defs", {})}


def _tidied(schema: Schema) -> Schema:
    made: Schema = {}
    for key, value in schema.items():
        if key == "title" or (key == "default" and value in ("", None, [], {})):
            continue
        if key in _NAMED and isinstance(value, dict):
            made[key] = {name: _each(inner) for name, inner in value.items()}
        elif key in _NESTED:
            made[key] = _each(value)
        elif key in _LISTED and isinstance(value, list):
            made[key] = [_each(inner) for inner in value]
        else:
            made[key] = value
    if "patternProperties" in made:
        made.setdefault("additionalProperties", False)
    return made


def _each(schema: Json) -> Json:
    return _tidied(schema) if isinstance(schema, dict) else schema


def _reachable(schema: Schema) -> Schema:
    """Without definitions that nothing refers to."""
    definitions = _of(schema, "$defs")
    body = {key: value for key, value in schema.items() if key != "$defs"}
    kept: dict[str, Json] = {}
    waiting = list(_references(body))
    while waiting:
        name = waiting.pop()
        if name not in kept and name in definitions:
            kept[name] = definitions[name]
            waiting.extend(_references(definitions[name]))
    return {**body, "$defs": {name: kept[name] for name in sorted(kept)}}


def _references(value: Json) -> Iterator[str]:
    match value:
        case dict():
            for key, inner in value.items():
                if key == "$ref" and isinstance(inner, str):
                    yield inner.removeprefix("#/$defs/")
                else:
                    yield from _references(inner)
        case list():
            for inner in value:
                yield from _references(inner)


def _of(schema: Schema, key: str) -> Schema:
    """The part under ``key``, which is a mapping."""
    return cast("Schema", schema[key])
