"""Restoring a dump beside the live database, and swapping the two by their names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import Field

from runbook.action import (
    Action,
    Attempt,
    CheckFailed,
    Done,
    Effect,
    Inputs,
    Look,
    Outputs,
    Scope,
    current,
    guard,
    pinned,
)
from runbook.actions.postgres import load, swap
from runbook.actions.postgres.assertion import Check, asking
from runbook.actions.postgres.counts import Count, unread
from runbook.actions.postgres.database import Properties, Seen, create, differences, read_properties, read_rows
from runbook.actions.postgres.globals_file import Roles
from runbook.actions.postgres.new_database import NewDatabase
from runbook.actions.postgres.surroundings import (
    NO_DUMP,
    dump_properties,
    load_stands,
    owned_by,
    read_cluster,
    read_dump,
    refuse,
    roles_there,
)
from runbook.actions.postgres.swap import Marks, Names, Standing, Three
from runbook.artifact import Artifact
from runbook.errors import Problem, Refused
from runbook.host import Local
from runbook.operation import Connection, Operations, sql
from runbook.system import Postgres
from runbook.units import show_instant

AS_NOW = "<as it is now>"
"""What a dry-run shows of a live database that can't be asked yet."""
SPACE_FACTOR = 1.2
"""A fresh copy is rarely bigger than the bloated original; the rest is for WAL and for sorting its indexes."""

UNPACKED = 2
"""Where there is no original to measure, the copy is taken to be this many times the dump's size."""


class RestoreInputs(Inputs):
    """What is restored, and under which names."""

    artifact: Artifact = Field(description="The dump, as backup.select or postgres.verify_dump gave it")
    jobs: int = Field(default=2, ge=1, le=64, description="Tables and indexes restored at the same time")
    database: str = Field(default="", description="The database to replace; default: the system's own")
    old_name: str = Field(default="", description="Name under which the present one is kept; default: DATABASE_old_RUN")
    roles: Literal["create", "keep"] = Field(
        default="create",
        description="create: roles of the dump's globals file that don't exist are made, with passwords",
    )
    checks: tuple[Check, ...] = Field(
        default=(),
        description="Queries with what they have to give, asked of the restored copy before it takes the live one's place",
    )
    space_factor: float = Field(
        default=SPACE_FACTOR, ge=0, description="Free space that must be there, as a multiple of the database's size"
    )


@dataclass(frozen=True, slots=True)
class RestoreFacts:
    """The cluster, the three databases and the dump. ``staged``: a copy of the dump lies on the server's host.

    ``loaded``: the records show that the load into the new database ended well, and its mark is missing.
    ``missing``: the roles that were missing when the step was first looked at; ``roles``: what is to be made of them now.
    """

    system_identifier: str = guard()
    database: str = guard()
    artifact_sha256: str = guard()
    original_oid: int = pinned()
    properties: Properties = pinned()
    missing: tuple[str, ...] = pinned()
    names: Names = current()
    version: int = current()
    live: Seen | None = current()
    new: Seen | None = current()
    old: Seen | None = current()
    roles: Roles = current()
    counts: tuple[Count, ...] = current()
    staged: bool = current()
    sessions: int = current()
    loaded: bool = current()

    @property
    def three(self) -> Three:
        """The databases, for :func:`runbook.actions.postgres.swap.standing`."""
        return Three(self.live, self.new, self.old, self.original_oid)


class Restored(Outputs):
    """The swap."""

    database: str = Field(description="The name that the restored database has now")
    kept_as: str = Field(description="The name under which the former one is kept; empty where there was none")
    bytes: int = Field(description="Size of the restored database")
    restored_from: str = Field(description="Name of the backup")
    recovery_point: str = Field(description="Instant up to which data is there: that of the dump's snapshot")
    tables_counted: int = Field(description="Tables whose rows were compared with the dump's record")
    closed_at: str = Field(default="", description="When the former database stopped taking connections")
    swapped_at: str = Field(default="", description="When the restored one took its place")


class Restore(Action[Postgres, RestoreInputs, RestoreFacts, Restored]):
    """Restore a dump into a new database beside the live one, prove it, and swap the two names.

    The live database is not touched until its successor is complete: restored without an error, analysed, its rows compared with
    those that were counted when the dump was made, given the owner, settings and privileges of the live one, and its answers to
    `checks` as they have to be. Then the live database is closed, its sessions are ended, and one transaction renames both: a
    second without service, however large the data. The former database is kept as `DATABASE_old_RUN` (only superusers may
    connect); nothing is dropped but what an interrupted attempt of this very step left. Where the live database is gone, its
    properties come from the dump.

    Refused: logical replication slots, subscriptions and prepared transactions in the live database, extensions that the server
    does not have, too little space, a dump that is not the one that was chosen. Roles that are missing are made from the dump's
    globals file, and stay. `undo` swaps the names back; the restored copy then keeps the name that it was made under.
    """

    effect = Effect.DESTROYS
    needs_programs = ("pg_restore", "psql")
    example = """\
- id: restore
  title: Restore beside the present database, then swap the names
  uses: postgres.restore
  on: db
  with:
    artifact: "{{ steps.prove.artifact }}"
    jobs: 2
    checks: [{name: users are there, query: SELECT count(*) FROM users, at_least: 1}]
  timeout: 2h
  confirm: The present database is kept under another name.
"""

    def replaces(self, system: Postgres, inputs: RestoreInputs) -> str:
        """The database that is swapped: the one that the step names, else the system's."""
        return inputs.database or system.database

    def observe(self, look: Look, system: Postgres, inputs: RestoreInputs, scope: Scope) -> RestoreFacts:
        """Read the cluster and the dump's files; refuse what must not be begun."""
        names, marks = _names(system, inputs, scope), _marks(inputs, scope)
        cluster = read_cluster(look, system, names, marks, scope)
        dump = read_dump(look, system, inputs.artifact, scope)
        properties, roles = cluster.properties, dump.roles if inputs.roles == "create" else Roles()
        if cluster.live is None:
            properties = dump_properties(look, system, inputs.artifact, scope)
            known = roles_there(look, system, properties, scope) | frozenset(roles.names)
            properties = owned_by(properties, known, system.user)
        own = swap.own_name(scope)
        facts = RestoreFacts(
            system_identifier=cluster.identifier,
            database=names.live,
            artifact_sha256=dump.sha256,
            original_oid=cluster.original_oid,
            properties=properties,
            missing=roles.names,
            names=names,
            version=cluster.version,
            live=cluster.live,
            new=cluster.new,
            old=cluster.old,
            roles=roles,
            counts=dump.counts,
            staged=not isinstance(system.host, Local) and look.file(system.host, load.staging(own)) is not None,
            sessions=cluster.sessions,
            loaded=load_stands(look, system, names, cluster.new, scope),
        )
        _refuse_taken(names, marks, facts)
        untouched = cluster.new is None and cluster.old is None and cluster.original_oid == _oid(cluster.live)
        if untouched:
            needed = int(inputs.space_factor * max(cluster.live_bytes, UNPACKED * inputs.artifact.bytes))
            refuse(cluster, dump, names, needed_bytes=needed)
        elif cluster.old is None and cluster.in_the_way:
            refuse(cluster, NO_DUMP, names, needed_bytes=0)
        return facts

    def assume(self, system: Postgres, inputs: RestoreInputs, scope: Scope) -> RestoreFacts:
        """A live database with the defaults, no missing roles, nothing left by an earlier attempt."""
        live = Seen(oid=1, comment="", open=True, invalid=False)
        names = _names(system, inputs, scope)
        return RestoreFacts(
            system_identifier="",
            database=names.live,
            artifact_sha256=inputs.artifact.sha256,
            original_oid=live.oid,
            properties=Properties(owner=AS_NOW, encoding=AS_NOW, tablespace=AS_NOW),
            missing=(),
            names=names,
            version=0,
            live=live,
            new=None,
            old=None,
            roles=Roles(),
            counts=unread(inputs.artifact),
            staged=False,
            sessions=0,
            loaded=False,
        )

    def plan(self, system: Postgres, inputs: RestoreInputs, facts: RestoreFacts, scope: Scope) -> Operations:
        """What the names leave to do: see the table in :mod:`runbook.actions.postgres.swap`."""
        clean = load.unstaged(system, facts.names.new) if facts.staged else ()
        new = _new(system, inputs, facts, scope)
        standing = swap.standing(facts.three, facts.names, new.marks)
        if standing is Standing.SWAPPED:
            return clean
        return (
            *clean,
            *new.remaining(standing),
            *_asked(system, inputs, facts, scope),
            *_put_in_place(new.at, new.marks, facts),
        )

    def recovery(self, system: Postgres, inputs: RestoreInputs, facts: RestoreFacts, scope: Scope) -> Operations:
        """Where somebody has made some of the missing roles since, the others are made still, from the same file."""
        shown = set(facts.roles.names) <= set(facts.missing)
        return _new(system, inputs, facts, scope).roles_made() if shown else ()

    def retreat(
        self, system: Postgres, inputs: RestoreInputs, attempt: Attempt[RestoreFacts], scope: Scope
    ) -> Operations:
        """A live database that was closed for a swap that did not come takes sessions again; a copy whose rows are not those of
        the record is no longer said to be loaded.
        """
        facts, at = attempt.facts, _maintenance(system, attempt.facts, scope)
        back = _new(system, inputs, facts, scope).taken_back(attempt)
        shut = "close" in attempt.begun or (facts.live is not None and not facts.live.open)
        if "swap" in attempt.succeeded or not shut or not facts.original_oid or not facts.properties.open:
            return back
        return (*back, swap.opened(at, facts.names.live))

    def verify(self, look: Look, system: Postgres, inputs: RestoreInputs, done: Done[RestoreFacts]) -> Restored:
        """The names, the properties and the size, as the server tells them now."""
        facts, live = done.facts, done.facts.names.live
        at = swap.maintenance(system, live, "runbook/verify")
        rows = read_rows(look, at, facts.names.all)
        row = rows.get(live)
        kept = rows.get(facts.names.old)
        if row is None or row.seen.oid == facts.original_oid:
            raise _not_shown(live, "the restored database does not have this name")
        if facts.original_oid and (kept is None or kept.seen.oid != facts.original_oid):
            raise _not_shown(live, f"the former database is not there as {facts.names.old}")
        differing = _differing(facts, read_properties(look, at, row))
        if differing:
            raise _not_shown(live, f"not as they were: {', '.join(differing)}")
        size = look.query(at, sql("SELECT pg_database_size({oid}::oid)::bigint AS bytes", oid=row.seen.oid))[0]
        return Restored(
            database=live,
            kept_as=facts.names.old if facts.original_oid else "",
            bytes=int(size["bytes"] or 0),
            restored_from=inputs.artifact.name,
            recovery_point=show_instant(snapshot_of(inputs.artifact)),
            tables_counted=len(facts.counts),
            closed_at=str(done.results.get("close", {}).get("closed_at", "")),
            swapped_at=str(done.results.get("swap", {}).get("swapped_at", "")),
        )

    def undo(self, system: Postgres, inputs: RestoreInputs, facts: RestoreFacts, scope: Scope) -> Operations | None:
        """Swap the names back. Before the swap: let sessions in again, and drop a copy that is not finished."""
        names, marks, at = facts.names, _marks(inputs, scope), _maintenance(system, facts, scope)
        clean = load.unstaged(system, names.new) if facts.staged else ()
        reopened = (
            (swap.opened(at, names.live),) if facts.live and not facts.live.open and facts.properties.open else ()
        )
        match swap.standing(facts.three, names, marks):
            case Standing.NOTHING | Standing.FINISHED:
                return (*clean, *reopened)
            case Standing.UNFINISHED | Standing.LOADED:
                return (*clean, *reopened, swap.drop(at, names.new, version=facts.version))
            case Standing.SWAPPED:
                existed = bool(facts.original_oid)
                back = swap.swapped_back(at, names, marks, facts.properties, existed=existed)
                return (*clean, *swap.closed(at, names.live), back)


def _names(system: Postgres, inputs: RestoreInputs, scope: Scope) -> Names:
    return swap.names(inputs.database or system.database, inputs.old_name, scope)


def _marks(inputs: RestoreInputs, scope: Scope) -> Marks:
    return swap.marks(scope, inputs.artifact.name)


def _maintenance(system: Postgres, facts: RestoreFacts, scope: Scope) -> Connection:
    return swap.maintenance(system, facts.names.live, scope.application)


def snapshot_of(artifact: Artifact) -> datetime:
    """What was committed while the dump ran is not in it; a foreign dump is only known by its file's time."""
    return artifact.manifest.started_at if artifact.manifest else artifact.finished_at


def _oid(seen: Seen | None) -> int:
    return seen.oid if seen else 0


def _new(system: Postgres, inputs: RestoreInputs, facts: RestoreFacts, scope: Scope) -> NewDatabase:
    """The successor, under the name that it is made with."""
    return NewDatabase(
        system=system,
        at=_maintenance(system, facts, scope),
        name=facts.names.new,
        artifact=inputs.artifact,
        jobs=inputs.jobs,
        roles=facts.roles,
        counts=facts.counts,
        properties=facts.properties,
        version=facts.version,
        marks=_marks(inputs, scope),
        created=(create(facts.names.new, facts.properties, version=facts.version),),
        scope=scope,
        loaded=facts.loaded,
    )


def _asked(system: Postgres, inputs: RestoreInputs, facts: RestoreFacts, scope: Scope) -> Operations:
    """The checks, once the copy is finished: it has the settings then, such as a search_path, that the queries rely on."""
    return asking(inputs.checks, system.connection(application=scope.application, database=facts.names.new))


def _put_in_place(at: Connection, marks: Marks, facts: RestoreFacts) -> Operations:
    names, existed = facts.names, bool(facts.original_oid)
    closed = swap.closed(at, names.live) if existed else ()
    return (*closed, swap.swapped(at, names, marks, facts.properties, existed=existed))


def _differing(facts: RestoreFacts, found: Properties) -> tuple[str, ...]:
    """Where there was no database before, what the dump does not tell can't differ, and the comment holds the mark."""
    if facts.original_oid:
        return differences(facts.properties, found)
    named = ("owner", "encoding", "lc_collate", "settings", "grants")
    told = {name for name in named if getattr(facts.properties, name)}
    return tuple(name for name in differences(facts.properties, found) if name in told)


def _refuse_taken(names: Names, marks: Marks, facts: RestoreFacts) -> None:
    if facts.old is not None and not facts.old.comment.startswith(marks.kept):
        raise Refused(
            Problem(
                "E752",
                "the name for the former database is taken",
                f"There is already a database {names.old}, and this step did not put it aside.",
                "Give another `old_name`, or rename that database.",
            )
        )


def _not_shown(database: str, why: str) -> CheckFailed:
    return CheckFailed(
        Problem(
            "E762",
            "the restored database is not as it should be",
            f"{database}: {why}.",
            "psql -l    # then look at it",
        )
    )
