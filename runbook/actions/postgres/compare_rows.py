"""Comparing tables with a copy of them: which rows are missing, which differ, by key."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from runbook.action import Action, Done, Effect, Interrupted, Look, Outputs, Scope, current
from runbook.actions.postgres.filling import followers
from runbook.actions.postgres.row_source import (
    RowsInputs,
    copied,
    listed,
    live,
    plain,
    read_tables,
    same,
    same_spelling,
    side,
    taken,
    temporary,
)
from runbook.actions.postgres.tables import Table, unseen
from runbook.operation import Connection, Operation, Operations, Session, Sql, Statement, Transaction, sql
from runbook.quoting import identifier, visible
from runbook.system import Postgres

HASH = "rb_row_sha256"
"""The column of the temporary table that holds the hash of a whole row."""
LONGEST_KEY = 100
"""Characters of a key's column that a sample shows."""


class CompareRowsInputs(RowsInputs):
    """What is compared."""

    sample: int = Field(default=10, ge=0, le=50, description="How many keys of each kind are shown")


@dataclass(frozen=True, slots=True)
class CompareRowsFacts:
    """The tables as both databases have them."""

    tables: tuple[Table, ...] = current()


class Compared(BaseModel):
    """One table. Rows of the copy are missing, blocked, different or the same; keys are a sample."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    table: str = Field(description="The table, with its schema")
    in_copy: int = Field(description="Rows of the copy")
    missing: int = Field(description="In the copy, not in the live table: what a merge brings back")
    blocked: int = Field(description="Missing, but another row has by now what must be unique: stays away")
    different: int = Field(description="In both with the same key, changed since: stays as it is")
    same: int = Field(description="Equal in both")
    only_live: int = Field(description="In the live table only: written since, and stays")
    missing_keys: tuple[dict[str, JsonValue], ...] = Field(description="Keys of missing rows, the lowest first")
    blocked_keys: tuple[dict[str, JsonValue], ...] = Field(description="Keys of blocked rows")
    different_keys: tuple[dict[str, JsonValue], ...] = Field(description="Keys of rows that differ")


class ComparedRows(Outputs):
    """What was found."""

    tables: tuple[Compared, ...] = Field(description="Each table")
    missing: dict[str, int] = Field(description="Rows that a merge brings back, by table: what `expected` takes")
    total: int = Field(description="All rows that a merge brings back")
    conflicts: int = Field(description="Rows that differ or are blocked: left to a person")
    followers: tuple[str, ...] = Field(
        description="Tables that weren't compared, and whose rows a deletion here deletes or alters"
    )
    summary: str = Field(description="The same in a few lines")


class CompareRows(Action[Postgres, CompareRowsInputs, CompareRowsFacts, ComparedRows]):
    """Compare tables with a copy of them, row by row: the preview of `postgres.merge_rows`.

    The copy is a database of its own, restored from a backup: in the same cluster (`postgres.restore_beside`) or in one beside it
    (`address`, `port`). By primary key, or a unique index over columns that are never null, each row of the copy is missing in the
    live table, different there, or the same. A missing row need not be an accident: what users deleted rightly since the backup is
    missing too. `where` chooses the rows; the sample of keys is for a person to look at.

    Keys and hashes of the copy's rows go through a temporary table on the live server, in a transaction of one moment that is
    rolled back: nothing is written, whatever the tables' size takes no memory here, and the disk there holds some 100 bytes a row
    for the while. Refused: a table that is missing on a side or built differently, has no key, or hides rows by a policy.
    """

    effect = Effect.READS
    interrupted = Interrupted.REPEATABLE
    example = """\
- id: compare
  title: See which rows are missing
  uses: postgres.compare_rows
  on: db
  with:
    source: {database: "{{ steps.recover.database }}"}
    tables: [public.users, public.orders]
    where: {public.orders: "created_at < '2026-02-14'"}
  timeout: 15m
"""

    def observe(self, look: Look, system: Postgres, inputs: CompareRowsInputs, scope: Scope) -> CompareRowsFacts:
        """How the tables are built, on both sides."""
        return CompareRowsFacts(read_tables(look, system, inputs, scope))

    def assume(self, system: Postgres, inputs: CompareRowsInputs, scope: Scope) -> CompareRowsFacts:
        """The tables by name; how they are built isn't known."""
        return CompareRowsFacts(tuple(map(unseen, inputs.tables)))

    def plan(self, system: Postgres, inputs: CompareRowsInputs, facts: CompareRowsFacts, scope: Scope) -> Operations:
        """One session: copies of keys and hashes, and a look at each."""
        here, there = live(system, inputs, scope), side(system, inputs, scope)
        predicates = inputs.predicates(facts.tables)
        made: list[Statement] = []
        body: list[Operation] = []
        for number, table in enumerate(facts.tables, start=1):
            rows = f"SELECT {_columns(table)} FROM {plain(table.rows)}"  # noqa: S608 - quoted
            made.append(sql(f"CREATE TEMP TABLE {temporary(number)} ON COMMIT DROP AS {rows} WITH NO DATA"))
            chosen = predicates[table.shown]
            names = (*_needed(table), HASH)
            body.append(
                copied(
                    number, f"{rows} WHERE {chosen}", names, session="comparison", source=there, target=here, reads=True
                )
            )
            body.append(_look(number, table, chosen, inputs.sample, connection=here))
        begin = (sql("BEGIN ISOLATION LEVEL REPEATABLE READ"), same_spelling(), *made)
        end = (sql("ROLLBACK"),)
        return (Session(name="comparison", connection=here, begin=begin, body=tuple(body), end=end, reads=True),)

    def verify(
        self, look: Look, system: Postgres, inputs: CompareRowsInputs, done: Done[CompareRowsFacts]
    ) -> ComparedRows:
        """What the looks gave."""
        tables = done.facts.tables
        found = tuple(
            TypeAdapter(Compared).validate_json(str(done.results[f"look_{number}"]["found"]))
            for number in range(1, len(tables) + 1)
        )
        followed = followers(tables)
        return ComparedRows(
            tables=found,
            missing={one.table: one.missing for one in found},
            total=sum(one.missing for one in found),
            conflicts=sum(one.different + one.blocked for one in found),
            followers=followed,
            summary="\n".join([*map(_line, found), *map(_warned, followed)]),
        )


def _needed(table: Table) -> tuple[str, ...]:
    """The key, and what else has to be unique."""
    return tuple(dict.fromkeys((*table.key, *(name for columns in table.uniques for name in columns))))


def _hashed(table: Table) -> str:
    return f"sha256(convert_to(ROW({listed(tuple(sorted(table.given)))})::text, 'UTF8')) AS {HASH}"


def _columns(table: Table) -> str:
    return f"{listed(_needed(table))}, {_hashed(table)}"


def _look(number: int, table: Table, chosen: str, sample: int, *, connection: Connection) -> Sql:
    """One row, one column: what was found, as JSON."""
    copy, rows = temporary(number), plain(table.rows)
    first, key = f"l.{plain(identifier(table.key[0]))}", same(table.key, "l", "s")
    text = f"""\
WITH found AS MATERIALIZED (SELECT {listed(table.key, "s")}, {first} IS NOT NULL AS there,
l.{HASH} IS DISTINCT FROM s.{HASH} AS differs, {first} IS NULL AND {taken(table, "s")} AS blocked
FROM {copy} AS s LEFT JOIN (SELECT {listed(table.key)}, {_hashed(table)} FROM {rows}) AS l ON {key})
SELECT jsonb_build_object('table', {{name}}::text, 'in_copy', count(*),
'missing', count(*) FILTER (WHERE NOT there AND NOT blocked), 'blocked', count(*) FILTER (WHERE blocked),
'different', count(*) FILTER (WHERE there AND differs), 'same', count(*) FILTER (WHERE there AND NOT differs),
'only_live', (SELECT count(*) FROM (SELECT * FROM {rows} WHERE {chosen}) AS l
WHERE NOT EXISTS (SELECT FROM {copy} AS s WHERE {key})),
'missing_keys', {_sample(table, "NOT there AND NOT blocked", sample)},
'blocked_keys', {_sample(table, "blocked", sample)},
'different_keys', {_sample(table, "there AND differs", sample)})::text AS found FROM found"""  # noqa: S608 - quoted
    return Sql(
        name=f"look_{number}",
        connection=connection,
        statements=(sql(f"ANALYZE {copy}"), sql(text, name=table.shown)),
        transaction=Transaction.AUTOCOMMIT,
        session="comparison",
        reads=True,
    )


def _sample(table: Table, condition: str, count: int) -> str:
    cut = plain(", ".join(f"left({identifier(c)}::text, {LONGEST_KEY}) AS {identifier(c)}" for c in table.key))
    chosen = f"SELECT * FROM found WHERE {condition} ORDER BY {listed(table.key)} LIMIT {count}"  # noqa: S608 - quoted
    return f"(SELECT coalesce(jsonb_agg(to_jsonb(k)), '[]') FROM (SELECT {cut} FROM ({chosen}) AS c) AS k)"  # noqa: S608


def _line(one: Compared) -> str:
    shown = visible(", ".join("/".join(str(value) for value in key.values()) for key in one.missing_keys))
    keys = f" ({shown}{', …' if one.missing > len(one.missing_keys) else ''})" if shown else ""
    return (
        f"{one.table}: {one.missing} missing{keys}, {one.different} different, {one.blocked} blocked, "
        f"{one.same} the same, {one.only_live} only in the live table"
    )


def _warned(table: str) -> str:
    return f"{table} was not compared, and deletions here reach it"
