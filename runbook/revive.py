"""Operations back from their canonical form: what a resume needs of one that was begun.

Owns :func:`revive`, the inverse of :func:`runbook.operation.canonical` for operations. Promises: ``revive(canonical(o)) == o``; a
form of another version raises ``ValueError``, so that nothing is guessed.
"""

from __future__ import annotations

from dataclasses import is_dataclass
from enum import Enum
from functools import cache
from typing import cast, get_type_hints

from runbook import operation as operations
from runbook import secret as secrets
from runbook.host import parse_host
from runbook.operation import Json, Operation

_CLASSES: dict[str, type] = {
    name: kind for name, kind in vars(operations).items() if isinstance(kind, type) and is_dataclass(kind)
}
_SECRETS: dict[str, type] = {
    kind.__name__: kind
    for kind in (secrets.FromEnv, secrets.FromFile, secrets.FromCommand, secrets.FromAws, secrets.FromEscrow)
}
_HOSTS = frozenset({"host"})


def revive(form: Json) -> Operation:
    """The operation of a canonical form. Raises ``ValueError`` for a form that this version doesn't know."""
    try:
        found = _revive(form)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an operation of this version: {error}") from None
    return cast(Operation, found)


def _revive(form: Json) -> object:
    match form:
        case {"is": str(name), **body}:
            kind = _CLASSES[name]
            hints = _hints(kind)
            fields = {str(key): _field(str(key), hints[str(key)], cast(Json, value)) for key, value in body.items()}
            return kind(**fields)
        case {"secret": str(name), "at": [*at]}:
            return _SECRETS[name](*(_revive(part) for part in at))
        case list():
            return tuple(_revive(part) for part in form)
        case _:
            return form


def _field(key: str, hint: object, value: Json) -> object:
    if key in _HOSTS:
        return parse_host(value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    return _revive(value)


@cache
def _hints(kind: type) -> dict[str, object]:
    return get_type_hints(kind)
