"""Where good rows are taken from, and which: a copy of the database beside the live one, tables, predicates.

Owns :class:`Source`, :class:`RowsInputs` (what comparing and merging have in common), the look at both databases, and the copying
of a table's rows into a transaction on the live one. Promises: both sides spell values the same, whatever their settings; rows
that a policy would hide are an error on either side; the live database is never taken for its own copy (E680).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field

from runbook.action import Inputs, Look, Scope
from runbook.actions.postgres.drift import refuse_unfit
from runbook.actions.postgres.tables import UNSEEN, Table, read_table
from runbook.errors import Problem, Refused
from runbook.operation import Connection, CopyRows, Name, Statement, sql
from runbook.quoting import identifier, literal
from runbook.system import Postgres

EVERY = "*"
_SETTINGS = """\
SELECT count(set_config(name, value, true)) FROM (VALUES ('row_security', 'off'), ('datestyle', 'ISO, YMD'), \
('intervalstyle', 'postgres'), ('timezone', 'UTC'), ('extra_float_digits', '3'), ('bytea_output', 'hex'), \
('lc_monetary', 'C'), ('xmloption', 'content')) AS setting(name, value)"""
_WHO = sql(
    "SELECT (SELECT system_identifier::text FROM pg_control_system()) AS cluster, oid::bigint AS oid, "
    "pg_postmaster_start_time()::text AS since FROM pg_database WHERE datname = current_database()"
)


class Source(BaseModel):
    """The database with the good rows; what isn't given is as for the live one."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    database: str = Field(min_length=1, description="Its name: what postgres.restore_beside made")
    address: str = Field(default="", description="Host name, address or socket directory of a cluster of its own")
    port: int = Field(default=0, ge=0, le=65535, description="The port of a cluster of its own")
    user: str = Field(default="", description="The role to read with")


class RowsInputs(Inputs):
    """Which rows, from where."""

    source: Source = Field(description="The database with the good rows: {database, address, port, user}")
    tables: tuple[str, ...] = Field(
        min_length=1, description="The tables, as SQL names them: public.users; referenced ones may come in any order"
    )
    where: dict[str, str] = Field(
        default_factory=dict,
        description="Which rows of a table: a condition in SQL by table, or for every other one by '*'; trusted, and shown",
    )
    database: str = Field(default="", description="The live database; default: the system's own")

    def predicates(self, tables: tuple[Table, ...]) -> Mapping[str, str]:
        """The condition for rows of each table (as :func:`read_tables` gave them), as text of a statement."""
        found = {}
        for asked, table in zip(self.tables, tables, strict=True):
            written = self.where.get(asked, self.where.get(table.shown, self.where.get(EVERY, "")))
            text = written.strip().removesuffix(";")
            found[table.shown] = plain(f"(\n{text}\n)") if text else "true"
        return found


def live(system: Postgres, inputs: RowsInputs, scope: Scope) -> Connection:
    """The live database."""
    return system.connection(application=scope.application, database=inputs.database)


def side(system: Postgres, inputs: RowsInputs, scope: Scope) -> Connection:
    """The database with the good rows."""
    source = inputs.source
    base = system.connection(application=scope.application, database=source.database, user=source.user)
    return replace(base, address=source.address or base.address, port=source.port or base.port)


def read_tables(look: Look, system: Postgres, inputs: RowsInputs, scope: Scope) -> tuple[Table, ...]:
    """The tables in the order in which they are named, each there on both sides and built the same; else exit 4."""
    here, there = live(system, inputs, scope), side(system, inputs, scope)
    if look.query(here, _WHO) == look.query(there, _WHO):
        raise Refused(
            Problem(
                "E680",
                "the source is the live database itself",
                f"{inputs.source.database} is where rows are missing: nothing can be taken from it.",
                "Restore a backup beside it (postgres.restore_beside), and name that database.",
            )
        )
    found: dict[str, Table] = {}
    for asked in inputs.tables:
        table = read_table(look, here, asked)
        copy = read_table(look, there, f"{table.quoted}" if table else asked)
        table = refuse_unfit(table, copy, asked)
        if table.shown in found:
            detail = f"`tables` names {table.shown} twice."
            raise Refused(Problem("E681", "a table can't be compared", detail, "Name it once."))
        found[table.shown] = table
    _refuse_unknown(inputs, found)
    return tuple(found.values())


def _refuse_unknown(inputs: RowsInputs, found: Mapping[str, Table]) -> None:
    unknown = sorted(name for name in inputs.where if name not in (EVERY, *inputs.tables, *found))
    if unknown:
        detail = f"`where` has a condition for {', '.join(unknown)}, which `tables` doesn't name."
        raise Refused(
            Problem("E681", "a table can't be compared", detail, "Name it in `tables`, or take it out of `where`.")
        )


def same_spelling() -> Statement:
    """Settings of a transaction in which values are read as text: the same on both sides."""
    return sql(_SETTINGS)


def temporary(number: int) -> str:
    """The name of the table that takes the copy of the table of that number (from 1)."""
    return f"rb_copy_{number}"


def copied(
    number: int,
    query: str,
    columns: tuple[str, ...],
    *,
    session: str,
    source: Connection,
    target: Connection,
    reads: bool,
) -> CopyRows:
    """Rows of the source into the temporary table of that number, within the session's transaction."""
    return CopyRows(
        name=f"copy_{number}",
        source=source,
        query=sql(query),
        connection=target,
        session=session,
        table=Name(temporary(number)),
        columns=tuple(Name(column) for column in columns),
        before=(sql("BEGIN READ ONLY"), same_spelling()),
        reads=reads,
    )


def plain(text: str) -> str:
    """Text as it is put into a statement whose braces stand for parts."""
    return text.replace("{", "{{").replace("}", "}}")


def listed(columns: tuple[str, ...], alias: str = "") -> str:
    """Columns as SQL lists them."""
    return plain(", ".join(f"{alias}.{identifier(column)}" if alias else identifier(column) for column in columns))


def same(columns: tuple[str, ...], one: str, other: str) -> str:
    """That the columns of two aliases are equal."""
    return plain(" AND ".join(f"{one}.{identifier(c)} = {other}.{identifier(c)}" for c in columns))


def taken(table: Table, alias: str) -> str:
    """That another row of the live table has what has to be unique in the row of the alias: it can't be put back."""
    if UNSEEN in table.key:
        return "<whether a unique value is taken>"
    found = (
        f"EXISTS (SELECT FROM {plain(table.rows)} AS o WHERE {same(columns, 'o', alias)})" for columns in table.uniques
    )
    return f"({' OR '.join(found)})" if table.uniques else "false"


def key_of(table: Table, alias: str = "") -> str:
    """The row's key as a JSON object."""
    of = f"{alias}." if alias else ""
    return plain(f"jsonb_build_object({', '.join(f'{literal(c)}, {of}{identifier(c)}' for c in table.key)})")
