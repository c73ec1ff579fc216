"""The canonical form: frozen data as JSON, the same for equal data.

Owns :func:`canonical`. Digests, approvals and the journal rest on it. Promises: equal values have equal forms; a form is tagged
where a bare one would be ambiguous; of a secret it holds where it is read from, never its value; a field that came later
(:data:`LATER`) is left out where it has its default, so that what was before it keeps its form.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING

from runbook.host import Compose, Docker, Local, Ssh, host_json
from runbook.secret import FromAws, FromCommand, FromEnv, FromEscrow, FromFile
from runbook.value import Json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

LATER = {"later": True}
"""The metadata of a field that a type got after journals had been written with it."""


def canonical(value: object) -> Json:
    """The JSON form of an operation or a part of it. Tagged where a bare form would be ambiguous."""
    match value:
        case None | bool() | int() | float() | str() if not isinstance(value, Enum):
            return value
        case Enum():
            return canonical(value.value)
        case Local() | Docker() | Compose() | Ssh():
            return canonical(host_json(value))
        case FromEnv() | FromFile() | FromCommand() | FromAws() | FromEscrow():
            return {
                "secret": type(value).__name__,
                "at": [canonical(getattr(value, name)) for name in _names(value)],
            }
        case tuple() | list():
            return [canonical(item) for item in value]
        case dict():
            return {str(key): canonical(item) for key, item in value.items()}
        case _ if is_dataclass(value) and not isinstance(value, type):
            body = {name: canonical(getattr(value, name)) for name in _names(value)}
            for name, default in _LATER[type(value)]:
                if body[name] == default:
                    del body[name]
            return {"is": type(value).__name__, **body}
    raise TypeError(f"{type(value).__name__} is not a part of an operation")


_NAMES: dict[type, tuple[str, ...]] = {}
_LATER: dict[type, tuple[tuple[str, object], ...]] = {}


def _names(value: DataclassInstance) -> tuple[str, ...]:
    """The fields of its type, looked up once."""
    kind = type(value)
    if kind not in _NAMES:
        _LATER[kind] = tuple((one.name, one.default) for one in fields(kind) if one.metadata == LATER)
        _NAMES[kind] = tuple(field.name for field in fields(kind))
    return _NAMES[kind]
