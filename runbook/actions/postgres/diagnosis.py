"""What damage is looked for in a database, and how: programs' texts, and what they print.

Owns the statements of ``postgres.diagnose`` and the reading of their answers (:class:`Finding`). Promises: nothing is written (the
sessions are read-only); a table or index that can't be read does not hide the others, nor does a server that ends over one: it is
waited for, and the next object is looked at. Indexes are kept out of the reading of tables, which shows what the tables hold.

Every finding is a line of JSON that the server raises as a notice: ``kind`` (table, index, catalog, checksum, or note for what
was not looked at), ``object``, ``detail``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field

MOST_FINDINGS = 60
"""Lines of each of the two passes; more of them say nothing new to whoever decides."""
LONGEST_DETAIL = 300

OPTIONS = " ".join(
    f"-c {setting}"
    for setting in (
        "default_transaction_read_only=on",
        "client_min_messages=notice",
        "statement_timeout=0",
        "lock_timeout=30s",
        "row_security=off",
        "jit=off",
        "ignore_system_indexes=on",
        "max_parallel_workers_per_gather=0",
        "synchronize_seqscans=off",
        "enable_indexscan=off",
        "enable_indexonlyscan=off",
        "enable_bitmapscan=off",
    )
)
"""PGOPTIONS of the sessions: they write nothing, tell everything, and read tables without their indexes."""

LOOK = r"""
psql=$1 target=$2 catalogs=$3 objects=$4 most=5
ask() {
  "$psql" -X -q -A -t -w "$target" -c "SELECT set_config('rb.after', '$1', false)" -c "$2" 2>&1 >/dev/null | awk '
    /rb:at / { sub(/^.*rb:at /, ""); at = $0; next }
    /rb:done/ { done = 1; next }
    /rb:\{/ { sub(/^.*rb:/, ""); print; next }
    /ERROR|FATAL|PANIC|closed the connection/ { words = $0 }
    NF { last = $0 }
    END {
      if (done) exit
      split(at, place, "|")
      if (words) last = words
      gsub(/[\\"\t]/, " ", last); gsub(/[\\"]/, " ", place[3])
      printf "!%s\n{\"kind\":\"%s\",\"object\":\"%s\",\"detail\":\"%s%s\"}\n", place[1], (at ? place[2] : "catalog"), \
        (at ? place[3] : "the database"), (at ? "the server ended over it: " : "it could not be looked at: "), substr(last, 1, 300)
    }'
}
ask 0 "$catalogs" | grep -v '^!'
after=0
while [ $most -gt 0 ]; do
  said=$(ask "$after" "$objects")
  printf '%s\n' "$said" | grep '^{'
  after=$(printf '%s\n' "$said" | sed -n 's/^!//p')
  [ -n "$after" ] || break
  most=$((most - 1)) waits=60
  until "$psql" -X -q -A -t -w "$target" -c 'SELECT 1' >/dev/null 2>&1 || [ $waits -eq 0 ]; do
    waits=$((waits - 1))
    sleep 1
  done
done
[ $most -gt 0 ] || echo '{"kind":"note","object":"the rest","detail":"the server ended five times: what comes later was not read"}'
exit 0"""
"""Arguments: psql, its connection, the two statements."""

CHECKSUMS = r"""
command -v "$1" >/dev/null 2>&1 || { echo "rb: there is no $1 here (set `binaries` of the system)"; exit 0; }
"$1" --check --pgdata="$2" 2>&1 | head -n 200
exit 0"""
"""Arguments: pg_checksums, a directory."""

_CAUGHT = """
    EXCEPTION WHEN OTHERS THEN
      IF SQLSTATE <> '42P01' AND said < {most} THEN
        said := said + 1;
        RAISE NOTICE 'rb:%', jsonb_build_object(
          'kind', CASE WHEN SQLSTATE IN ('42501', '55P03', '54000') OR SQLSTATE LIKE '53%' THEN 'note' ELSE {kind} END,
          'object', {object}, 'detail', left(SQLERRM, {longest}));
      END IF;
    END;"""


def _caught(kind: str, object_: str) -> str:
    filled = _CAUGHT.replace("{kind}", kind).replace("{object}", object_)
    return filled.replace("{most}", str(MOST_FINDINGS)).replace("{longest}", str(LONGEST_DETAIL))


OBJECTS = f"""
DO $rb$
DECLARE
  o record;
  damaged text;
  said int := 0;
  amcheck text;
  has_heapam boolean;
BEGIN
  SELECT quote_ident(n.nspname), EXISTS (SELECT FROM pg_proc WHERE pronamespace = n.oid AND proname = 'verify_heapam')
    INTO amcheck, has_heapam
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck';
  FOR o IN
    SELECT c.oid, CASE WHEN c.relkind = 'i' THEN 'index' ELSE 'table' END AS kind,
      format('%I.%I', n.nspname, c.relname) AS name, coalesce(am.amname, '') AS method
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_am am ON am.oid = c.relam LEFT JOIN pg_index i ON i.indexrelid = c.oid
    WHERE c.oid > current_setting('rb.after')::oid AND c.relpersistence <> 't' AND (
      (c.relkind IN ('r', 'm') AND c.relispopulated)
      OR (c.relkind = 'i' AND am.amname = 'btree' AND i.indisvalid AND i.indisready AND amcheck IS NOT NULL))
    ORDER BY c.oid
  LOOP
    RAISE NOTICE 'rb:at %|%|%', o.oid, o.kind, o.name;
    BEGIN
      IF o.kind = 'index' THEN
        EXECUTE format('SELECT %s.bt_index_parent_check(%s::regclass, true)', amcheck, o.oid);
      ELSE
        EXECUTE format('SELECT sum(length(rb_each_row::text)) FROM ONLY %s AS rb_each_row', o.name);
      END IF;{_caught("o.kind", "o.name")}
    COMMIT;
    IF o.kind = 'table' AND o.method = 'heap' AND has_heapam THEN
    BEGIN
      EXECUTE format('SELECT string_agg(format(''block %%s, item %%s: %%s'', blkno, offnum, msg), ''; '') '
        'FROM (SELECT * FROM %s.verify_heapam(%s::regclass, check_toast := true) LIMIT 3) AS found', amcheck, o.oid) INTO damaged;
      IF damaged IS NOT NULL AND said < {MOST_FINDINGS} THEN
        said := said + 1;
        RAISE NOTICE 'rb:%', jsonb_build_object('kind', 'table', 'object', o.name, 'detail', left(damaged, {LONGEST_DETAIL}));
      END IF;{_caught("o.kind", "o.name")}
    COMMIT;
    END IF;
  END LOOP;
  RAISE NOTICE 'rb:done';
END $rb$"""  # noqa: S608 - constants of this file
"""Reads every row of every table, with all that is stored out of line; where amcheck is, checks btree indexes and pages."""

_DUPLICATES = """
    SELECT i.indrelid::regclass::text AS name, format(
      'SELECT ''the same key more than once: '' || string_agg(found::text, ''; '') FROM '
      '(SELECT %1$s, count(*) FROM %2$s GROUP BY %1$s HAVING count(*) > 1 LIMIT 3) AS found',
      (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.place) FROM unnest(i.indkey) WITH ORDINALITY AS k(number, place)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number), i.indrelid::regclass) AS statement
    FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
    WHERE i.indisunique AND i.indexprs IS NULL AND i.indpred IS NULL
      AND t.relnamespace = 'pg_catalog'::regnamespace AND t.relkind = 'r'"""
_REFERENCES = """
    SELECT f.fktable::text AS name, format(
      'SELECT ''refers to what is not in %2$s (%5$s): '' || string_agg(found::text, ''; '') FROM '
      '(SELECT %4$s FROM %1$s AS f WHERE %6$s NOT EXISTS (SELECT FROM %2$s AS p WHERE %3$s) LIMIT 3) AS found',
      f.fktable, f.pktable,
      (SELECT string_agg(format('p.%I = f.%I', pk, fk), ' AND ') FROM unnest(f.fkcols, f.pkcols) AS pair(fk, pk)),
      (SELECT string_agg(format('f.%I', fk), ', ') FROM unnest(f.fkcols) AS fk),
      array_to_string(f.fkcols, ', '),
      CASE WHEN f.is_opt THEN (SELECT string_agg(format('f.%I <> 0 AND', fk), ' ') FROM unnest(f.fkcols) AS fk) ELSE '' END
    ) AS statement
    FROM pg_get_catalog_foreign_keys() AS f WHERE NOT f.is_array"""
_DANGLING = """
    SELECT 'pg_depend' AS name, 'SELECT ''depends on, or is depended on by, relations that are not there: '' || '
      'string_agg(found::text, ''; '') FROM (SELECT classid, objid, refclassid, refobjid FROM pg_depend AS d WHERE '
      '(classid = 1259 AND NOT EXISTS (SELECT FROM pg_class WHERE oid = d.objid)) OR '
      '(refclassid = 1259 AND NOT EXISTS (SELECT FROM pg_class WHERE oid = d.refobjid)) LIMIT 3) AS found' AS statement"""


def _each(rows: str) -> str:
    return f"""
  FOR item IN {rows}
  LOOP
    BEGIN
      EXECUTE item.statement INTO damaged;
      IF damaged IS NOT NULL AND said < {MOST_FINDINGS} THEN
        said := said + 1;
        RAISE NOTICE 'rb:%', jsonb_build_object('kind', 'catalog', 'object', item.name, 'detail', left(damaged, {LONGEST_DETAIL}));
      END IF;{_caught("'catalog'", "item.name")}
  END LOOP;"""


CATALOGS = f"""
DO $rb$
DECLARE
  item record;
  damaged text;
  said int := 0;
BEGIN{_each(_DUPLICATES)}
  IF to_regprocedure('pg_get_catalog_foreign_keys()') IS NOT NULL THEN{_each(_REFERENCES)}
  END IF;{_each(_DANGLING)}
  BEGIN
    FOR item IN
      SELECT format('%I.%I', n.nspname, c.relname) AS name
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'i' AND NOT (i.indisvalid AND i.indisready AND i.indislive) ORDER BY 1 LIMIT {MOST_FINDINGS}
    LOOP
      RAISE NOTICE 'rb:%', jsonb_build_object('kind', 'index', 'object', item.name, 'detail',
        'it is marked as not valid: a build that did not end');
    END LOOP;
    FOR item IN
      SELECT format('%I.%I', n.nspname, c.relname) AS name, pg_relation_filepath(c.oid) AS path,
        CASE WHEN c.relkind = 'i' THEN 'index' ELSE 'table' END AS kind
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'm', 't', 'i', 'S') AND c.relpersistence <> 't'
        AND pg_stat_file(pg_relation_filepath(c.oid), true) IS NULL ORDER BY 1 LIMIT {MOST_FINDINGS}
    LOOP
      RAISE NOTICE 'rb:%', jsonb_build_object('kind', item.kind, 'object', item.name, 'detail',
        format('its file %s is missing', item.path));
    END LOOP;{_caught("'catalog'", "'indexes and files'")}
  RAISE NOTICE 'rb:done';
END $rb$"""  # noqa: S608 - constants of this file
"""Looks into the system catalogs: keys that stand twice, references to what isn't there, invalid indexes, missing files."""

_BAD_PAGE = re.compile(r'checksum verification failed in file "([^"]*?)((?:base|global|pg_tblspc)/[^"]*)", block (\d+)')
_FILENODE = re.compile(r"^base/(\d+)/(\d+)(?:_[a-z]+)?(?:\.\d+)?$")


class Finding(BaseModel):
    """Something that is not as it should be. ``object`` is quoted as SQL has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: str = Field(description="table, index, catalog, checksum")
    object: str = Field(description="What: a table or index with its schema, a catalog, a file")
    detail: str = Field(description="The server's words")


def parse(printed: str) -> tuple[Finding, ...]:
    """The findings that :data:`LOOK` printed, each once.

    An index is checked against its table: one that only repeats what its table's reading met is left out.
    """
    found = tuple(dict.fromkeys(_parsed(printed)))
    of_tables = {one.detail for one in found if one.kind == "table"}
    return tuple(one for one in found if one.kind != "index" or one.detail not in of_tables)


def _parsed(printed: str) -> Iterator[Finding]:
    for line in printed.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and {"kind", "object", "detail"} == set(found):
            yield Finding(**{key: str(value) for key, value in found.items()})


def bad_pages(printed: str) -> dict[str, list[int]]:
    """Files below the data directory, and their blocks whose checksum is wrong, as pg_checksums told them."""
    found: dict[str, list[int]] = {}
    for _, path, block in _BAD_PAGE.findall(printed):
        found.setdefault(path, []).append(int(block))
    return found


def filenode(path: str) -> tuple[int, int] | None:
    """The database's OID and the file's number of ``base/5/16384.1``; None for other places."""
    match = _FILENODE.match(path)
    return (int(match[1]), int(match[2])) if match else None
