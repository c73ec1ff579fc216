"""From a dump in a store into a database: which program reads it, where, and how its bytes get there.

Owns the operations that fill an empty database. Promises: the first error ends them; a dump that can be piped is hashed on the
way and compared with its manifest; what is copied to another host lies below the step's own name and is removed again.

On this machine ``pg_restore`` reads the file. On another host (a container) one job is fed through a pipe; more jobs, or a
directory, need a copy over there. Plain text goes through ``psql``, in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from runbook.action import Scope
from runbook.actions.backup.layout import GLOBALS, directory_of
from runbook.actions.backup.unpacked_size import most_unpacked
from runbook.actions.postgres import globals_file
from runbook.actions.postgres.client import argv, env, target
from runbook.actions.postgres.counts import Count, compared
from runbook.actions.postgres.globals_file import Roles
from runbook.artifact import Artifact, Format
from runbook.errors import Problem, Refused
from runbook.host import LOCAL, Local
from runbook.operation import (
    Arg,
    Condition,
    Connection,
    Hashing,
    MakeDirectory,
    Operations,
    Pipeline,
    Process,
    Remove,
    Sql,
    Stage,
    Test,
    Transaction,
    sql,
)
from runbook.system import Postgres, Store

STAGING = "/tmp"  # noqa: S108 - a folder of mode 0700 with the run's name is made there
PSQL_OPTIONS = (
    "--no-psqlrc",
    "--quiet",
    "--no-password",
    "--set=ON_ERROR_STOP=1",
    "--single-transaction",
    "--output=/dev/null",
)
DATABASE_COMMAND = r"^\\c\(onnect\)\{0,1\}[[:space:]]"
"""What a dump with ``--create`` holds, and nothing else: rows of COPY have their backslashes doubled."""


@dataclass(frozen=True, slots=True)
class Source:
    """A dump, ready to be read: ``path`` on this machine, ``sha256`` '' where nothing is recorded, ``bytes`` its size.

    ``most_bytes``: what may come out of it, where it is packed as a whole (plain text in gzip); else 0.
    """

    path: str
    format: Format
    sha256: str
    bytes: int
    most_bytes: int = 0


def store_of(artifact: Artifact, scope: Scope) -> Store:
    """The store that the artifact names; refuses (exit 4) where the environment has none of that name."""
    found = scope.systems.get(artifact.store)
    if isinstance(found, Store):
        return found
    raise Refused(
        Problem(
            "E753",
            "the artifact's store is not in this environment",
            f"{artifact.name} lies in the store {artifact.store!r}; {scope.environment} has no such store.",
            "Choose the backup in a step of this plan (backup.select), or add the store to the environment.",
        )
    )


def source_of(artifact: Artifact, scope: Scope) -> Source:
    """Where the dump is; refuses formats that are no dumps."""
    if artifact.format is Format.BASE_BACKUP:
        raise Refused(
            Problem(
                "E754",
                "a base backup is not a dump",
                f"{artifact.name} holds a whole cluster.",
                "Use postgres.restore_to_time, or choose a dump.",
            )
        )
    path = f"{directory_of(store_of(artifact, scope))}/{artifact.name}"
    pieces = artifact.manifest.pieces if artifact.manifest else ()
    hashes = [piece.sha256 for piece in pieces if piece.path == artifact.name]
    packed = artifact.format is Format.PLAIN_GZIP
    most = most_unpacked(artifact.manifest, artifact.name, artifact.bytes) if packed else 0
    return Source(path, artifact.format, hashes[0] if hashes else "", artifact.bytes, most)


def staging(own: str) -> str:
    """The folder for a copy on the host of the server."""
    return f"{STAGING}/{own}"


def needs_copy(db: Postgres, source: Source, jobs: int) -> bool:
    """Whether ``pg_restore`` needs the dump as a file on another host."""
    parallel = source.format is Format.CUSTOM and jobs > 1
    return not isinstance(db.host, Local) and (parallel or source.format is Format.DIRECTORY)


def unstaged(db: Postgres, own: str) -> Operations:
    """Removal of the copy."""
    return (Remove(name="unstage", path=staging(own), marker=own, host=db.host),)


def loaded(
    db: Postgres, database: str, source: Source, *, jobs: int, own: str, scope: Scope, without: tuple[str, ...] = ()
) -> Operations:
    """Fill ``database`` from ``source``; ``without`` are options of pg_restore that leave something out."""
    if source.format in (Format.PLAIN, Format.PLAIN_GZIP):
        return _by_psql(db, database, source, scope)
    if needs_copy(db, source, jobs):
        copy = f"{staging(own)}/{PurePosixPath(source.path).name}"
        restored = _by_pg_restore(db, database, copy, *without, jobs=jobs, scope=scope)
        return (*_staged(db, source, copy, own), restored, *unstaged(db, own))
    if isinstance(db.host, Local):
        return (_by_pg_restore(db, database, source.path, *without, jobs=jobs, scope=scope),)
    stage = Stage(argv=_pg_restore(db, database, *without), host=db.host, env=env(db, scope.application))
    return (
        Pipeline(
            name="load",
            source=source.path,
            stages=(stage,),
            hashing=Hashing.SOURCE,
            expect_sha256=source.sha256,
            total_bytes=source.bytes,
        ),
    )


def roles_made(
    db: Postgres, artifact: Artifact, roles: Roles, *, database: str, scope: Scope, bare: bool
) -> Operations:
    """The lines of the missing roles go from the file into psql; their passwords are read by nobody on the way."""
    if not roles.names:
        return ()
    path = f"{directory_of(store_of(artifact, scope))}/{artifact.name}{GLOBALS}"
    psql = Stage(
        argv=argv(db, "psql", *PSQL_OPTIONS, target(db, database)), host=db.host, env=env(db, scope.application)
    )
    stages = (Stage(argv=globals_file.lines_of(roles, bare=bare)), Stage(argv=globals_file.GRANTOR_DROPPED), psql)
    return (Pipeline(name="roles", source=path, stages=stages, hashing=Hashing.SOURCE),)


def proven(inside: Connection, counts: tuple[Count, ...]) -> Operations:
    """What was loaded is compared with what the dump recorded, row for row of every table, and analysed."""
    # Statistics are not part of a dump before version 18; without them the first queries would be planned blindly.
    analysed = Sql(name="analyze", connection=inside, statements=(sql("ANALYZE"),), transaction=Transaction.AUTOCOMMIT)
    if not counts:
        return (analysed,)
    right = (Condition("which", Test.EQUALS, ""), Condition("wrong", Test.EQUALS, 0))
    statement = compared(counts, exact=True)
    return (Sql(name="rows", connection=inside, statements=(statement,), expect=right, reads=True), analysed)


def _pg_restore(db: Postgres, database: str, *more: Arg) -> tuple[Arg, ...]:
    return argv(db, "pg_restore", "--exit-on-error", "--no-password", target(db, database), *more)


def _by_pg_restore(db: Postgres, database: str, path: str, *without: str, jobs: int, scope: Scope) -> Process:
    parallel = (f"--jobs={jobs}",) if jobs > 1 else ()
    words = _pg_restore(db, database, *without, *parallel, path)
    return Process(name="load", argv=words, host=db.host, env=env(db, scope.application))


def _staged(db: Postgres, source: Source, copy: str, own: str) -> Operations:
    made = MakeDirectory(name="staging", path=staging(own), host=db.host)
    if source.format is Format.DIRECTORY:
        path = PurePosixPath(source.path)
        packed = Stage(argv=("tar", "-C", str(path.parent), "-cf", "-", "--", path.name))
        unpacked = Stage(argv=("tar", "-C", staging(own), "-xf", "-"), host=db.host)
        return (made, Pipeline(name="stage", stages=(packed, unpacked)))
    into = Stage(argv=("dd", f"of={copy}", "bs=1048576", "status=none"), host=db.host)
    piped = Pipeline(
        name="stage",
        source=source.path,
        stages=(into,),
        hashing=Hashing.SOURCE,
        expect_sha256=source.sha256,
        total_bytes=source.bytes,
    )
    return (made, piped)


def _by_psql(db: Postgres, database: str, source: Source, scope: Scope) -> Operations:
    gunzip = (Stage(argv=("gzip", "-dc"), host=LOCAL),) if source.format is Format.PLAIN_GZIP else ()
    most = source.most_bytes
    psql = Stage(
        argv=argv(db, "psql", *PSQL_OPTIONS, target(db, database)),
        host=db.host,
        env=env(db, scope.application),
        most_bytes=most,
    )
    # grep's exit code 1 means "no such line". With one, psql would go on in the database that the dump names: the live one.
    search = Stage(argv=("grep", "--text", "--count", "-e", DATABASE_COMMAND), ok_codes=(1,), most_bytes=most)
    searched = Pipeline(
        name="no_connect",
        source=source.path,
        stages=(*gunzip, search),
        hashing=Hashing.SOURCE,
        expect_sha256=source.sha256,
        total_bytes=source.bytes,
        reads=True,
    )
    piped = Pipeline(
        name="load",
        source=source.path,
        stages=(*gunzip, psql),
        hashing=Hashing.SOURCE,
        expect_sha256=source.sha256,
        total_bytes=source.bytes,
    )
    return (searched, piped)
