"""What a check of a WAL archive asks beforehand: the server's archiver, and the manifests of the base backups.

Owns those reads. Promises: they need no more than the role ``pg_monitor``; what such a role may not see counts as not known.
"""

from __future__ import annotations

from dataclasses import dataclass

from runbook.action import Look, Scope
from runbook.actions.backup.layout import MANIFEST, Broken, directory_of, names, read_manifest
from runbook.actions.postgres.client import MAINTENANCE_DATABASE
from runbook.actions.postgres.wal import SEGMENT_BYTES
from runbook.artifact import Format
from runbook.host import LOCAL
from runbook.operation import sql
from runbook.system import Postgres, Store
from runbook.units import show_instant

_STATUS = sql(
    "SELECT (SELECT system_identifier::text FROM pg_control_system()) AS identifier, "
    "coalesce(CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN current_setting('data_directory') END, '') "
    "AS directory, pg_is_in_recovery()::int AS standby, current_setting('archive_mode') AS mode, "
    "coalesce((SELECT reset_val FROM pg_settings WHERE name = 'archive_command'), '') AS command, "
    "coalesce(current_setting('archive_library', true), '') AS library, "
    "(SELECT reset_val::int FROM pg_settings WHERE name = 'archive_timeout') AS timeout_s, "
    "(SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size') AS segment_bytes, "
    "CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn()::text ELSE '' END AS lsn, "
    "CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) ELSE '' END AS timeline, "
    "extract(epoch FROM clock_timestamp())::float8 AS now_s, coalesce(last_archived_wal, '') AS last, "
    "coalesce(last_failed_wal, '') AS failed, failed_count::int AS failures, "
    "coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false)::int AS failing, "
    "has_function_privilege('pg_ls_archive_statusdir()', 'EXECUTE')::int AS may_look FROM pg_stat_archiver"
)
_WAITING = sql(
    "SELECT count(*)::int AS waiting, coalesce(extract(epoch FROM clock_timestamp() - min(modification)), 0)::float8 "
    "AS waiting_s FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"
)


@dataclass(frozen=True, slots=True)
class ArchiveStatus:
    """The server and its archiver. ``lsn``: where it writes now; ``waiting``: segments that are closed and not archived yet,
    the oldest for ``waiting_s`` seconds; -1 where the role may not see that. ``now_s``: the server's clock (since 1970).
    """

    identifier: str = ""
    data_directory: str = ""
    standby: bool = False
    mode: str = ""
    command: str = ""
    library: str = ""
    timeout_s: int = 0
    segment_bytes: int = SEGMENT_BYTES
    lsn: str = ""
    timeline: int = 0
    now_s: float = 0.0
    last: str = ""
    failed: str = ""
    failures: int = 0
    failing: bool = False
    waiting: int = -1
    waiting_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Base:
    """A base backup, as its manifest tells. ``flaw``: why nothing can be said of it; '' where it can."""

    name: str
    identifier: str = ""
    timeline: int = 0
    wal_start: str = ""
    finished_at: str = ""
    flaw: str = ""


def read_status(look: Look, db: Postgres, scope: Scope) -> ArchiveStatus:
    """Ask the server."""
    at = db.connection(application=scope.application, database=MAINTENANCE_DATABASE)
    row = look.query(at, _STATUS)[0]
    waiting = look.query(at, _WAITING)[0] if row["may_look"] else {"waiting": -1, "waiting_s": 0.0}
    return ArchiveStatus(
        identifier=str(row["identifier"]),
        data_directory=(str(row["directory"]) or db.data_directory).rstrip("/"),
        standby=bool(row["standby"]),
        mode=str(row["mode"]),
        command=str(row["command"]),
        library=str(row["library"]),
        timeout_s=int(row["timeout_s"] or 0),
        segment_bytes=int(row["segment_bytes"] or SEGMENT_BYTES),
        lsn=str(row["lsn"]),
        timeline=int(str(row["timeline"]) or "0", 16),
        now_s=float(row["now_s"] or 0),
        last=str(row["last"]),
        failed=str(row["failed"]),
        failures=int(row["failures"] or 0),
        failing=bool(row["failing"]),
        waiting=int(str(waiting["waiting"])),
        waiting_s=float(str(waiting["waiting_s"])),
    )


def read_bases(look: Look, store: Store) -> tuple[Base, ...]:
    """The base backups of a store by their manifests, oldest first; other backups are passed over."""
    directory = directory_of(store)
    found = []
    for name in sorted(names(look.listing(LOCAL, directory))):
        known = read_manifest(look, directory, name.removesuffix(MANIFEST)) if name.endswith(MANIFEST) else None
        match known:
            case Broken(why):
                found.append(Base(name.removesuffix(MANIFEST), flaw=why))
            case (manifest, _) if manifest.format is Format.BASE_BACKUP:
                one = Base(
                    name=manifest.name,
                    identifier=manifest.system_identifier,
                    timeline=manifest.timeline,
                    wal_start=manifest.wal_start,
                    finished_at=show_instant(manifest.finished_at),
                    flaw="" if manifest.wal_start and manifest.timeline else "its manifest doesn't say where it begins",
                )
                found.append(one)
    return tuple(sorted(found, key=lambda one: (one.finished_at, one.name)))
