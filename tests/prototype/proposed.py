"""Operations that are designed and not built: their fields and rules are in ``docs/decisions/operations.md``.

They are written as the operations of ``runbook/operation.py`` are, so that building one is moving it there, giving it a
transport and a line in ``paste.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from runbook.operation import Operation


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file of rows beside the journal, made by an observer: JSON lines. ``head`` are its first rows, for a person."""

    path: str
    sha256: str
    rows: int
    head: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Each:
    """The same operation for every row of a sheet; ``Ref("row", COLUMN)`` in the template is the row's value.

    Each item is idempotent. Two journal records in all; how far it is stands in an unsynced progress file, written *after* the
    items that it counts. What is approved is the template and the first sheet: a resumed one is a subset of it.
    """

    name: str
    sheet: Sheet
    template: Operation
    note_every: int = 1000
    reads: bool = False
    owned: bool = False
