"""Finding out what is damaged in a database, and how far, before anybody decides what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from runbook.action import (
    Action,
    CheckFailed,
    Done,
    Effect,
    Inputs,
    Interrupted,
    Look,
    Outputs,
    Scope,
    Unreachable,
    current,
    guard,
)
from runbook.actions.backup.layout import directory_of, is_tree
from runbook.actions.postgres import diagnosis
from runbook.actions.postgres.client import Server, argv, env, read_client, read_server, target
from runbook.actions.postgres.diagnosis import MOST_FINDINGS, Finding
from runbook.actions.postgres.evidence import refuse_other_cluster
from runbook.actions.postgres.load import store_of
from runbook.artifact import Artifact, Format
from runbook.errors import Problem
from runbook.host import Local
from runbook.operation import Operation, Operations, Process, sql
from runbook.system import Postgres

MOST_TOLD = 20
"""Findings that the report names."""
_SURROUNDINGS = sql(
    "SELECT (current_setting('data_checksums') = 'on')::int AS checksums, "
    "coalesce((SELECT CASE WHEN installed_version IS NULL THEN 'available' ELSE 'installed' END "
    "FROM pg_available_extensions WHERE name = 'amcheck'), 'absent') AS amcheck, "
    "(SELECT coalesce(string_agg(format('%I.%I', n.nspname, c.relname), ', ' ORDER BY 1), '') FROM (SELECT * FROM pg_class "
    "WHERE relkind = 'i' AND oid >= 16384 AND relam NOT IN (SELECT oid FROM pg_am WHERE amname = 'btree') LIMIT 20) AS c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace) AS others"
)
_NO_AMCHECK = {
    "available": "indexes: the extension amcheck is not created in this database (`install: true` creates it)",
    "absent": "indexes: the server has no extension amcheck (the package of its contrib modules has it)",
}


class DiagnoseInputs(Inputs):
    """How deep the look goes, and what is asked of it."""

    copy_of: Artifact | None = Field(
        default=None, description="The cold copy of this cluster: its pages' checksums are checked, where they have any"
    )
    install: bool = Field(
        default=False,
        description="Create the extension amcheck, without which no index can be checked, if it isn't there",
    )
    expect: Literal["anything", "healthy"] = Field(
        default="anything", description="healthy: damage fails the step (after a repair); anything: damage is a result"
    )


@dataclass(frozen=True, slots=True)
class DiagnoseFacts:
    """``amcheck``: installed, available, absent, or unknown where the database can't be asked. ``others``: no btree indexes."""

    server: Server = guard()
    amcheck: str = current()
    checksums: bool = current()
    others: str = current()


class Diagnosed(Outputs):
    """What was found."""

    healthy: bool = Field(description="Nothing was found")
    findings: tuple[Finding, ...] = Field(description="What was found, at most 60")
    broken_indexes: tuple[str, ...] = Field(description="Indexes, as postgres.reindex takes them")
    broken_tables: tuple[str, ...] = Field(description="Tables that can't be read whole, or whose pages are damaged")
    recommend: Literal["none", "reindex", "restore"] = Field(
        description="reindex where nothing but indexes is damaged; restore where tables or catalogs are"
    )
    unchecked: tuple[str, ...] = Field(description="What was not looked at, and why")
    report: str = Field(description="All of it as text, for whoever decides")


class Diagnose(Action[Postgres, DiagnoseInputs, DiagnoseFacts, Diagnosed]):
    """Look for damage in the whole database: every row, every page of a table, every btree index, the system catalogs.

    Each table is read to its last row without the help of its indexes, with what is stored out of line; `amcheck` compares each
    btree index with its table, and looks into each table's pages; the catalogs are searched for keys that stand twice and for
    references to nothing. One broken table hides no other, and neither does a server that ends over it. With `copy_of`, a cold copy
    that is a directory, the checksums of all pages are checked there. Sessions are read-only; nothing is repaired. Damage is a
    result and not a failure: a person, or a condition, decides. The look may take as long as a dump.
    """

    effect = Effect.CHANGES
    interrupted = Interrupted.REPEATABLE
    needs_programs = ("psql", "pg_checksums")
    example = """\
- id: diagnose
  title: What is damaged?
  uses: postgres.diagnose
  on: db
  with: {copy_of: "{{ steps.keep.artifact }}", install: true}
  timeout: 2h
"""

    def effect_of(self, inputs: DiagnoseInputs) -> Effect:
        """It reads; but an extension that is created is a change."""
        return Effect.CHANGES if inputs.install else Effect.READS

    def observe(self, look: Look, system: Postgres, inputs: DiagnoseInputs, scope: Scope) -> DiagnoseFacts:
        """The server, and with what its database can be examined. A database that can't be asked is a finding, not a failure."""
        server = read_server(look, system, scope.application)
        read_client(look, system, "psql")
        if inputs.copy_of is not None:
            refuse_other_cluster(inputs.copy_of, server)
        try:
            row = look.query(system.connection(application=scope.application), _SURROUNDINGS)[0]
        except (Unreachable, CheckFailed):
            return DiagnoseFacts(server, "unknown", checksums=False, others="")
        return DiagnoseFacts(server, str(row["amcheck"]), bool(row["checksums"]), str(row["others"]))

    def assume(self, system: Postgres, inputs: DiagnoseInputs, scope: Scope) -> DiagnoseFacts:
        """A server with everything that is needed."""
        return DiagnoseFacts(Server(0, "", superuser=True), "available", checksums=True, others="")

    def plan(self, system: Postgres, inputs: DiagnoseInputs, facts: DiagnoseFacts, scope: Scope) -> Operations:
        """The extension, if it is wanted; the look; the checksums of the copy."""
        psql = str(argv(system, "psql")[0])
        around = env(system, scope.application)
        create = ("-X", "-q", "-w", target(system), "-c", "CREATE EXTENSION IF NOT EXISTS amcheck")
        install = Process(name="install", argv=(psql, *create), host=system.host, env=around, ok_codes=(0, 1, 2, 3))
        look = Process(
            name="look",
            argv=("sh", "-c", diagnosis.LOOK, "sh", psql, target(system), diagnosis.CATALOGS, diagnosis.OBJECTS),
            host=system.host,
            env=(*around, ("PGOPTIONS", diagnosis.OPTIONS)),
            reads=True,
        )
        wanted = inputs.install and facts.amcheck == "available"
        return (*((install,) if wanted else ()), look, *_checksums(system, inputs, facts, scope))

    def verify(self, look: Look, system: Postgres, inputs: DiagnoseInputs, done: Done[DiagnoseFacts]) -> Diagnosed:
        """The findings, named; a server that can't be asked any more is no finding."""
        read_server(look, system, "runbook")
        found = diagnosis.parse(str(done.results["look"].get("stdout", "")))
        printed = str(done.results.get("checksums", {}).get("stdout", ""))
        found += _pages(look, system, printed, known={one.object for one in found})
        notes = tuple(f"{one.object}: {one.detail}" for one in found if one.kind == "note")
        damage = tuple(one for one in found if one.kind != "note")[:MOST_FINDINGS]
        failed = str(done.results.get("install", {}).get("stderr", "")).strip()
        unchecked = (
            *notes,
            *_unchecked(inputs, done.facts, failed=failed, ran="checksums" in done.results, printed=printed),
        )
        out = summed_up(damage, unchecked)
        if damage and inputs.expect == "healthy":
            fix = "Restore a backup (plans/restore-db.yaml), or examine further. The cold copy shows how it was."
            raise CheckFailed(Problem("E693", "the database is damaged", out.report, fix))
        return out


def _checksums(db: Postgres, inputs: DiagnoseInputs, facts: DiagnoseFacts, scope: Scope) -> tuple[Operation, ...]:
    tree = _tree(inputs)
    if tree is None or not facts.checksums or not isinstance(db.host, Local):
        return ()
    path = f"{directory_of(store_of(tree, scope))}/{tree.name}"
    program = str(argv(db, "pg_checksums")[0])
    return (Process(name="checksums", argv=("sh", "-c", diagnosis.CHECKSUMS, "sh", program, path), reads=True),)


def _tree(inputs: DiagnoseInputs) -> Artifact | None:
    copy = inputs.copy_of
    fits = copy is not None and copy.format is Format.COLD_COPY and copy.manifest is not None and is_tree(copy.manifest)
    return copy if fits else None


def _pages(look: Look, db: Postgres, printed: str, *, known: set[str]) -> tuple[Finding, ...]:
    """The pages that pg_checksums found, by the names of the tables and indexes that they belong to."""
    found = []
    for path, blocks in list(diagnosis.bad_pages(printed).items())[:MOST_FINDINGS]:
        kind, name = _owner(look, db, path)
        shown = ", ".join(str(block) for block in blocks[:5])
        if name not in known:
            detail = f"wrong checksum in the copy: {path}, block {shown}"
            found.append(Finding(kind=kind, object=name, detail=detail))
    return tuple(found)


def _owner(look: Look, db: Postgres, path: str) -> tuple[str, str]:
    place = diagnosis.filenode(path)
    if place is not None:
        asked = sql(
            "SELECT c.relkind::text AS kind, format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = pg_filenode_relation(0, {node}) "
            "AND {database} = (SELECT oid FROM pg_database WHERE datname = current_database())",
            node=place[1],
            database=place[0],
        )
        try:
            rows = look.query(db.connection(application="runbook"), asked)
        except (Unreachable, CheckFailed):
            rows = ()
        if rows:
            return ("index" if rows[0]["kind"] == "i" else "table"), str(rows[0]["name"])
    return "checksum", path


def _unchecked(
    inputs: DiagnoseInputs, facts: DiagnoseFacts, *, failed: str, ran: bool, printed: str
) -> tuple[str, ...]:
    found = []
    if failed:
        found.append(f"indexes: the extension amcheck could not be created: {failed}")
    elif facts.amcheck in _NO_AMCHECK and not (inputs.install and facts.amcheck == "available"):
        found.append(_NO_AMCHECK[facts.amcheck])
    if facts.others:
        found.append(f"indexes of other kinds than btree, which amcheck does not know: {facts.others}")
    if facts.checksums and not ran:
        found.append(
            "checksums of pages that no row and no btree index uses: that takes a cold copy in a directory (`copy_of`)"
        )
    elif ran and "Checksum operation completed" not in printed and not diagnosis.bad_pages(printed):
        found.append(f"checksums of the copy: {printed.strip()[:300]}")
    return tuple(found)


def summed_up(damage: tuple[Finding, ...], unchecked: tuple[str, ...]) -> Diagnosed:
    """The outputs for what was found, and for what was not looked at."""
    indexes = tuple(dict.fromkeys(one.object for one in damage if one.kind == "index"))
    tables = tuple(dict.fromkeys(one.object for one in damage if one.kind == "table"))
    only_indexes = all(one.kind == "index" for one in damage)
    recommend: Literal["none", "reindex", "restore"] = (
        "none" if not damage else "reindex" if only_indexes else "restore"
    )
    head = f"Found: {len(damage)}. Recommended: {recommend}." if damage else "No damage was found."
    lines = [head, *(f"- {one.kind} {one.object}: {one.detail}" for one in damage[:MOST_TOLD])]
    if len(damage) > MOST_TOLD:
        lines.append(f"- and {len(damage) - MOST_TOLD} more: see the outputs of this step")
    if unchecked:
        lines += ["Not looked at:", *(f"- {one}" for one in unchecked)]
    return Diagnosed(
        healthy=not damage,
        findings=damage,
        broken_indexes=indexes,
        broken_tables=tables,
        recommend=recommend,
        unchecked=unchecked,
        report="\n".join(lines),
    )
