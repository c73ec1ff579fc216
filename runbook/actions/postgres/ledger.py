"""What a database itself remembers of runs: transactions of steps that were committed in it, and the keys that they put back.

Owns the schema ``runbook`` with its two tables. A row of ``ledger`` is the first statement of a step's transaction: it is there if
and only if the transaction was committed, whatever became of the answer, and it goes where the database goes. ``merged`` has the
keys of rows that were put back, so that exactly those can be taken away again.
"""

from __future__ import annotations

from dataclasses import dataclass

from runbook.action import Look, Scope
from runbook.operation import Connection, Sql, Statement, sql

_THERE = sql(
    "SELECT count(to_regclass(name))::int AS there FROM unnest(ARRAY['runbook.ledger', 'runbook.merged']) AS name"
)
_MADE = (
    sql("CREATE SCHEMA IF NOT EXISTS runbook"),
    sql(
        "CREATE TABLE IF NOT EXISTS runbook.ledger (run text, step text, at timestamptz NOT NULL DEFAULT now(), "
        "PRIMARY KEY (run, step))"
    ),
    sql(
        "CREATE TABLE IF NOT EXISTS runbook.merged "
        "(run text NOT NULL, step text NOT NULL, relation text NOT NULL, key jsonb NOT NULL)"
    ),
)
_WRITTEN = "SELECT at::text AS at FROM runbook.ledger WHERE run = {run} AND step = {step}"
_KEPT = (
    "SELECT relation, count(*) AS rows FROM runbook.merged WHERE run = {run} AND step = {step} GROUP BY 1 ORDER BY 1"
)


@dataclass(frozen=True, slots=True)
class Ledger:
    """As seen: whether its tables are there, and when the step's transaction was committed ("" = it wasn't)."""

    run: str
    step: str
    made: bool = False
    at: str = ""


def read_ledger(look: Look, connection: Connection, scope: Scope) -> Ledger:
    """What the database remembers of the step."""
    if look.query(connection, _THERE)[0]["there"] != 2:
        return Ledger(scope.run, scope.step)
    rows = look.query(connection, sql(_WRITTEN, run=scope.run, step=scope.step))
    return Ledger(scope.run, scope.step, made=True, at=str(rows[0]["at"]) if rows else "")


def read_merged(look: Look, connection: Connection, of: Ledger) -> dict[str, int]:
    """How many rows the step put back, by table."""
    rows = look.query(connection, sql(_KEPT, run=of.run, step=of.step))
    return {str(row["relation"]): int(row["rows"] or 0) for row in rows}


def make(connection: Connection) -> Sql:
    """The schema and its tables; nothing where they are there."""
    return Sql(name="ledger", connection=connection, statements=_MADE)


def written(scope: Scope) -> Statement:
    """The ledger's row: the first statement of the step's transaction. A second one of the same step breaks on its key."""
    return sql("INSERT INTO runbook.ledger (run, step) VALUES ({run}, {step})", run=scope.run, step=scope.step)
