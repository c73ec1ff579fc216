"""Tables whose rows are compared and merged: what is known of each.

Owns :class:`Table` and how it is read from a database, one look a table. Promises: names that come from a server are quoted
wherever they are used; a table whose rows a policy would hide is refused (E685), since they would count as deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from pydantic import TypeAdapter

from runbook.action import Look
from runbook.errors import Problem, Refused
from runbook.operation import Connection, Scalar, sql
from runbook.quoting import identifier

_TABLE = """
SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind, row_security_active(c.oid)::int AS hidden,
 (SELECT coalesce(json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
    'generated', a.attgenerated <> '') ORDER BY a.attnum), '[]')
  FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)::text AS columns,
 (SELECT coalesce(json_agg(json_build_object('columns', k.columns, 'key', k.required)
    ORDER BY x.indisprimary DESC, i.relname), '[]')
  FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid,
   LATERAL (SELECT json_agg(a.attname ORDER BY u.n) AS columns, bool_and(a.attnotnull) AS required
            FROM unnest(x.indkey) WITH ORDINALITY AS u(attnum, n)
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.attnum WHERE u.n <= x.indnkeyatts) AS k
  WHERE x.indrelid = c.oid AND x.indisunique AND x.indisvalid AND x.indpred IS NULL AND x.indexprs IS NULL)::text AS uniques,
 (SELECT coalesce(json_agg(json_build_object('name', f.conname, 'table', fn.nspname || '.' || fc.relname,
    'deferrable', f.condeferrable) ORDER BY f.conname), '[]')
  FROM pg_constraint f JOIN pg_class fc ON fc.oid = f.confrelid JOIN pg_namespace fn ON fn.oid = fc.relnamespace
  WHERE f.contype = 'f' AND f.conrelid = c.oid)::text AS foreign_keys,
 (SELECT coalesce(json_agg(DISTINCT fn.nspname || '.' || fc.relname), '[]')
  FROM pg_constraint f JOIN pg_class fc ON fc.oid = f.conrelid JOIN pg_namespace fn ON fn.oid = fc.relnamespace
  WHERE f.contype = 'f' AND f.confrelid = c.oid AND f.confdeltype IN ('c', 'n', 'd') AND f.conparentid = 0)::text AS followers,
 (SELECT coalesce(json_agg(json_build_object('name', t.tgname, 'schema', tn.nspname, 'table', tc.relname,
    'always', t.tgenabled = 'A') ORDER BY tc.relname, t.tgname), '[]')
  FROM pg_trigger t JOIN pg_class tc ON tc.oid = t.tgrelid JOIN pg_namespace tn ON tn.oid = tc.relnamespace
  WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & 4 <> 0 AND t.tgparentid = 0
  AND (t.tgrelid = c.oid OR t.tgrelid IN (SELECT relid FROM pg_partition_tree(c.oid))))::text AS triggers,
 (SELECT coalesce(json_agg(DISTINCT jsonb_build_object('column', a.attname, 'schema', sn.nspname, 'name', s.relname)), '[]')
  FROM pg_attribute a JOIN pg_class s ON s.relkind = 'S' JOIN pg_namespace sn ON sn.oid = s.relnamespace
  JOIN pg_sequence q ON q.seqrelid = s.oid AND q.seqincrement > 0
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) AND (
   EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = s.oid
    AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i'))
   OR EXISTS (SELECT FROM pg_attrdef v JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = v.oid
    WHERE v.adrelid = c.oid AND v.adnum = a.attnum AND d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid)))::text
  AS sequences
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass({table})
"""
_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence", "i": "an index"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column; ``type`` as SQL writes it. A ``generated`` one is computed from others, and can't be given."""

    name: str
    type: str
    generated: bool = False


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A reference to ``table`` (``public.users``)."""

    name: str
    table: str
    deferrable: bool = False


@dataclass(frozen=True, slots=True)
class Trigger:
    """A user's trigger that an INSERT fires, on the table or on a partition of it. ``always``: also on replicas."""

    name: str
    schema: str
    table: str
    always: bool = False

    @property
    def shown(self) -> str:
        """``audit on public.users``."""
        return f"{self.name} on {self.schema}.{self.table}"

    @property
    def on(self) -> str:
        """Its table as SQL writes it."""
        return f"{identifier(self.schema)}.{identifier(self.table)}"


@dataclass(frozen=True, slots=True)
class Numbering:
    """A sequence that gives a column its values."""

    column: str
    schema: str
    name: str

    @property
    def quoted(self) -> str:
        """The name as SQL writes it."""
        return f"{identifier(self.schema)}.{identifier(self.name)}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table. ``key``: the columns by which a row is known; ``uniques``: other columns that must be unique together.

    ``followers`` are tables whose rows a deletion here deletes or alters (ON DELETE CASCADE, SET NULL, SET DEFAULT).
    """

    schema: str
    name: str
    partitioned: bool
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    uniques: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    followers: tuple[str, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    sequences: tuple[Numbering, ...] = ()

    @property
    def shown(self) -> str:
        """The name as a person writes it: ``public.users``."""
        return f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        """The name as SQL writes it."""
        return f"{identifier(self.schema)}.{identifier(self.name)}"

    @property
    def rows(self) -> str:
        """The name where its rows are read: without those of tables that inherit from it, but with partitions."""
        return self.quoted if self.partitioned else f"ONLY {self.quoted}"

    @property
    def given(self) -> tuple[str, ...]:
        """The columns that a row is made of: all but the generated ones."""
        return tuple(column.name for column in self.columns if not column.generated)


def read_table(look: Look, connection: Connection, table: str) -> Table | None:
    """The table of that name (as SQL writes it; without a schema by the search path), or None. Refuses what has no rows to give."""
    found = look.query(connection, sql(_TABLE, table=table))
    if not found:
        return None
    row = found[0]
    shown = f"{row['schema']}.{row['name']}"
    if row["kind"] not in ("r", "p"):
        what = _KINDS.get(str(row["kind"]), "no table")
        raise Refused(Problem("E681", "a table can't be compared", f"{shown} is {what}.", "Name the tables below it."))
    if row["hidden"]:
        raise Refused(_hidden(connection, shown))
    uniques = _parsed(tuple[_Unique, ...], row["uniques"])
    key = next((one.columns for one in uniques if one.key), ())
    return Table(
        schema=str(row["schema"]),
        name=str(row["name"]),
        partitioned=row["kind"] == "p",
        columns=_parsed(tuple[Column, ...], row["columns"]),
        key=key,
        uniques=tuple(one.columns for one in uniques if one.columns != key),
        foreign_keys=_parsed(tuple[ForeignKey, ...], row["foreign_keys"]),
        followers=_parsed(tuple[str, ...], row["followers"]),
        triggers=_parsed(tuple[Trigger, ...], row["triggers"]),
        sequences=_parsed(tuple[Numbering, ...], row["sequences"]),
    )


UNSEEN = "…"
"""The name of the columns of a table that wasn't looked at."""


def unseen(table: str) -> Table:
    """A table that wasn't looked at, for what is shown without a look: its columns, and what numbers them, are an ellipsis."""
    schema, _, name = table.rpartition(".")
    column = Column(UNSEEN, "")
    counter = Numbering(column.name, schema or "public", column.name)
    return Table(
        schema or "public", name, partitioned=False, columns=(column,), key=(column.name,), sequences=(counter,)
    )


@dataclass(frozen=True, slots=True)
class _Unique:
    columns: tuple[str, ...]
    key: bool
    """Whether none of them may be null."""


T = TypeVar("T")


def _parsed(form: type[T], text: Scalar) -> T:
    return TypeAdapter(form).validate_json(str(text))


def _hidden(connection: Connection, shown: str) -> Problem:
    return Problem(
        "E685",
        "a policy hides rows",
        f"{shown} has row security, and {connection.user} doesn't bypass it: rows that are hidden would count as deleted.",
        "Use a role with BYPASSRLS, or the table's owner where the policies aren't forced on it.",
    )
