"""Base backups: the files of a whole cluster, from which its WAL archive leads to any later moment."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, model_validator

import runbook
from runbook.action import Action, Done, Effect, Inputs, Look, Outputs, Scope, Unreachable, current, guard
from runbook.actions.backup.foreseen import foreseen
from runbook.actions.backup.layout import (
    DATA,
    MANIFEST,
    Layout,
    Present,
    layout,
    maker,
    present,
    published,
    published_artifact,
    swept,
)
from runbook.actions.backup.room import no_room
from runbook.actions.postgres import basebackup_files as files
from runbook.actions.postgres.client import (
    MAINTENANCE_DATABASE,
    Server,
    argv,
    env,
    read_client,
    read_server,
    refuse_older_client,
    target,
    unread,
)
from runbook.actions.postgres.in_container import KEPT
from runbook.actions.postgres.packing import Packing, chosen, ended, options, packed, packs_zstd, told
from runbook.actions.postgres.tablespaces import TABLESPACES, Space, elsewhere, inside, spaces_of
from runbook.artifact import Artifact, Format
from runbook.errors import Problem, Refused
from runbook.host import Local
from runbook.operation import Document, DocumentValue, Operation, Operations, Pipeline, Ref, Sql, Stage, Write, sql
from runbook.paste import on_host
from runbook.placeholder import Foreseeable
from runbook.quoting import shell_word
from runbook.system import Postgres, Store

SPACE_FACTOR = {Packing.ZSTD: 0.6, Packing.GZIP: 0.6, Packing.NONE: 1.1}
"""Free space that must be there, as a part of the databases' size."""

_MOMENT = "to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
_CLUSTER = sql(
    "SELECT current_setting('archive_mode') AS archive_mode, current_setting('wal_level') AS wal_level, "
    "(SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user)::int AS replication, "
    "(SELECT coalesce(sum(pg_database_size(oid)), 0) FROM pg_database WHERE datconnlimit <> -2)::bigint AS bytes, "
    "(SELECT coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) FROM pg_stat_archiver)::int "
    "AS failing, (SELECT coalesce(last_failed_wal, '') FROM pg_stat_archiver) AS failed_wal, "
    "coalesce(CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN current_setting('data_directory') END, '') "
    "AS directory"
)


class BasebackupInputs(Inputs):
    """Where the backup goes, and how it is packed."""

    to: Store = Field(description="The store that takes the backup")
    name: str = Field(
        default="cluster-{timestamp}.tar", description="The backup's name; {timestamp} is the run's start, in UTC"
    )
    compress: Literal["auto", "zstd", "gzip", "none"] = Field(
        default="auto",
        description="auto: as the name ends (.zst, .gz), else zstd where this machine can unpack it, else gzip, which takes "
        "six times as long",
    )

    @model_validator(mode="after")
    def _named_as_packed(self) -> Self:
        says = told(self.name)
        if self.compress != "auto" and says not in (Packing.NONE, Packing(self.compress)):
            raise ValueError(f"a name that ends in {says.suffix} means compress: {says}")
        return self


@dataclass(frozen=True, slots=True)
class BasebackupFacts:
    """The server, the client, how it is packed and by whom, and what there is of this backup already. Sizes are bytes.

    ``spaces``: tablespaces outside the data directory; with any, the backup is a directory.
    """

    server: Server = guard()
    packing: Packing = guard()
    spaces: tuple[Space, ...] = guard()
    client: str = current()
    client_packs: bool = current()
    cluster_bytes: int = current()
    state: Present = current()
    where: Layout = current()


class BackedUp(Outputs):
    """The base backup."""

    artifact: Artifact = Field(description="The base backup, as postgres.restore_to_time takes it")
    bytes: Foreseeable[int] = Field(description="Its size")


class Basebackup(Action[Postgres, BasebackupInputs, BasebackupFacts, BackedUp]):
    """Copy the files of the whole running cluster into a store, as one tar file with the server's own manifest.

    `pg_basebackup` runs where the system's host is; in a container it packs there if it can. Its bytes are piped out, counted
    before they are packed, and hashed afterwards; then the archive's end is looked at (what came out of a container packed is
    unpacked once, for the count). The WAL that makes the copy consistent is in it. From its end on, the WAL archive leads to any
    later moment: so a cluster that doesn't archive, or whose archiving fails, is refused, and so is one with a former cluster
    inside its data directory, where a recovery in a container keeps it. `postgres.restore_to_time` checks every file against the
    server's manifest.

    A cluster with tablespaces of its own, on this machine, becomes a directory: a tar file for the data directory, one for each
    tablespace, and the server's manifest. Each is read whole, and hashed, once it is written.
    """

    effect = Effect.CREATES
    needs_programs = ("pg_basebackup", "zstd")
    example = """\
- id: base
  title: Take a base backup
  uses: postgres.basebackup
  on: db
  with: {to: backups}
  timeout: 4h
"""

    def observe(self, look: Look, system: Postgres, inputs: BasebackupInputs, scope: Scope) -> BasebackupFacts:
        """Versions, archiving, free space, and what an earlier attempt left."""
        packing = chosen(look, inputs.compress, inputs.name)
        server = read_server(look, system, scope.application)
        client = read_client(look, system, "pg_basebackup")
        client_packs = packing is Packing.ZSTD and packs_zstd(look, system, client)
        at = system.connection(application=scope.application, database=MAINTENANCE_DATABASE)
        row, spaces = look.query(at, _CLUSTER)[0], spaces_of(look.query(at, TABLESPACES))
        if spaces and not client_packs:
            packing = packed_by_itself(packing, inputs, client.text)
        where = _where(inputs, packing, scope)
        state = present(look, where, parts=(DATA,), made_by=maker(scope))
        size = int(row["bytes"] or 0)
        if not (state.done or state.drafted):
            refuse_older_client(system, client, server)
            needed = int(size * SPACE_FACTOR[packing])
            kept = _kept_inside(look, system, str(row["directory"]))
            apart = elsewhere(system.key or "the cluster", system.host, [one.name for one in spaces])
            within = inside(spaces, str(row["directory"]))
            found = [*_unfit(system, inputs, dict(row)), *apart, *within, *kept, *no_room(look, inputs.to, needed)]
            if found:
                raise Refused(*found)
        return BasebackupFacts(server, packing, spaces, client.text, client_packs, size, state, where)

    def assume(self, system: Postgres, inputs: BasebackupInputs, scope: Scope) -> BasebackupFacts:
        """A cluster that archives, and a store with nothing of this backup."""
        said = told(inputs.name)
        auto = said if said is not Packing.NONE else Packing.ZSTD
        packing = auto if inputs.compress == "auto" else Packing(inputs.compress)
        where = _where(inputs, packing, scope)
        client_packs = packing is Packing.ZSTD
        server, client = unread(scope.step)
        return BasebackupFacts(server, packing, (), client, client_packs, 0, Present(), where)

    def plan(self, system: Postgres, inputs: BasebackupInputs, facts: BasebackupFacts, scope: Scope) -> Operations:
        """The copy into a partial, a look at its end, then the names."""
        state, where = facts.state, facts.where
        if state.done:
            return ()
        if state.drafted:
            return published(where, state, parts=(DATA,))
        at = system.connection(application=scope.application, database=MAINTENANCE_DATABASE)
        began = sql(
            f"SELECT {_MOMENT} AS started_at, pg_current_wal_lsn()::text AS wal_start, timeline_id AS timeline "  # noqa: S608
            "FROM pg_control_checkpoint()"
        )
        over = sql(f"SELECT pg_current_wal_lsn()::text AS wal_stop, {_MOMENT} AS finished_at")
        return (
            *swept(where, state, marker=scope.tag),
            Sql(name="began", connection=at, statements=(began,), reads=True),
            _copied(system, facts, scope),
            Sql(name="ended", connection=at, statements=(over,), reads=True),
            *_looked_at(system, facts),
            Write(name="draft", path=where.partial(MANIFEST), content=_manifest(system, facts, scope)),
            *published(where, state, parts=(DATA,)),
        )

    def recovery(self, system: Postgres, inputs: BasebackupInputs, facts: BasebackupFacts, scope: Scope) -> Operations:
        """A copy that an older version began, or another pg_basebackup, is made as it is made now: into the step's own partials."""
        return tuple(one for one in self.plan(system, inputs, facts, scope) if one.name in ("copy", "draft"))

    def foresee(self, system: Postgres, inputs: BasebackupInputs, facts: BasebackupFacts, scope: Scope) -> BackedUp:
        """The base backup with the file that it will have."""
        base = foreseen(inputs.to, _manifest(system, facts, scope), scope.step)
        return BackedUp(artifact=base, bytes=base.bytes)

    def verify(self, look: Look, system: Postgres, inputs: BasebackupInputs, done: Done[BasebackupFacts]) -> BackedUp:
        """The manifest is there, and its files are as it says."""
        made = published_artifact(look, inputs.to, done.facts.where)
        return BackedUp(artifact=made, bytes=made.bytes)


def _where(inputs: BasebackupInputs, packing: Packing, scope: Scope) -> Layout:
    name = inputs.name.replace("{timestamp}", f"{scope.started_at:%Y%m%dT%H%M%SZ}")
    return layout(inputs.to, name if told(name) is packing else f"{name}{packing.suffix}", scope)


def packed_by_itself(packing: Packing, inputs: BasebackupInputs, client: str) -> Packing:
    """What pg_basebackup can pack with where it writes the files itself: gzip, unless zstd was asked for (refused, exit 4)."""
    if packing is not Packing.ZSTD:
        return packing
    if inputs.compress == "auto" and told(inputs.name) is Packing.NONE:
        return Packing.GZIP
    detail = f"A cluster with tablespaces is packed by pg_basebackup itself, and {client} has no zstd."
    raise Refused(Problem("E617", "pg_basebackup can't pack with zstd", detail, "Give `compress: gzip`."))


def _copied(system: Postgres, facts: BasebackupFacts, scope: Scope) -> Operation:
    """CRC-32C per file: against what a disk may do. Against everything else each archive has its SHA-256."""
    fixed = ("--wal-method=fetch", "--checkpoint=fast", "--manifest-checksums=CRC32C")
    label, into = f"runbook {maker(scope)}", facts.where.partial(DATA)
    if facts.spaces:
        return files.copied(system, scope.application, into, packing=facts.packing, fixed=fixed, label=label)
    client_packs = _packs_there(system, facts)
    given = ("--pgdata=-", "--format=tar", *fixed, *options(facts.packing, client_packs=client_packs))
    words = argv(system, "pg_basebackup", target(system), *given, "--no-password", f"--label={label}")
    first = Stage(argv=words, host=system.host, env=env(system, scope.application))
    return Pipeline(
        name="copy",
        stages=(first, *packed(facts.packing, client_packs=client_packs)),
        sink=into,
    )


def _packs_there(system: Postgres, facts: BasebackupFacts) -> bool:
    """Whether pg_basebackup packs: out of a container less has to come. Here its bytes are counted on the way to a zstd of ours."""
    return facts.client_packs and not isinstance(system.host, Local)


def _looked_at(system: Postgres, facts: BasebackupFacts) -> Operations:
    path = facts.where.partial(DATA)
    if facts.spaces:
        return files.read_whole(path, facts.spaces, facts.packing)
    return (ended("look_at_end", facts.packing, path, client_packs=_packs_there(system, facts)),)


def _manifest(system: Postgres, facts: BasebackupFacts, scope: Scope) -> Document:
    name = facts.where.file(DATA)
    spaces, packing = facts.spaces, facts.packing
    out = Ref("look_at_end" if _packs_there(system, facts) else "copy", "taken_bytes")
    counted = (("unpacked_bytes", out),) if packing is not Packing.NONE else ()
    single = Document((("path", name), ("bytes", Ref("copy", "bytes")), ("sha256", Ref("copy", "sha256")), *counted))
    kept: tuple[tuple[str, DocumentValue], ...] = (("tablespaces", files.recorded(name, spaces, packing)),)
    return Document(
        (
            ("manifest", 1),
            ("name", name),
            ("format", Format.BASE_BACKUP.value),
            ("database", ""),
            ("system_identifier", facts.server.identifier),
            ("server_version", facts.server.version),
            ("client_version", facts.client),
            ("started_at", Ref("began", "started_at")),
            ("finished_at", Ref("ended", "finished_at")),
            ("pieces", files.pieces(name, spaces, packing) if spaces else (single,)),
            ("wal_start", Ref("began", "wal_start")),
            ("wal_stop", Ref("ended", "wal_stop")),
            ("timeline", Ref("began", "timeline")),
            *(kept if spaces else ()),
            ("run", maker(scope)),
            ("tool", f"runbook {runbook.__version__}"),
        )
    )


def _unfit(system: Postgres, inputs: BasebackupInputs, row: dict[str, object]) -> list[Problem]:
    who = system.key or "the cluster"
    found = []
    if inputs.to.encrypt_to:
        detail = (
            f"{inputs.to.key or 'The store'} asks for encryption to {inputs.to.encrypt_to}; the backup would be plain."
        )
        found.append(Problem("E633", "this action can't encrypt", detail, "Use a store without `encrypt_to`."))
    if row["archive_mode"] == "off" or row["wal_level"] == "minimal":
        detail = f"{who} has archive_mode {row['archive_mode']} and wal_level {row['wal_level']}: nothing leads on from a backup."
        fix = "Set wal_level = replica, archive_mode = on and an archive_command, restart the server, take the backup then."
        found.append(Problem("E770", "the cluster does not archive its WAL", detail, fix))
    if row["failing"]:
        detail = f"{who} could not archive {row['failed_wal']}, and has archived nothing since."
        found.append(
            Problem("E771", "archiving fails", detail, "SELECT * FROM pg_stat_archiver;    # and the server's log")
        )
    if not row["replication"]:
        detail = f"{system.user} has neither REPLICATION nor SUPERUSER."
        fix = f"psql -c 'ALTER ROLE {system.user} REPLICATION'    # or another `user`"
        found.append(Problem("E773", "the role may not copy the cluster", detail, fix))
    return found


def _kept_inside(look: Look, system: Postgres, directory: str) -> list[Problem]:
    """Former clusters that a recovery in a container keeps inside the data directory: the copy would hold them too."""
    try:
        entries = look.listing(system.host, directory) if directory else ()
    except Unreachable:
        return []  # it can't be seen from here: then no recovery has kept anything in it from here
    return [
        Problem(
            "E774",
            "a former cluster lies inside the data directory",
            f"{one.path}, kept by a recovery, would be copied into every base backup.",
            f"Pack it away, then: {on_host(system.host, f'rm -rf {shell_word(one.path)}')}",
        )
        for one in entries
        if posixpath.basename(one.path).startswith(KEPT)
    ]
