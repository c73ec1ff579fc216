"""Building broken indexes anew, once the evidence is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Look, Outputs, Scope, current, guard, pinned
from runbook.actions.postgres.client import Server, read_server
from runbook.actions.postgres.evidence import read_evidence
from runbook.artifact import Artifact
from runbook.errors import Problem, Refused
from runbook.operation import (
    Condition,
    Connection,
    Name,
    Operation,
    Operations,
    Sql,
    Statement,
    Test,
    Transaction,
    sql,
)
from runbook.placeholder import Foreseeable, Placeholder, stand_for
from runbook.system import Postgres

WAITS_FOR_LOCK = "60s"
"""A reader of the table would be waited for: with the writers stopped, there should be none."""

_READ = """
SELECT given.name AS given, n.nspname::text AS schema, c.relname::text AS name,
  coalesce(quote_ident(tn.nspname) || '.' || quote_ident(t.relname), '') AS table,
  coalesce(c.relkind::text, '') AS kind, coalesce(pg_relation_filenode(c.oid), 0)::bigint AS file,
  coalesce(i.indisvalid AND i.indisready, false)::int AS valid, coalesce(i.indisunique, false)::int AS is_unique,
  (n.nspname = 'pg_catalog')::int AS system, coalesce(am.amname = 'btree', false)::int AS btree,
  coalesce((SELECT jsonb_agg(pg_get_indexdef(c.oid, k, true) ORDER BY k) FROM generate_series(1, i.indnkeyatts) AS k), '[]')::text
    AS keys, coalesce(pg_get_expr(i.indpred, i.indrelid), '') AS predicate,
  coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false)::int AS nulls_too,
  coalesce((SELECT jsonb_agg(o.relname ORDER BY 1) FROM pg_index x JOIN pg_class o ON o.oid = x.indexrelid
    WHERE x.indrelid = i.indrelid AND NOT x.indisvalid AND o.relname ~ '_cc(new|old)[0-9]*$'
      AND regexp_replace(o.relname, '_cc(new|old)[0-9]*$', '') = c.relname), '[]')::text AS left
FROM jsonb_array_elements_text({names}::jsonb) WITH ORDINALITY AS given(name, place)
  LEFT JOIN pg_class c ON c.oid = to_regclass(given.name) LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_am am ON am.oid = c.relam
  LEFT JOIN pg_class t ON t.oid = i.indrelid LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
ORDER BY given.place
"""
_AMCHECK = sql(
    "SELECT coalesce((SELECT nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
    "WHERE extname = 'amcheck'), '') AS schema"
)


class ReindexInputs(Inputs):
    """Which indexes, and the evidence without which none is touched."""

    indexes: Foreseeable[tuple[str, ...]] = Field(
        description="The broken ones, with their schemas, as SQL has it: `broken_indexes` of postgres.diagnose"
    )
    evidence: Artifact = Field(
        description="A copy of the cluster's files as they were (postgres.cold_copy), proven by backup.verify"
    )
    concurrently: bool = Field(
        default=False,
        description="Let others read and write meanwhile; slower, and not for system catalogs, which are done without",
    )


@dataclass(frozen=True, slots=True)
class Index:
    """An index as found. ``file`` is the number of its file, which is another one once it was built anew.

    ``keys`` and ``predicate`` are SQL, as the server gives them; ``left`` are unfinished indexes of an earlier attempt.
    """

    given: str
    schema: str
    name: str
    table: str
    file: int
    valid: bool
    unique: bool
    system: bool
    btree: bool
    keys: tuple[str, ...]
    predicate: str
    nulls_too: bool
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReindexFacts:
    """The server and the evidence; ``before``: each index's file when it was first seen; ``amcheck``: its schema, or ''."""

    server: Server = guard()
    evidence_sha256: str = guard()
    before: tuple[tuple[str, int], ...] = pinned()
    indexes: tuple[Index, ...] = current()
    amcheck: str = current()

    @property
    def remaining(self) -> tuple[tuple[int, Index], ...]:
        """The indexes that were not built anew yet, by their place in the list, from 1."""
        files = dict(self.before)
        numbered = enumerate(self.indexes, start=1)
        return tuple((n, one) for n, one in numbered if not one.valid or files.get(one.given) == one.file)


class Reindexed(Outputs):
    """What was built anew."""

    reindexed: Foreseeable[tuple[str, ...]] = Field(description="The indexes")
    evidence: str = Field(description="Where the copy is that shows how it was")


class Reindex(Action[Postgres, ReindexInputs, ReindexFacts, Reindexed]):
    """Build broken indexes anew from their tables, after the damaged files were copied and the copy was proven.

    Without that evidence nothing is touched (exit 4): a dump is none, nor is a copy that nobody has compared with its manifest,
    nor one of another cluster. A unique index whose table holds a key twice can't be built: every table is searched for such rows
    before the first index is touched, without the help of the index; the rows are named, and a person decides which of them is
    right. Each index is checked with amcheck afterwards, where the database has it. Tables are not rewritten: that would be for
    the copy, if at all.
    """

    effect = Effect.CHANGES
    repair = True
    example = """\
- id: reindex
  title: Build the broken indexes anew
  uses: postgres.reindex
  on: db
  with: {indexes: "{{ steps.diagnose.broken_indexes }}", evidence: "{{ steps.prove.artifact }}"}
  timeout: 2h
"""

    def observe(self, look: Look, system: Postgres, inputs: ReindexInputs, scope: Scope) -> ReindexFacts:
        """The evidence first; then the indexes."""
        server = read_server(look, system, scope.application)
        evidence = read_evidence(look, inputs.evidence, scope, server)
        at = system.connection(application=scope.application)
        found = _read(look, at, inputs)
        schema = str(look.query(at, _AMCHECK)[0]["schema"]) if found else ""
        return ReindexFacts(server, evidence, tuple((one.given, one.file) for one in found), found, schema)

    def assume(self, system: Postgres, inputs: ReindexInputs, scope: Scope) -> ReindexFacts:
        """Unique btree indexes, all of them to be built; one that stands for each, where nobody knows yet which they are."""
        late = isinstance(inputs.indexes, Placeholder)
        names = (stand_for(f"each of {inputs.indexes[1:-1]}"),) if late else inputs.indexes
        found = tuple(_assumed(name) for name in names)
        before = tuple((one.given, one.file) for one in found)
        amcheck = stand_for("the schema of amcheck")
        return ReindexFacts(Server(0, "", superuser=True), inputs.evidence.sha256, before, found, amcheck)

    def plan(self, system: Postgres, inputs: ReindexInputs, facts: ReindexFacts, scope: Scope) -> Operations:
        """All searches before the first change; then index by index, each with its check."""
        at = system.connection(application=scope.application)
        searches = tuple(_searched(at, n, one) for n, one in facts.remaining if one.unique)
        built: list[Operation] = []
        for n, one in facts.remaining:
            built.append(_built(at, n, one, concurrently=inputs.concurrently and not one.system))
            if facts.amcheck and one.btree:
                built.append(_checked(at, n, one, facts.amcheck))
        return (*searches, *_swept(at, facts), *built)

    def recovery(self, system: Postgres, inputs: ReindexInputs, facts: ReindexFacts, scope: Scope) -> Operations:
        """What a concurrent build that was cut off has left is dropped."""
        return _swept(system.connection(application=scope.application), facts)

    def expect(self, system: Postgres, inputs: ReindexInputs, facts: ReindexFacts) -> Reindexed | None:
        """What was given."""
        return Reindexed(reindexed=inputs.indexes, evidence=inputs.evidence.url)

    def verify(self, look: Look, system: Postgres, inputs: ReindexInputs, done: Done[ReindexFacts]) -> Reindexed:
        """Each has another file than before, and is valid."""
        if done.facts.remaining:
            listed = "\n".join(f"{one.given} was not built anew." for _, one in done.facts.remaining)
            raise CheckFailed(Problem("E693", "the database is damaged", listed, "Look at the server's log."))
        return Reindexed(reindexed=inputs.indexes, evidence=inputs.evidence.url)


def _read(look: Look, at: Connection, inputs: ReindexInputs) -> tuple[Index, ...]:
    if not inputs.indexes:
        return ()
    rows = look.query(at, sql(_READ, names=json.dumps(inputs.indexes)))
    wrong = [str(row["given"]) for row in rows if row["kind"] != "i"]
    if wrong:
        detail = f"{', '.join(wrong)}: there is no index of this name in {at.database}."
        fix = "Take `broken_indexes` of postgres.diagnose; what is partitioned is built anew part by part."
        raise Refused(Problem("E691", "this is not an index that can be built anew", detail, fix))
    return tuple(
        Index(
            given=str(row["given"]),
            schema=str(row["schema"]),
            name=str(row["name"]),
            table=str(row["table"]),
            file=int(row["file"] or 0),
            valid=bool(row["valid"]),
            unique=bool(row["is_unique"]),
            system=bool(row["system"]),
            btree=bool(row["btree"]),
            keys=tuple(json.loads(str(row["keys"]))),
            predicate=str(row["predicate"]),
            nulls_too=bool(row["nulls_too"]),
            left=tuple(json.loads(str(row["left"]))),
        )
        for row in rows
    )


def _assumed(given: str) -> Index:
    """With everything that may be asked of an index: what is not known of it stands in placeholders."""
    schema, _, name = (stand_for("its schema"), "", given) if isinstance(given, Placeholder) else given.rpartition(".")
    return Index(
        given=given,
        schema=schema,
        name=name,
        table=stand_for("its table"),
        file=1,
        valid=True,
        unique=True,
        system=False,
        btree=True,
        keys=(stand_for("its keys"),),
        predicate="",
        nulls_too=False,
        left=(),
    )


def _searched(at: Connection, number: int, index: Index) -> Operation:
    """Rows that a unique index can't take both. The table alone is read: the index is what can't be relied on."""
    keys = ", ".join(index.keys)
    kept = [f"({key}) IS NOT NULL" for key in index.keys if not index.nulls_too]
    kept += [f"({index.predicate})"] if index.predicate else []
    text = (
        "SELECT coalesce(string_agg(format('%s: %s rows, at %s', shown, many, places), '; '), '') AS rows_with_one_key FROM "  # noqa: S608
        f"(SELECT ROW({keys})::text AS shown, count(*) AS many, left(string_agg(ctid::text, ' '), 60) AS places "
        f"FROM ONLY {index.table}{' WHERE ' + ' AND '.join(kept) if kept else ''} GROUP BY {keys} HAVING count(*) > 1 LIMIT 5) AS d"
    )
    return Sql(
        name=f"search_{number}",
        connection=at,
        statements=(*_without_indexes(), sql(text.replace("{", "{{").replace("}", "}}"))),
        expect=(Condition("rows_with_one_key", Test.EQUALS, ""),),
        reads=True,
    )


def _without_indexes() -> Sequence[Statement]:
    kinds = ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan")
    return tuple(sql(f"SET LOCAL {kind} = off") for kind in kinds)


def _built(at: Connection, number: int, index: Index, *, concurrently: bool) -> Operation:
    named = {"schema": Name(index.schema), "index": Name(index.name)}
    if concurrently:
        statements = (sql("REINDEX INDEX CONCURRENTLY {schema}.{index}", **named),)
        return Sql(name=f"reindex_{number}", connection=at, statements=statements, transaction=Transaction.AUTOCOMMIT)
    patience = sql("SET LOCAL lock_timeout = {patience}", patience=WAITS_FOR_LOCK)
    return Sql(
        name=f"reindex_{number}",
        connection=at,
        statements=(patience, sql("REINDEX INDEX {schema}.{index}", **named)),
    )


def _checked(at: Connection, number: int, index: Index, amcheck: str) -> Operation:
    asked = sql(
        "SELECT {amcheck}.bt_index_parent_check({given}::regclass, true)", amcheck=Name(amcheck), given=index.given
    )
    return Sql(name=f"check_{number}", connection=at, statements=(asked,), reads=True)


def _swept(at: Connection, facts: ReindexFacts) -> Operations:
    """Invalid indexes that a concurrent build leaves when it is cut off (manual, REINDEX: they may be dropped)."""
    return tuple(
        Sql(
            name=f"sweep_{number}_{place}",
            connection=at,
            statements=(sql("DROP INDEX IF EXISTS {schema}.{index}", schema=Name(one.schema), index=Name(left)),),
        )
        for number, one in enumerate(facts.indexes, start=1)
        for place, left in enumerate(one.left, start=1)
    )
