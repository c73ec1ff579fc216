"""Damage to the document service's data, and how to see whether it is whole.

Owns the statements that ruin it and the sums by which a restored copy is compared. Promises: two databases with the same sums
have the same rows, whatever their order; what is ruined is ruined for everybody at once, in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from runbook.sandbox.data import TABLES

if TYPE_CHECKING:
    from runbook.sandbox.postgres import Login

STATEMENTS: tuple[LiteralString, ...] = (
    "DROP TABLE document_embeddings",
    "DELETE FROM documents WHERE id % 10 <> 0",
)
"""A migration that went wrong: a table is gone, and nine of ten documents with their metadata."""


@dataclass(frozen=True, slots=True)
class Sum:
    """A table's rows, and a sum over their contents."""

    rows: int
    digest: str


def ruin(login: Login) -> None:
    """Carry out :data:`STATEMENTS`. psycopg's errors pass through."""
    with login.connect() as connection, connection.transaction():
        for statement in STATEMENTS:
            connection.execute(statement)


def sums(login: Login) -> Mapping[str, Sum]:
    """The tables that are there, each with its sum. psycopg's errors pass through."""
    from psycopg import sql

    found: dict[str, Sum] = {}
    with login.connect() as connection:
        for table in TABLES:
            there = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()
            if there is None or not there[0]:
                continue
            asked = sql.SQL("SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM {} t")
            row = connection.execute(asked.format(sql.Identifier(table))).fetchone()
            if row is not None:
                found[table] = Sum(int(row[0]), str(row[1]))
    return found


def is_whole(found: Mapping[str, Sum]) -> bool:
    """Whether every table is there, and every document has its metadata and its embedding, as when it was filled."""
    rows = {table: one.rows for table, one in found.items()}
    kinds = {rows.get(table) for table in TABLES if table != "users"}
    return set(rows) == set(TABLES) and len(kinds) == 1 and 0 not in kinds


def clear(login: Login) -> None:
    """Drop the tables, so that they can be filled anew."""
    from psycopg import sql

    with login.connect() as connection, connection.transaction():
        for table in TABLES:
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(sql.Identifier(table)))
