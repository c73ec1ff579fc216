"""Late values: an argument that an earlier operation of the step gave, put in where it is used.

Owns the resolution of :class:`~runbook.operation.Ref` in arguments and documents. Pure: secrets are put in by a function that
the transport gives. Promises: a reference that names no result is a broken invariant, never an empty text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias

from runbook.errors import Bug
from runbook.operation import Arg, Document, DocumentValue, Fields, Json, JsonText, Ref, Scalar
from runbook.secret import FromAws, FromCommand, FromEnv, FromEscrow, FromFile, SecretRef

Results: TypeAlias = Mapping[str, Fields]
"""What earlier operations of the step gave, by operation name."""


def resolve(value: Scalar | Ref, results: Results) -> Scalar:
    """The value itself, or what the reference stands for."""
    if not isinstance(value, Ref):
        return value
    fields = results.get(value.operation)
    if fields is None or value.field not in fields:
        known = ", ".join(sorted(fields)) if fields else "no such operation"
        raise Bug(f"{value} names no result of an earlier operation ({known}).")
    return fields[value.field]


def text(value: Arg, results: Results) -> str:
    """An argument as text; a number or truth value in its JSON form."""
    return scalar_text(resolve(value, results))


def scalar_text(value: Scalar) -> str:
    """``true``, ``false``, ``null``, a number's digits, or the text."""
    return value if isinstance(value, str) else json.dumps(value)


def document(value: DocumentValue, results: Results, reveal: Callable[[SecretRef], str]) -> Json:
    """A document as JSON, with late values and secrets in their places."""
    match value:
        case Document(items):
            return {key: document(item, results, reveal) for key, item in items}
        case tuple():
            return [document(item, results, reveal) for item in value]
        case Ref():
            return resolve(value, results)
        case JsonText(ref):
            return _parsed(ref, resolve(ref, results))
        case FromEnv() | FromFile() | FromCommand() | FromAws() | FromEscrow():
            return reveal(value)
        case _:
            return value


def _parsed(ref: Ref, value: Scalar) -> Json:
    if not isinstance(value, str):
        return value
    try:
        parsed: Json = json.loads(value)
    except ValueError:
        raise Bug(f"{ref} was planned as JSON, and is not.") from None
    return parsed
