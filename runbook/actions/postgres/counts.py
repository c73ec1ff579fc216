"""Rows per table: counted in one statement, recorded as JSON lines, compared with a record.

Owns the query and the record's form ``{"table": "public.users", "rows": 12}``. Tables are named as SQL writes them (quoted where
needed). Counted are ordinary tables and partitions; not temporary ones, nor those that an extension owns, which a dump leaves out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import cast

from runbook.artifact import Artifact
from runbook.errors import Problem, Refused
from runbook.operation import Statement, sql
from runbook.placeholder import stand_for

LONGEST_RECORD = 1024 * 1024
"""Bytes of a record beside a dump that are read whole: the rows of some ten thousand tables, the roles of thousands."""

# There is no dynamic SQL in a plain query: ts_stat runs a query that it is given as text, in the caller's own snapshot, and is
# in every build of the server (query_to_xml is not where libxml was left out).
_COUNTED = """\
SELECT format('%I.%I', n.nspname, c.relname) AS "table", (SELECT word::bigint FROM ts_stat(format(
'SELECT array_to_tsvector(ARRAY[count(*)::text]) FROM ONLY %I.%I', n.nspname, c.relname))) AS rows
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"""


@dataclass(frozen=True, slots=True)
class Count:
    """A table and its rows."""

    table: str
    rows: int


def counting() -> Statement:
    """A row per table: ``table``, ``rows``."""
    return sql(f"{_COUNTED} ORDER BY 1")


def parse(text: str, path: str) -> tuple[Count, ...]:
    """The counts of a record; refuses (exit 4) what is none."""
    try:
        lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        return tuple(Count(str(line["table"]), int(line["rows"])) for line in lines)
    except (ValueError, KeyError, TypeError):
        raise Refused(
            Problem(
                "E631",
                "a record of row counts can't be read",
                f"{path} is not JSON lines of {{table, rows}}.",
                "Check with queries, or use another backup.",
            )
        ) from None


def unread(dump: Artifact) -> tuple[Count, ...]:
    """The counts of a dump that nobody has opened yet, as a dry-run assumes them: what it has stands in a placeholder."""
    name = dump.manifest.counts if dump.manifest else ""
    rows = cast("int", stand_for(f"rows, from {name}"))  # whoever reckons with it gets a TypeError
    return (Count(stand_for(f"tables, from {name}"), rows),) if name else ()


def chosen(counts: tuple[Count, ...], patterns: tuple[str, ...]) -> tuple[Count, ...]:
    """Those whose table matches one of the patterns (``public.*``); all where there are none."""
    return tuple(c for c in counts if not patterns or any(fnmatchcase(c.table, pattern) for pattern in patterns))


def compared(counts: tuple[Count, ...], *, exact: bool) -> Statement:
    """One row: ``tables`` compared, how many are ``wrong`` (missing, fewer rows; ``exact``: any other number), ``which`` (20)."""
    expected = json.dumps([{"table": c.table, "rows": c.rows} for c in counts], ensure_ascii=False)
    wrong = "IS DISTINCT FROM e.rows" if exact else "< e.rows"
    query = f"""\
WITH expected AS (SELECT * FROM jsonb_to_recordset({{expected}}::jsonb) AS e("table" text, rows bigint)),
found AS ({_COUNTED}),
wrong AS (SELECT e."table", e.rows AS expected, f.rows AS found FROM expected e LEFT JOIN found f USING ("table")
WHERE f.rows IS NULL OR f.rows {wrong}),
named AS (SELECT format('%s: %s, expected %s', "table", coalesce(found || ' rows', 'no such table'), expected) AS text
FROM wrong ORDER BY "table" LIMIT 20)
SELECT (SELECT count(*) FROM expected) AS tables, (SELECT count(*) FROM wrong) AS wrong,
coalesce((SELECT string_agg(text, '; ') FROM named), '') AS which"""  # noqa: S608 - the parts are this module's own
    return sql(query, expected=expected)
