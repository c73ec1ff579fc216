"""What is read before a database is replaced: the three names, what stands in the way, space, roles, and the dump's files.

Owns the reads of ``postgres.restore`` and its refusals. Promises: every look is bounded and goes to the maintenance database or
to files; what stands in the way is named, with the command that removes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from runbook.action import Look, Scope, Unreachable
from runbook.actions.backup.layout import COUNTS, GLOBALS, Broken, directory_of, flaw, read_manifest, sha256_of
from runbook.actions.postgres import archive, counts, globals_file, load, swap
from runbook.actions.postgres.client import argv, read_client, read_server
from runbook.actions.postgres.counts import LONGEST_RECORD, Count
from runbook.actions.postgres.database import Properties, Row, Seen, read_properties, read_rows
from runbook.actions.postgres.globals_file import Roles
from runbook.actions.postgres.packing import refuse_unreadable
from runbook.actions.postgres.swap import Marks, Names
from runbook.artifact import Artifact, Format
from runbook.errors import Problem, Refused
from runbook.host import LOCAL, Local
from runbook.operation import Connection, sql
from runbook.system import Postgres
from runbook.units import show_size

_IN_THE_WAY = """
SELECT 'the logical replication slot ' || slot_name AS what FROM pg_replication_slots WHERE database = {db}
UNION ALL SELECT 'the subscription ' || subname FROM pg_subscription
    WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = {db})
UNION ALL SELECT 'the prepared transaction ' || gid FROM pg_prepared_xacts WHERE database = {db}
"""
_SIZES = """
SELECT coalesce((SELECT pg_database_size(oid) FROM pg_database WHERE datname = {db}), 0)::bigint AS bytes,
       (SELECT count(*) FROM pg_stat_activity WHERE datname = {db} AND backend_type = 'client backend')::int AS sessions,
       coalesce(nullif((SELECT pg_tablespace_location(dattablespace) FROM pg_database WHERE datname = {db}), ''),
         CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN current_setting('data_directory') END, '') AS directory
"""
_ROLES = """
SELECT rolname::text AS name FROM pg_roles WHERE rolname IN (SELECT jsonb_array_elements_text({names}::jsonb))
"""
_UNAVAILABLE = """
SELECT e.name FROM jsonb_array_elements_text({names}::jsonb) AS e(name)
WHERE NOT EXISTS (SELECT FROM pg_available_extensions a WHERE a.name = e.name)
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The server and the three databases. ``original_oid`` 0: there is no live database, or this step made it."""

    identifier: str
    version: int
    live: Seen | None
    new: Seen | None
    old: Seen | None
    original_oid: int
    properties: Properties
    in_the_way: tuple[str, ...]
    live_bytes: int
    free_bytes: int
    sessions: int


@dataclass(frozen=True, slots=True)
class Dump:
    """The artifact's files. ``roles`` are missing, ``present`` exist, both of the globals file; extensions: not installed."""

    sha256: str
    roles: Roles
    present: frozenset[str]
    counts: tuple[Count, ...]
    missing_extensions: tuple[str, ...]


NO_DUMP = Dump("", Roles(), frozenset(), (), ())
"""For refusals that rest on the cluster alone."""


def read_cluster(look: Look, db: Postgres, names: Names, marks: Marks, scope: Scope) -> Cluster:
    """Ask the server; ``free_bytes`` is -1 where its disk can't be seen from the system's host."""
    connection = swap.maintenance(db, names.live, scope.application)
    server = read_server(look, db, scope.application)
    rows = read_rows(look, connection, names.all)
    live, new, old = (rows.get(name) for name in names.all)
    sizes = look.query(connection, sql(_SIZES, db=names.live))[0]
    directory = str(sizes["directory"]) or db.data_directory
    visible = directory and look.file(db.host, directory) is not None
    return Cluster(
        identifier=server.identifier,
        version=server.version,
        live=live.seen if live else None,
        new=new.seen if new else None,
        old=old.seen if old else None,
        original_oid=_original(live, old, marks),
        properties=read_properties(look, connection, live) if live else Properties(),
        in_the_way=tuple(str(row["what"]) for row in look.query(connection, sql(_IN_THE_WAY, db=names.live))),
        live_bytes=int(sizes["bytes"] or 0),
        free_bytes=look.free_bytes(db.host, directory) if visible else -1,
        sessions=int(sizes["sessions"] or 0),
    )


def _original(live: Row | None, old: Row | None, marks: Marks) -> int:
    """Which database is the one from the start: by its mark if it was set aside, else the live one unless it is restored."""
    if old is not None and old.seen.comment.startswith(marks.kept):
        return old.seen.oid
    return 0 if live is None or marks.restored in live.seen.comment else live.seen.oid


def load_stands(look: Look, db: Postgres, names: Names, new: Seen | None, scope: Scope) -> bool:
    """Whether the load into the new database has ended well though its mark is missing: the records show it, and what a session
    was told to be committed outlives a crash of the server; else the end of a load proves nothing.
    """
    if not swap.load_shown(scope.ended, new):
        return False
    at = swap.maintenance(db, names.live, scope.application)
    return look.query(at, sql("SELECT current_setting('synchronous_commit') AS it"))[0]["it"] != "off"


def read_artifact(look: Look, artifact: Artifact, scope: Scope) -> str:
    """The hash of the artifact's manifest as it is now; refuses (exit 4) one that was not chosen, or can't be unpacked here."""
    refuse_unreadable(look, artifact)
    directory = directory_of(load.store_of(artifact, scope))
    known = read_manifest(look, directory, artifact.name)
    sha256, why = "", ""
    if isinstance(known, Broken):
        why = known.why
    elif known is not None:
        sha256, why = sha256_of(known[1]), flaw(look, directory, known[0])
    elif look.file(LOCAL, f"{directory}/{artifact.name}") is None:
        why = "it is missing"
    if not why and sha256 != artifact.sha256:
        why = f"its manifest has the hash {sha256 or 'none'}, the one that was chosen {artifact.sha256 or 'none'}"
    if why:
        raise Refused(
            Problem(
                "E755",
                "the backup is not the one that was chosen",
                f"{directory}/{artifact.name}: {why}.",
                "Choose it anew (backup.select), and prove it before it is restored.",
            )
        )
    return sha256


def read_dump(look: Look, db: Postgres, artifact: Artifact, scope: Scope) -> Dump:
    """Look at the artifact's files; refuses (exit 4) one that is not what was chosen, or that this host can't read."""
    source = load.source_of(artifact, scope)
    sha256 = read_artifact(look, artifact, scope)
    _refuse_older(look, db, artifact)
    given = _text(look, f"{source.path}{GLOBALS}")
    counted = _text(look, f"{source.path}{COUNTS}")
    at = swap.maintenance(db, db.database, scope.application)
    known_roles = globals_file.parse(given)
    present = frozenset(_named(look, at, _ROLES, known_roles.mentioned))
    return Dump(
        sha256=sha256,
        roles=known_roles.missing(present),
        present=present,
        counts=counts.parse(counted, f"{artifact.name}{COUNTS}"),
        missing_extensions=_missing_extensions(look, db, source, scope),
    )


def dump_properties(look: Look, db: Postgres, artifact: Artifact, scope: Scope) -> Properties:
    """What the dump says of its database; the cluster's defaults where it says nothing (plain text) or can't be read here."""
    source = load.source_of(artifact, scope)
    if not _readable(db, source):
        return Properties()
    return archive.properties(_shown(look, db, *archive.NOTHING_BUT_THE_DATABASE, source.path))


def roles_there(look: Look, db: Postgres, properties: Properties, scope: Scope) -> frozenset[str]:
    """Which of the roles that the properties name exist."""
    named = {properties.owner, *(one.role for one in properties.settings)}
    named |= {role for one in properties.grants or () for role in (one.grantor, one.grantee)}
    return frozenset(_named(look, swap.maintenance(db, db.database, scope.application), _ROLES, named - {""}))


def owned_by(properties: Properties, roles: frozenset[str], instead: str) -> Properties:
    """The same, without the settings and privileges of roles that don't exist; ``instead`` owns it where its owner doesn't."""
    settings = tuple(s for s in properties.settings if not s.role or s.role in roles)
    was = properties.owner
    owner = was if was in roles or not was else instead
    if properties.grants is None:
        return replace(properties, owner=owner, settings=settings)
    known = {"", owner, *roles}
    renamed = (
        (owner if g.grantor == was else g.grantor, owner if g.grantee == was else g.grantee, g)
        for g in properties.grants
    )
    grants = tuple(replace(g, grantor=by, grantee=to) for by, to, g in renamed if {by, to} <= known)
    return replace(properties, owner=owner, settings=settings, grants=grants)


def _shown(look: Look, db: Postgres, *options: str) -> str:
    """What pg_restore prints; '' where it can't, or prints more than an observer may read: the restore itself will tell."""
    try:
        ran = look.run(db.host, tuple(map(str, argv(db, "pg_restore", *options))))
    except Unreachable:
        return ""
    return ran.stdout if ran.exit_code == 0 else ""


def _readable(db: Postgres, source: load.Source) -> bool:
    return isinstance(db.host, Local) and source.format in (Format.CUSTOM, Format.DIRECTORY)


def _missing_extensions(look: Look, db: Postgres, source: load.Source, scope: Scope) -> tuple[str, ...]:
    if not _readable(db, source):
        return ()
    wanted = archive.extensions(_shown(look, db, "--list", source.path))
    return _named(look, swap.maintenance(db, db.database, scope.application), _UNAVAILABLE, wanted)


def _named(look: Look, connection: Connection, question: str, names: Collection[str]) -> tuple[str, ...]:
    """Which of the names the question gives back."""
    if not names:
        return ()
    rows = look.query(connection, sql(question, names=json.dumps(sorted(names), ensure_ascii=False)))
    return tuple(str(row["name"]) for row in rows)


def _refuse_older(look: Look, db: Postgres, artifact: Artifact) -> None:
    plain = artifact.format in (Format.PLAIN, Format.PLAIN_GZIP)
    client = read_client(look, db, "psql" if plain else "pg_restore")
    made_by = re.search(r"\(PostgreSQL\) (\d+)", artifact.manifest.client_version if artifact.manifest else "")
    if made_by is not None and client.major < int(made_by[1]) and not plain:
        raise Refused(
            Problem(
                "E756",
                "the client program is older than the dump",
                f"{client.text} on {db.host} can't read what pg_dump {made_by[1]} wrote.",
                f"Install version {made_by[1]} or newer there, or point `binaries` of {db.key or 'the system'} to it.",
            )
        )


def _text(look: Look, path: str) -> str:
    """The record, or '' where there is none; refuses (exit 4) one that can't be read whole, which would prove less than it says."""
    facts = look.file(LOCAL, path)
    if facts is not None and facts.bytes > LONGEST_RECORD:
        detail = f"{path} has {show_size(facts.bytes)}; at most {show_size(LONGEST_RECORD)} are read."
        fix = "Restore it by hand (createdb, pg_restore --exit-on-error), and compare it with the record there."
        raise Refused(Problem("E763", "a record beside the backup is too large to be read", detail, fix))
    return look.text(LOCAL, path, most_bytes=LONGEST_RECORD) or ""


def refuse(cluster: Cluster, dump: Dump, names: Names, *, needed_bytes: int) -> None:
    """Refuse (exit 4) what must not be begun, with everything that stands in the way at once."""
    found = [
        *_unfit(cluster, names),
        *_in_the_way(cluster, names),
        *_unavailable(dump),
        *_space(cluster, needed_bytes),
    ]
    if found:
        raise Refused(*found)


def refuse_copy(cluster: Cluster, dump: Dump, *, needed_bytes: int) -> None:
    """The same for a copy that takes nobody's place: only what it lacks itself."""
    found = [*_unavailable(dump), *_space(cluster, needed_bytes)]
    if found:
        raise Refused(*found)


def _unfit(cluster: Cluster, names: Names) -> list[Problem]:
    if cluster.live is not None and cluster.live.invalid:
        detail = f"A DROP of {names.live} was cut off: its files are gone in part, and it can't be kept."
        return [
            Problem(
                "E757", "the live database is half dropped", detail, f"psql -c 'DROP DATABASE {names.live}' postgres"
            )
        ]
    if cluster.live is not None and not cluster.properties.open:
        detail = f"{names.live} has ALLOW_CONNECTIONS false: an interrupted swap of another run may have left it so."
        fix = f"psql -c 'ALTER DATABASE {names.live} ALLOW_CONNECTIONS true' postgres"
        return [Problem("E758", "the live database takes no connections", detail, fix)]
    return []


def _in_the_way(cluster: Cluster, names: Names) -> list[Problem]:
    fix = (
        "Drop the slot or subscription, or end the transaction (COMMIT PREPARED, ROLLBACK PREPARED); "
        "whoever reads from it has to start anew."
    )
    return [
        Problem("E759", "something holds on to the live database", f"{what} belongs to {names.live}.", fix)
        for what in cluster.in_the_way
    ]


def _unavailable(dump: Dump) -> list[Problem]:
    return [
        Problem(
            "E760",
            "an extension of the dump is not installed on the server",
            f"The dump creates the extension {name}, and the server has no control file for it.",
            "Install its package on the server's machine (or use an image that has it).",
        )
        for name in dump.missing_extensions
    ]


def _space(cluster: Cluster, needed_bytes: int) -> list[Problem]:
    if cluster.free_bytes < 0 or cluster.free_bytes >= needed_bytes:
        return []
    return [
        Problem(
            "E761",
            "there is not enough space for a second copy",
            f"The server's disk has {show_size(cluster.free_bytes)} free; the copy may need {show_size(needed_bytes)}.",
            "Make space, or set `space_factor` lower if you know better.",
        )
    ]
