"""Operations that are designed and not built: their fields and rules are in ``docs/decisions/operations.md``.

They are written as the operations of ``runbook/operation.py`` are, so that building one is moving it there, giving it a
transport and a line in ``paste.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from runbook.operation import Connection, Operation, Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRows:
    """Rows of a query on one connection into a table of a session, by COPY; binary where the columns' types are the same.

    ``session`` names the enclosing :class:`~runbook.operation.Session`, whose transaction takes the rows. Result: ``rows``,
    ``sha256`` of the stream. Interrupted: the session's end isn't shown, so the whole body counts as not done.
    """

    name: str
    source: Connection
    query: Statement
    session: str
    table: str
    columns: tuple[str, ...]
    reads: bool = False
    owned: bool = False


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
