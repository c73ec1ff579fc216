"""The server's archiver: what it says of itself, its settings, the operations that change them, and the proof that it archives.

Owns the reads behind ``postgres.configure_archiving`` and its operations. Promises: each setting is one statement (ALTER SYSTEM
takes no transaction); the proof closes a segment that holds a commit, and ends only when that very segment lies in the archive
whole, the archiver has counted it, and it did not fail before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from runbook.action import Look, Scope
from runbook.actions.postgres.archive_bucket import BucketWriter
from runbook.actions.postgres.archiving import Setting, Wanted
from runbook.actions.postgres.client import MAINTENANCE_DATABASE
from runbook.actions.postgres.closed_segment import SEGMENT, archived, closed
from runbook.actions.postgres.wal import Segment, parse_name
from runbook.actions.postgres.wal_source import Archive
from runbook.errors import Problem, Refused
from runbook.host import LOCAL, Host
from runbook.operation import (
    Arg,
    Condition,
    Connection,
    MakeDirectory,
    Operation,
    Operations,
    Process,
    Sql,
    Test,
    Transaction,
    Wait,
    sql,
)
from runbook.system import Postgres

_INSTANT = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
_ARCHIVER = sql(
    "SELECT current_setting('data_directory') AS directory, pg_is_in_recovery()::int AS standby, "  # noqa: S608 - no input
    "(SELECT system_identifier::text FROM pg_control_system()) AS identifier, "
    "coalesce(current_setting('allow_alter_system', true), 'on') AS alterable, "
    "(SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size') AS segment_bytes, "
    f"{_INSTANT.format('clock_timestamp()')} AS asked_at, {_INSTANT.format('pg_conf_load_time()')} AS loaded_at, "
    f"coalesce(last_archived_wal, '') AS last, coalesce({_INSTANT.format('last_archived_time')}, '') AS archived_at, "
    "coalesce(last_failed_wal, '') AS failed, "
    "coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false)::int AS failing FROM pg_stat_archiver"
)
_SUPERUSER = sql("SELECT rolsuper::int AS superuser FROM pg_roles WHERE rolname = current_user")
_SETTINGS = sql(
    "SELECT s.name, s.reset_val AS value, s.source, "
    "(SELECT setting FROM pg_file_settings f WHERE f.name = s.name ORDER BY seqno DESC LIMIT 1) AS file, "
    "(SELECT setting FROM pg_file_settings f WHERE f.name = s.name AND sourcefile ~ '/postgresql[.]auto[.]conf$' "
    "ORDER BY seqno DESC LIMIT 1) AS auto FROM pg_settings s WHERE s.name IN ('wal_level', 'max_wal_senders', "
    "'archive_mode', 'archive_library', 'archive_command', 'archive_timeout') ORDER BY s.name"
)
"""``reset_val``, because ``setting`` of archive_command is '(disabled)' while archive_mode is off."""

_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
_WRITABLE = """\
[ -d "$1" ] || { echo "$1 is not a directory" >&2; exit 1; }
[ -w "$1" ] && [ -x "$1" ] || { echo "$(id -un) can't write into $1" >&2; exit 1; }
for program in cmp cp ln mktemp mv rm sync; do
  command -v "$program" > /dev/null || { echo "the archive_command needs $program, and it is not installed" >&2; exit 1; }
done
cd "$1" || exit 1
for file in $(ls | grep '^[0-9A-F]\\{24\\}$' | sed -n '1p;$p'); do
  writer=$(od -A n -t x1 -j 24 -N 8 "$file" | tr -d ' \\n')
  case $writer in "$2"|"$3"|"") ;; *) echo "$1/$file was written by another cluster" >&2; exit 1 ;; esac
done"""
_ARRIVED = """\
[ -f "$1/$2" ] || { echo "$2 is not in $1 (yet); the server's log says why, if its archive_command fails" >&2; exit 1; }
[ "$(wc -c < "$1/$2")" -eq "$3" ] || { echo "$1/$2 has $(wc -c < "$1/$2") bytes, a segment has $3" >&2; exit 1; }"""


@dataclass(frozen=True, slots=True)
class Archiver:
    """The archiver's own words (pg_stat_archiver) and the server's clock. Instants are texts in UTC, '' = never.

    ``held``: the file that it archived last lies in the archive's directory, a segment with all its bytes. ``loaded_at``: when
    the configuration files were read last.
    """

    data_directory: str
    identifier: str = ""
    asked_at: str = ""
    loaded_at: str = ""
    segment_bytes: int = 16 * 1024 * 1024
    last: str = ""
    archived_at: str = ""
    failed: str = ""
    failing: bool = False
    held: bool = False


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes into the archive: the server's account, on its host."""

    directory: str
    owner: str
    host: Host = LOCAL

    def run(self, name: str, script: str, *arguments: Arg) -> Process:
        """A script that only reads, as that account, with the archive's directory as its first argument."""
        argv = ("sh", "-c", script, "sh", self.directory, *arguments)
        return Process(name=name, argv=argv, host=self.host, user=self.owner, cwd="/", reads=True)

    def prepared(self) -> Operations:
        """The directory, which is left as it is where it exists."""
        return (MakeDirectory(name="make_archive", path=self.directory, host=self.host, mode=0o700, owner=self.owner),)

    def arrived(self, segment: Arg, segment_bytes: int) -> Process:
        """Exit code 0: the segment is there, with all its bytes."""
        return self.run("in_archive", _ARRIVED, segment, str(segment_bytes))

    def probe(self, identifier: str) -> Operation:
        """Whether it may write there, has the programs that the command needs, and no other cluster's WAL lies there.

        The first and the last segment tell: their headers hold the identifier in the byte order of the server's machine.
        """
        number = int(identifier or "0")
        return self.run("writable", _WRITABLE, *(number.to_bytes(8, order).hex() for order in _ORDERS))


def read_archiver(look: Look, db: Postgres, archive: Archive, scope: Scope) -> tuple[Archiver, tuple[Setting, ...]]:
    """Ask the server; refuses (exit 4) where its settings can't be altered: a standby, a role that may not, a lock on it."""
    at = db.connection(application=scope.application, database=MAINTENANCE_DATABASE)
    if not look.query(at, _SUPERUSER)[0]["superuser"]:
        raise Refused(unalterable(f"{db.user} is no superuser.", "Use a superuser as `user` of the system."))
    row = look.query(at, _ARCHIVER)[0]
    if row["standby"]:
        raise Refused(unalterable("It is a standby: it archives nothing.", "Run this on the primary."))
    if row["alterable"] != "on":
        fix = "Set the archiving where its settings are managed, or set allow_alter_system = on."
        raise Refused(unalterable("allow_alter_system is off: others manage its settings.", fix))
    last, size = str(row["last"]), int(row["segment_bytes"] or 0)
    there = archive.size_of(look, last) if last else None
    whole = there is not None and (there == size or not isinstance(parse_name(last, size), Segment))
    archiver = Archiver(
        data_directory=str(row["directory"]).rstrip("/"),
        identifier=str(row["identifier"]),
        asked_at=str(row["asked_at"]),
        loaded_at=str(row["loaded_at"]),
        segment_bytes=size,
        last=last,
        archived_at=str(row["archived_at"]),
        failed=str(row["failed"]),
        failing=bool(row["failing"]),
        held=whole,
    )
    settings = tuple(
        Setting(str(one["name"]), str(one["value"] or ""), str(one["source"]), _text(one["file"]), _text(one["auto"]))
        for one in look.query(at, _SETTINGS)
    )
    return archiver, settings


def unalterable(why: str, fix: str) -> Problem:
    """The server's settings can't be altered from here."""
    return Problem("E652", "the server's settings can't be altered", why, fix)


def changed(at: Connection, wanted: Wanted) -> Operation:
    """One setting, into the server's own file."""
    statement = sql(f"ALTER SYSTEM SET {wanted.name} = {{value}}", value=wanted.value)
    return Sql(name=f"set_{wanted.name}", connection=at, statements=(statement,), transaction=Transaction.AUTOCOMMIT)


def restored(at: Connection, before: Iterable[Setting], now: Iterable[Setting]) -> Operations:
    """The settings of the server's own file as they were; those that differ from that."""
    known = {one.name: one.auto for one in before}
    back = []
    for one in now:
        old = known.get(one.name)
        if one.name in known and one.auto != old:
            reset = sql(f"ALTER SYSTEM RESET {one.name}")
            statement = reset if old is None else sql(f"ALTER SYSTEM SET {one.name} = {{value}}", value=old)
            name = f"restore_{one.name}"
            back.append(Sql(name=name, connection=at, statements=(statement,), transaction=Transaction.AUTOCOMMIT))
    return tuple(back)


def reloaded(at: Connection) -> Operation:
    """The server reads its files again."""
    reload = sql("SELECT pg_reload_conf()::int AS reloaded")
    return Sql(name="reload", connection=at, statements=(reload,), transaction=Transaction.AUTOCOMMIT)


def in_effect(at: Connection, command: str) -> Operations:
    """Read the files again, and wait until new sessions find the command."""
    asked = sql(
        "SELECT (reset_val = {command})::int AS ours FROM pg_settings WHERE name = 'archive_command'", command=command
    )
    wait = Wait(
        name="in_effect",
        read=Sql(name="asked_settings", connection=at, statements=(asked,), reads=True),
        until=(Condition("ours", Test.EQUALS, 1),),
        deadline_s=30.0,
    )
    return (reloaded(at), wait)


def proof(at: Connection, writer: Writer | BucketWriter, segment_bytes: int, *, within_s: float) -> Operations:
    """Close a segment with a commit in it, and wait until it lies in the archive and the archiver has counted it."""
    asked = sql(
        "SELECT (left(coalesce(last_archived_wal, ''), 24) >= {segment})::int AS counted, "
        "(last_failed_wal IS DISTINCT FROM {segment})::int AS without_failure, "
        "coalesce(last_archived_wal, '') AS last_archived, coalesce(last_failed_wal, '') AS last_failed "
        "FROM pg_stat_archiver",
        segment=SEGMENT,
    )
    statistics = Sql(name="asked_archiver", connection=at, statements=(asked,), reads=True)
    counted = Wait(name="counted", read=statistics, until=(Condition("counted", Test.EQUALS, 1),), deadline_s=within_s)
    clean = Wait(
        name="without_failure",
        read=statistics,
        until=(Condition("without_failure", Test.EQUALS, 1),),
        deadline_s=0,
    )
    arrived = archived(writer.arrived(SEGMENT, segment_bytes), within_s=within_s)
    return (closed(at), arrived, counted, clean)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
