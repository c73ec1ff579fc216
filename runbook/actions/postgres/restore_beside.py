"""Restoring a dump into a database of its own, beside the live one and never in its place."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from runbook.actions.postgres.client import connect_line
from runbook.actions.postgres.counts import Count, unread
from runbook.actions.postgres.database import (
    UNLIMITED,
    Properties,
    Seen,
    comment,
    create,
    limits,
    read_rows,
)
from runbook.actions.postgres.globals_file import Roles
from runbook.actions.postgres.new_database import NewDatabase
from runbook.actions.postgres.restore import SPACE_FACTOR, UNPACKED, snapshot_of
from runbook.actions.postgres.surroundings import dump_properties, load_stands, read_cluster, read_dump, refuse_copy
from runbook.actions.postgres.swap import Marks
from runbook.artifact import Artifact
from runbook.errors import Problem
from runbook.host import Local
from runbook.operation import Connection, Name, Operations, Statement, sql
from runbook.system import Postgres
from runbook.units import show_instant

NOT_IN_A_COPY = ("--no-subscriptions",)
"""A database with a subscription can't be dropped, and a copy's would be for the live one's slot on the publisher."""
_PUBLIC_MAY = "SELECT has_database_privilege('public', {oid}::oid, 'CONNECT')::int AS may"


class RestoreBesideInputs(Inputs):
    """What is restored."""

    artifact: Artifact = Field(description="The dump, as backup.select or postgres.verify_dump gave it")
    jobs: int = Field(default=2, ge=1, le=64, description="Tables and indexes restored at the same time")
    roles: Literal["create", "keep"] = Field(
        default="create",
        description="create: roles of the dump's globals file that don't exist are made, and stay; nobody can log in with them",
    )
    measured: bool = Field(
        default=True,
        description="false: an older backup on purpose, whose age says nothing of the recovery point objective",
    )
    space_factor: float = Field(
        default=SPACE_FACTOR, ge=0, description="Free space that must be there, as a multiple of the database's size"
    )


@dataclass(frozen=True, slots=True)
class RestoreBesideFacts:
    """The cluster, the copy and the dump. ``mark``: what the copy's comment begins with; ``staged``, ``loaded``: as for
    postgres.restore.

    ``database`` and ``mark`` are pinned for who releases the copy: they are all that proves whose it is.
    """

    system_identifier: str = guard()
    artifact_sha256: str = guard()
    database: str = pinned()
    mark: str = pinned()
    properties: Properties = pinned()
    missing: tuple[str, ...] = pinned()
    version: int = current()
    copy: Seen | None = current()
    roles: Roles = current()
    counts: tuple[Count, ...] = current()
    staged: bool = current()
    loaded: bool = current()


class RestoredBeside(Outputs):
    """The copy."""

    database: str = Field(description="The copy's name")
    connect: str = Field(description="The command that opens a session in it")
    rows: int = Field(description="Rows in the tables that were compared with the dump's own record, all of them equal")
    tables_counted: int = Field(description="Tables whose rows were compared; 0 where the dump has no record")
    restored_from: str = Field(description="Name of the backup")
    snapshot_at: str = Field(description="Instant up to which data is there: that of the dump's snapshot")
    recovery_point: str | None = Field(description="The same, where it is measured against the objective")


class RestoreBeside(Action[Postgres, RestoreBesideInputs, RestoreBesideFacts, RestoredBeside]):
    """Restore a dump into a database of its own beside the live one: to look, to compare, to take rows out, to test the backup.

    The copy's name is the run's (`rb_RUN_STEP`); the live database is neither touched nor needed. What was loaded is compared, row
    for row of every table, with what was counted when the dump was made, and analysed. The copy has the encoding, locale,
    tablespace and settings of the live database (where there is none, of the dump), not its privileges: it belongs to
    the system's user, and nobody else but superusers may connect to it.

    Refused: too little space, extensions that the server does not have, a dump that is not the one that was chosen. Roles that are
    missing are made, as the dump's globals file names them, and stay; without a login, a password or rights: who was shut out
    since stays out. Subscriptions are left out. The step is a hold: `postgres.drop_beside` with `releases:` drops the
    copy, in `finally` at every end of the run; a resume that needs it again makes it again.
    """

    effect = Effect.CREATES
    holds = True
    needs_programs = ("pg_restore", "psql")
    example = """\
- id: recover
  title: Restore the backup into a database of its own
  uses: postgres.restore_beside
  on: db
  with: {artifact: "{{ steps.prove.artifact }}", jobs: 2}
  timeout: 2h
"""

    def observe(self, look: Look, system: Postgres, inputs: RestoreBesideInputs, scope: Scope) -> RestoreBesideFacts:
        """Read the cluster and the dump's files; refuse what must not be begun."""
        names, marks = swap.names(system.database, "", scope), _marks(inputs, scope)
        cluster = read_cluster(look, system, names, marks, scope)
        dump = read_dump(look, system, inputs.artifact, scope)
        live = cluster.properties
        if cluster.live is None:
            live = dump_properties(look, system, inputs.artifact, scope)
        if cluster.new is None:
            needed = int(inputs.space_factor * max(cluster.live_bytes, UNPACKED * inputs.artifact.bytes))
            refuse_copy(cluster, dump, needed_bytes=needed)
        roles = dump.roles if inputs.roles == "create" else Roles()
        return RestoreBesideFacts(
            system_identifier=cluster.identifier,
            artifact_sha256=dump.sha256,
            database=names.new,
            mark=_mark(scope),
            properties=_of_a_copy(live),
            missing=roles.names,
            version=cluster.version,
            copy=cluster.new,
            roles=roles,
            counts=dump.counts,
            staged=not isinstance(system.host, Local) and look.file(system.host, load.staging(names.new)) is not None,
            loaded=load_stands(look, system, names, cluster.new, scope),
        )

    def assume(self, system: Postgres, inputs: RestoreBesideInputs, scope: Scope) -> RestoreBesideFacts:
        """Defaults, no missing roles, nothing left by an earlier attempt."""
        return RestoreBesideFacts(
            system_identifier="",
            artifact_sha256=inputs.artifact.sha256,
            database=swap.own_name(scope),
            mark=_mark(scope),
            properties=Properties(encoding="<as in the backup>", tablespace="<as in the backup>"),
            missing=(),
            version=0,
            copy=None,
            roles=Roles(),
            counts=unread(inputs.artifact),
            staged=False,
            loaded=False,
        )

    def plan(
        self, system: Postgres, inputs: RestoreBesideInputs, facts: RestoreBesideFacts, scope: Scope
    ) -> Operations:
        """What the copy's mark leaves to do: nothing where it is finished, the proofs where the load has ended, else all of it."""
        clean = load.unstaged(system, facts.database) if facts.staged else ()
        copy = _copy(system, inputs, facts, scope)
        return (*clean, *copy.remaining(swap.standing_alone(facts.copy, copy.marks)))

    def expect(self, system: Postgres, inputs: RestoreBesideInputs, facts: RestoreBesideFacts) -> RestoredBeside | None:
        """The copy, once the server was looked at."""
        return _outputs(system, inputs, facts) if facts.version else None

    def recovery(
        self, system: Postgres, inputs: RestoreBesideInputs, facts: RestoreBesideFacts, scope: Scope
    ) -> Operations:
        """Where somebody has made some of the missing roles since, the others are made still, from the same file."""
        shown = set(facts.roles.names) <= set(facts.missing)
        return _copy(system, inputs, facts, scope).roles_made() if shown else ()

    def retreat(
        self, system: Postgres, inputs: RestoreBesideInputs, attempt: Attempt[RestoreBesideFacts], scope: Scope
    ) -> Operations:
        """A copy whose rows are not those of the record is no longer said to be loaded."""
        return _copy(system, inputs, attempt.facts, scope).taken_back(attempt)

    def verify(
        self, look: Look, system: Postgres, inputs: RestoreBesideInputs, done: Done[RestoreBesideFacts]
    ) -> RestoredBeside:
        """It is there, finished, and closed to everybody else."""
        name = done.facts.database
        at = swap.maintenance(system, system.database, "runbook/verify")
        row = read_rows(look, at, (name, name, name)).get(name)
        if row is None or row.seen.comment != f"{done.facts.mark}restored from {inputs.artifact.name}":
            raise _not_right(name, "it is missing, or was not finished")
        if look.query(at, sql(_PUBLIC_MAY, oid=row.seen.oid))[0]["may"]:
            raise _not_right(name, "everybody may connect to it")
        return _outputs(system, inputs, done.facts)

    def undo(
        self, system: Postgres, inputs: RestoreBesideInputs, facts: RestoreBesideFacts, scope: Scope
    ) -> Operations:
        """Drop the copy."""
        clean = load.unstaged(system, facts.database) if facts.staged else ()
        if facts.copy is None:
            return clean
        return (*clean, swap.drop(_maintenance(system, scope), facts.database, version=facts.version, called="drop"))


def _marks(inputs: RestoreBesideInputs, scope: Scope) -> Marks:
    return swap.marks(scope, inputs.artifact.name)


def _mark(scope: Scope) -> str:
    return swap.mark_of(scope)


def _maintenance(system: Postgres, scope: Scope) -> Connection:
    return swap.maintenance(system, system.database, scope.application)


def _of_a_copy(live: Properties) -> Properties:
    """What a copy takes over: how text is stored and sorted, where it lies, and the settings that hold for every session."""
    settings = tuple(setting for setting in live.settings if not setting.role)
    return Properties(
        encoding=live.encoding,
        lc_collate=live.lc_collate,
        lc_ctype=live.lc_ctype,
        provider=live.provider,
        locale=live.locale,
        rules=live.rules,
        tablespace=live.tablespace,
        settings=settings,
    )


def _copy(system: Postgres, inputs: RestoreBesideInputs, facts: RestoreBesideFacts, scope: Scope) -> NewDatabase:
    begun = f"{facts.mark}being restored from {inputs.artifact.name}"
    return NewDatabase(
        system=system,
        at=_maintenance(system, scope),
        name=facts.database,
        artifact=inputs.artifact,
        jobs=inputs.jobs,
        roles=facts.roles,
        counts=facts.counts,
        properties=facts.properties,
        version=facts.version,
        marks=_marks(inputs, scope),
        created=_created(facts, begun),
        scope=scope,
        begun=begun,
        loaded=facts.loaded,
        without=NOT_IN_A_COPY,
        bare_roles=True,
    )


def _created(facts: RestoreBesideFacts, begun: str) -> tuple[Statement, ...]:
    """Made for nobody, closed to everybody else, then opened: no session of another role is inside when data comes."""
    made = create(facts.database, facts.properties, version=facts.version)
    return (
        replace(made, text=f"{made.text} CONNECTION LIMIT 0"),
        comment(facts.database, begun),
        sql("REVOKE ALL ON DATABASE {db} FROM PUBLIC", db=Name(facts.database)),
        limits(facts.database, connection_limit=UNLIMITED, is_open=True, is_template=False),
    )


def _outputs(system: Postgres, inputs: RestoreBesideInputs, facts: RestoreBesideFacts) -> RestoredBeside:
    at = show_instant(snapshot_of(inputs.artifact))
    return RestoredBeside(
        database=facts.database,
        connect=connect_line(system, facts.database),
        rows=sum(count.rows for count in facts.counts),
        tables_counted=len(facts.counts),
        restored_from=inputs.artifact.name,
        snapshot_at=at,
        recovery_point=at if inputs.measured else None,
    )


def _not_right(database: str, why: str) -> CheckFailed:
    return CheckFailed(
        Problem("E607", "the copy is not as it should be", f"{database}: {why}.", "psql -l    # then look at it")
    )
