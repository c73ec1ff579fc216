"""What templates may see of a system, by its type.

Owns the list of public fields. Promises: it is what :meth:`runbook.system.System.public` can give, so secrets, hosts and
headers are never among them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import get_args

from runbook.system import SYSTEMS

_NEVER = ("key", "type", "headers", "name")
_SEEN = (str, int, bool)


@lru_cache
def public_fields(kind: str) -> tuple[str, ...]:
    """The names of the fields of a system of that type that templates may read."""
    fields = SYSTEMS[kind].model_fields
    seen = [name for name, field in fields.items() if name not in _NEVER and _visible(field.annotation)]
    return ("name", "type", *seen)


def _visible(annotation: object) -> bool:
    return annotation in _SEEN or any(branch in _SEEN for branch in get_args(annotation))
