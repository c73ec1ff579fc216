"""Dumping a database, with the rows per table of the same instant, roles, hashes and a manifest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

import runbook
from runbook.action import Action, Done, Effect, Inputs, Look, Outputs, Scope, current, guard
from runbook.actions.backup.foreseen import foreseen
from runbook.actions.backup.layout import (
    COUNTS,
    DATA,
    GLOBALS,
    MANIFEST,
    SUMS,
    Layout,
    Present,
    directory_of,
    hashed_tree,
    layout,
    maker,
    present,
    published,
    published_artifact,
    swept,
)
from runbook.actions.backup.room import no_room
from runbook.actions.postgres.client import argv, env, read_client, read_server, refuse_older_client, target, unread
from runbook.actions.postgres.counts import counting
from runbook.artifact import Artifact, Format
from runbook.errors import Problem, Refused
from runbook.host import Local
from runbook.operation import (
    Connection,
    Document,
    DocumentValue,
    Operation,
    Operations,
    Pipeline,
    Process,
    Ref,
    Session,
    Sql,
    Stage,
    Transaction,
    Write,
    sql,
)
from runbook.placeholder import Foreseeable
from runbook.system import Postgres, Store

SPACE_FACTOR = 0.5
"""A compressed dump is rarely more than half as big as its tables (indexes are not dumped)."""

_MOMENT = "to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
_SIZE = sql(
    "SELECT coalesce(sum(pg_table_size(oid)), 0)::bigint AS bytes FROM pg_class "
    "WHERE relkind IN ('r', 'm') AND relpersistence <> 't'"
)
_BEGIN = (
    sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
    # The session idles while pg_dump works; a time limit of the role or the database would end it and its snapshot.
    sql(
        "SELECT count(set_config(name, '0', true)) FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout', "
        "'idle_in_transaction_session_timeout', 'transaction_timeout')"
    ),
    sql("SET LOCAL row_security = off"),  # counting fewer rows than pg_dump would write must be an error
    sql(f"SELECT pg_export_snapshot() AS snapshot, {_MOMENT} AS started_at"),
)


class DumpInputs(Inputs):
    """Where the dump goes, and how it is made."""

    to: Store = Field(description="The store that takes the dump")
    database: str = Field(default="", description="The database to dump; default: the system's own")
    name: str = Field(
        default="{database}-{timestamp}.dump",
        description="The dump's name; {database} and {timestamp} (the run's start, UTC) are filled in",
    )
    format: Literal["auto", "custom", "directory"] = Field(
        default="auto",
        description="directory is faster, and can only be made on this machine; auto: directory if possible",
    )
    jobs: int = Field(default=2, ge=1, le=64, description="Tables dumped at the same time (directory format)")
    compress: int = Field(default=1, ge=0, le=9, description="gzip level; 1 costs little and saves most")
    globals: bool = Field(
        default=True, description="Roles and their settings too; password hashes if the role may read them"
    )
    counts: bool = Field(default=True, description="Count the rows of every table in the dump's own snapshot")
    space_factor: float = Field(
        default=SPACE_FACTOR, ge=0, description="Free space that must be there, as a part of the tables' size"
    )


@dataclass(frozen=True, slots=True)
class DumpFacts:
    """The server, the client, and what there is of this dump already. Sizes are bytes."""

    server_version: int = guard()
    identifier: str = guard()
    superuser: bool = current()
    client: str = current()
    table_bytes: int = current()
    state: Present = current()
    where: Layout = current()


class Dumped(Outputs):
    """The dump."""

    artifact: Artifact = Field(description="The dump, as other steps take it")
    bytes: Foreseeable[int] = Field(description="Its size")


class Dump(Action[Postgres, DumpInputs, DumpFacts, Dumped]):
    """Dump a database into a store: consistent, hashed, with the row counts of the same snapshot.

    One session exports a snapshot; `pg_dump` and the counting of rows both use it, so that a restore can be compared with the
    record exactly. Roles are dumped beside it. Until everything is complete all files are called `….partial`; the manifest gets
    its name last, and only then is there a backup. Server and client run where the system's host is: in a container `pg_dump`
    runs inside it and its bytes are piped out (custom format). On this machine the directory format is used, whose tables are
    dumped at the same time. Refused: a client older than the server, a store without space.
    """

    effect = Effect.CREATES
    needs_programs = ("pg_dump", "pg_dumpall")
    example = """\
- id: dump
  title: Dump the database
  uses: postgres.dump
  on: db
  with: {to: backups, jobs: 2}
  timeout: 2h
"""

    def observe(self, look: Look, system: Postgres, inputs: DumpInputs, scope: Scope) -> DumpFacts:
        """Versions, sizes, free space, and what an earlier attempt left."""
        _refuse_unfit(system, inputs)
        where = _where(system, inputs, scope)
        state = present(look, where, parts=_parts(system, inputs), made_by=maker(scope))
        server = read_server(look, system, scope.application)
        client = read_client(look, system, "pg_dump")
        refuse_older_client(system, client, server)
        asked = look.query(_connection(system, inputs, scope), _SIZE)
        table_bytes = int(asked[0]["bytes"] or 0)
        if not (state.done or state.drafted):
            reckoned = f"{inputs.space_factor:g} × the tables' size"
            known_better = "set `space_factor` lower if you know better"
            needed = int(table_bytes * inputs.space_factor)
            if found := no_room(look, inputs.to, needed, reckoned=reckoned, or_else=known_better):
                raise Refused(*found)
        return DumpFacts(server.version, server.identifier, server.superuser, client.text, table_bytes, state, where)

    def assume(self, system: Postgres, inputs: DumpInputs, scope: Scope) -> DumpFacts:
        """A superuser, and a store with nothing of this dump."""
        server, client = unread(scope.step)
        return DumpFacts(
            server_version=server.version,
            identifier=server.identifier,
            superuser=server.superuser,
            client=client,
            table_bytes=0,
            state=Present(),
            where=_where(system, inputs, scope),
        )

    def plan(self, system: Postgres, inputs: DumpInputs, facts: DumpFacts, scope: Scope) -> Operations:
        """Everything into partials, then the names."""
        state, where = facts.state, facts.where
        parts = _parts(system, inputs)
        if state.done:
            return ()
        if state.drafted:
            return published(where, state, parts=parts)
        connection = _connection(system, inputs, scope)
        body = (*_counted(connection, inputs, where), _dumped(system, inputs, where, scope))
        session = Session(name="snapshot", connection=connection, begin=_BEGIN, body=body, end=(sql("COMMIT"),))
        ended = Sql(
            name="ended",
            connection=connection,
            statements=(sql(f"SELECT {_MOMENT} AS finished_at"),),
            reads=True,
        )
        draft = Write(name="draft", path=where.partial(MANIFEST), content=_manifest(system, inputs, facts, scope))
        return (
            *swept(where, state, marker=scope.tag),
            session,
            ended,
            *_globals(system, inputs, facts, scope),
            *_hashed(system, inputs, where),
            draft,
            *published(where, state, parts=parts),
        )

    def foresee(self, system: Postgres, inputs: DumpInputs, facts: DumpFacts, scope: Scope) -> Dumped:
        """The dump with the files that it will have."""
        dump = foreseen(inputs.to, _manifest(system, inputs, facts, scope), scope.step)
        return Dumped(artifact=dump, bytes=dump.bytes)

    def verify(self, look: Look, system: Postgres, inputs: DumpInputs, done: Done[DumpFacts]) -> Dumped:
        """The manifest is there, and its files are as it says."""
        made = published_artifact(look, inputs.to, done.facts.where)
        return Dumped(artifact=made, bytes=made.bytes)


def _refuse_unfit(system: Postgres, inputs: DumpInputs) -> None:
    directory_of(inputs.to)
    if inputs.to.encrypt_to:
        raise Refused(
            Problem(
                "E633",
                "this action can't encrypt",
                f"{inputs.to.key or 'The store'} asks for encryption to {inputs.to.encrypt_to}; the dump would be plain.",
                "Use a store without `encrypt_to` on an encrypted file system, or encrypt in a step of your own.",
            )
        )
    if inputs.format == "directory" and not isinstance(system.host, Local):
        raise Refused(
            Problem(
                "E634",
                "a directory can't be piped",
                f"pg_dump runs on {system.host}, and a dump in directory format would stay there.",
                "Use `format: custom`, or auto.",
            )
        )


def _format(system: Postgres, inputs: DumpInputs) -> Format:
    if inputs.format == "auto":
        return Format.DIRECTORY if isinstance(system.host, Local) else Format.CUSTOM
    return Format(inputs.format)


def _parts(system: Postgres, inputs: DumpInputs) -> tuple[str, ...]:
    sums = (SUMS,) if _format(system, inputs) is Format.DIRECTORY else ()
    return (DATA, *sums, *((COUNTS,) if inputs.counts else ()), *((GLOBALS,) if inputs.globals else ()))


def _where(system: Postgres, inputs: DumpInputs, scope: Scope) -> Layout:
    database = re.sub(r"[^A-Za-z0-9_.]+", "_", inputs.database or system.database).strip("_.")[:50] or "database"
    moment = f"{scope.started_at:%Y%m%dT%H%M%SZ}"
    name = inputs.name.replace("{database}", database).replace("{timestamp}", moment)
    return layout(inputs.to, name, scope)


def _connection(system: Postgres, inputs: DumpInputs, scope: Scope) -> Connection:
    return system.connection(application=scope.application, database=inputs.database)


def _counted(connection: Connection, inputs: DumpInputs, where: Layout) -> Operations:
    """Counted first: the session then holds a lock on every table, and none can be emptied or dropped before it is dumped."""
    if not inputs.counts:
        return ()
    counted = Sql(
        name="counts",
        connection=connection,
        statements=(counting(),),
        transaction=Transaction.AUTOCOMMIT,
        session="snapshot",
        into=where.partial(COUNTS),
    )
    return (counted,)


def _dumped(system: Postgres, inputs: DumpInputs, where: Layout, scope: Scope) -> Operation:
    form = _format(system, inputs)
    options = (f"--format={form.value}", f"--compress={inputs.compress}", "--snapshot", Ref("snapshot", "snapshot"))
    connect = target(system, inputs.database)
    environment = env(system, scope.application)
    if form is Format.DIRECTORY:
        jobs, into = f"--jobs={inputs.jobs}", f"--file={where.partial(DATA)}"
        return Process(
            name="dump", argv=argv(system, "pg_dump", connect, *options, jobs, into), host=system.host, env=environment
        )
    stage = Stage(argv=argv(system, "pg_dump", connect, *options), host=system.host, env=environment)
    return Pipeline(name="dump", stages=(stage,), sink=where.partial(DATA))


def _globals(system: Postgres, inputs: DumpInputs, facts: DumpFacts, scope: Scope) -> Operations:
    if not inputs.globals:
        return ()
    options = ["--globals-only"] if facts.superuser else ["--globals-only", "--no-role-passwords"]
    stage = Stage(
        argv=argv(system, "pg_dumpall", target(system, inputs.database), *options),
        host=system.host,
        env=env(system, scope.application),
    )
    return (Pipeline(name="globals", stages=(stage,), sink=facts.where.partial(GLOBALS)),)


def _hashed(system: Postgres, inputs: DumpInputs, where: Layout) -> Operations:
    if _format(system, inputs) is not Format.DIRECTORY:
        return ()
    return (hashed_tree("sums", where.partial(DATA), where.partial(SUMS)),)


def _manifest(system: Postgres, inputs: DumpInputs, facts: DumpFacts, scope: Scope) -> Document:
    form, where = _format(system, inputs), facts.where
    proved = [(SUMS, "sums") if form is Format.DIRECTORY else (DATA, "dump")]
    proved += [(COUNTS, "counts")] if inputs.counts else []
    proved += [(GLOBALS, "globals")] if inputs.globals else []
    pieces: tuple[DocumentValue, ...] = tuple(
        Document((("path", where.file(part)), ("bytes", Ref(by, "bytes")), ("sha256", Ref(by, "sha256"))))
        for part, by in proved
    )
    return Document(
        (
            ("manifest", 1),
            ("name", where.name),
            ("format", form.value),
            ("database", inputs.database or system.database),
            ("system_identifier", facts.identifier),
            ("server_version", facts.server_version),
            ("client_version", facts.client),
            ("started_at", Ref("snapshot", "started_at")),
            ("finished_at", Ref("ended", "finished_at")),
            ("pieces", pieces),
            ("counts", where.file(COUNTS) if inputs.counts else ""),
            ("globals", where.file(GLOBALS) if inputs.globals else ""),
            ("run", maker(scope)),
            ("tool", f"runbook {runbook.__version__}"),
        )
    )
