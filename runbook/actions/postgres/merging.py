"""The transaction that puts rows back, and the one that takes them away again.

Owns the session of ``postgres.merge_rows``, statement by statement. Promises: the ledger's row comes first; the tables are locked
against writers before anything is counted, so that what was counted is what is put in; what is wrong is found before the COMMIT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runbook.action import Scope
from runbook.actions.postgres import ledger
from runbook.actions.postgres.filling import Order, in_order
from runbook.actions.postgres.row_source import copied, key_of, listed, plain, same, same_spelling, taken, temporary
from runbook.actions.postgres.tables import Numbering, Table, Trigger
from runbook.operation import (
    Condition,
    Connection,
    Operation,
    Operations,
    Session,
    Sql,
    Statement,
    Test,
    Transaction,
    sql,
)
from runbook.placeholder import Placeholder
from runbook.quoting import LONGEST_NAME, identifier

SESSION = "merge"
LOCK_WITHIN = "30s"
"""How long writers of a table are waited for; others queue behind the wait."""


@dataclass(frozen=True, slots=True)
class Merge:
    """What is put back. ``predicates`` by table as text of a statement; ``expected`` rows by table, None = not known."""

    tables: tuple[Table, ...]
    predicates: Mapping[str, str]
    expected: Mapping[str, int] | Placeholder | None
    at_most: int
    skip_triggers: bool


def session(merge: Merge, live: Connection, side: Connection, scope: Scope) -> Session:
    """The whole transaction."""
    order = in_order(merge.tables)
    body: list[Operation] = []
    for number, table in enumerate(order.tables, start=1):
        rows = f"SELECT {listed(table.given)} FROM {plain(table.rows)} WHERE {merge.predicates[table.shown]}"  # noqa: S608 - quoted
        body.append(copied(number, rows, table.given, session=SESSION, source=side, target=live, reads=False))
        body.append(_put(number, table, merge, live, scope))
    body.append(_settled(order, merge, live, scope))
    begin = _begin(order, merge, scope)
    return Session(name=SESSION, connection=live, begin=begin, body=tuple(body), end=(sql("COMMIT"),))


def _begin(order: Order, merge: Merge, scope: Scope) -> tuple[Statement, ...]:
    locked = ", ".join(plain(table.rows) for table in order.tables)
    lock = (sql(f"LOCK TABLE {locked} IN SHARE ROW EXCLUSIVE MODE"),) if locked else ()
    return (
        sql("BEGIN"),
        ledger.written(scope),
        same_spelling(),
        sql("SET LOCAL lock_timeout = {within}", within=LOCK_WITHIN),
        *lock,
        *((sql("SET CONSTRAINTS ALL DEFERRED"),) if order.deferred else ()),
        *(_switched(trigger, "DISABLE") for trigger in _skipped(order, merge)),
        *(_made(number, table) for number, table in enumerate(order.tables, start=1)),
    )


def _skipped(order: Order, merge: Merge) -> tuple[Trigger, ...]:
    return tuple(t for table in order.tables for t in table.triggers) if merge.skip_triggers else ()


def _switched(trigger: Trigger, how: str) -> Statement:
    return sql(f"ALTER TABLE {plain(trigger.on)} {how} TRIGGER {plain(identifier(trigger.name))}")


def _made(number: int, table: Table) -> Statement:
    chosen = f"SELECT {listed(table.given)} FROM {plain(table.rows)} WITH NO DATA"  # noqa: S608 - quoted
    return sql(f"CREATE TEMP TABLE {temporary(number)} ON COMMIT DROP AS {chosen}")


def _put(number: int, table: Table, merge: Merge, live: Connection, scope: Scope) -> Sql:
    """Put in what is missing, and keep the keys. Result: rows put back, and those that something else kept out."""
    back, out = _field(table, "put back"), _field(table, "kept out")
    columns, copy, rows = listed(table.given), temporary(number), plain(table.rows)
    there = f"EXISTS (SELECT FROM {rows} AS l WHERE {same(table.key, 'l', 's')})"
    text = f"""\
WITH missing AS MATERIALIZED (SELECT {listed(table.given, "s")} FROM {copy} AS s WHERE NOT {there} AND NOT {taken(table, "s")}),
put AS (INSERT INTO {plain(table.quoted)} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM missing
ON CONFLICT DO NOTHING RETURNING {key_of(table)} AS key),
kept AS (INSERT INTO runbook.merged (run, step, relation, key) SELECT {{run}}, {{step}}, {{relation}}, key FROM put RETURNING 1)
SELECT (SELECT count(*) FROM kept) AS {plain(identifier(back))},
(SELECT count(*) FROM missing) - (SELECT count(*) FROM kept) AS {plain(identifier(out))}"""  # noqa: S608
    expect = [Condition(out, Test.EQUALS, 0)]
    if merge.expected is not None:
        expect.append(Condition(back, Test.EQUALS, _wanted(merge.expected, table)))
    return Sql(
        name=f"put_{number}",
        connection=live,
        statements=(sql(f"ANALYZE {copy}"), sql(text, run=scope.run, step=scope.step, relation=table.shown)),
        transaction=Transaction.AUTOCOMMIT,
        session=SESSION,
        expect=tuple(expect),
    )


def _field(table: Table, what: str) -> str:
    """A column of the result by which a failure says what it is about."""
    name = f"{table.name} {what}"
    return name if len(name.encode()) <= LONGEST_NAME else what


def _wanted(expected: Mapping[str, int] | Placeholder, table: Table) -> int | str:
    """How many rows of the table; in a dry-run, where that comes from."""
    return expected.below(table.shown) if isinstance(expected, Placeholder) else expected.get(table.shown, 0)


def _settled(order: Order, merge: Merge, live: Connection, scope: Scope) -> Sql:
    """What has to be right before the end: sequences, triggers on again, references, the sum."""
    forward = (
        _forward(number, table, numbering, scope)
        for number, table in enumerate(order.tables, start=1)
        for numbering in table.sequences
    )
    again = (_switched(t, "ENABLE ALWAYS" if t.always else "ENABLE") for t in _skipped(order, merge))
    count = 'SELECT count(*) AS "rows put back" FROM runbook.merged WHERE run = {run} AND step = {step}'
    return Sql(
        name="settle",
        connection=live,
        statements=(
            *forward,
            sql(
                "SET CONSTRAINTS ALL IMMEDIATE"
            ),  # references are checked now; before the triggers' table is altered again
            *again,
            sql(count, run=scope.run, step=scope.step),
        ),
        transaction=Transaction.AUTOCOMMIT,
        session=SESSION,
        expect=(Condition("rows put back", Test.AT_MOST, merge.at_most),),
    )


def _forward(number: int, table: Table, numbering: Numbering, scope: Scope) -> Statement:
    """A sequence that stands before a number that came back goes past it; never backwards. It stays there after a rollback."""
    column, sequence = plain(identifier(numbering.column)), plain(numbering.quoted)
    text = f"""\
SELECT setval({{sequence}}::regclass, top.number) AS moved
FROM (SELECT max(s.{column})::bigint AS number FROM {temporary(number)} AS s JOIN runbook.merged AS m
ON m.run = {{run}} AND m.step = {{step}} AND m.relation = {{relation}} AND m.key = {key_of(table, "s")}) AS top,
{sequence} AS now WHERE top.number > now.last_value OR (top.number = now.last_value AND NOT now.is_called)"""  # noqa: S608 - quoted
    return sql(text, sequence=numbering.quoted, run=scope.run, step=scope.step, relation=table.shown)


def undo(tables: tuple[Table, ...], live: Connection, scope: Scope) -> Operations:
    """Delete the rows that were put back, by the keys that were kept; the ledger's row stays, so that they don't come again."""
    mine = {"run": scope.run, "step": scope.step}
    deleted = []
    for table in reversed(in_order(tables).tables):
        text = (
            f"DELETE FROM {plain(table.rows)} AS t USING runbook.merged AS m WHERE m.run = {{run}} AND m.step = {{step}} "  # noqa: S608
            f"AND m.relation = {{relation}} AND m.key = {key_of(table, 't')}"
        )
        deleted.append(sql(text, **mine, relation=table.shown))
    forget = sql("DELETE FROM runbook.merged WHERE run = {run} AND step = {step}", **mine)
    return (Sql(name="take_away", connection=live, statements=(same_spelling(), *deleted, forget)),)
