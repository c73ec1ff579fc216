"""Whether a cluster can be recovered to a moment: what is asked of it beforehand, and what is refused.

Owns the reads of the running server and of its archive, and the refusals of ``postgres.restore_to_time``. Promises: everything
that stands in the way is named at once, with the earliest and the latest moment that can be reached.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from runbook.action import Look, Scope, Unreachable
from runbook.actions.postgres import basebackup_files, cluster, in_container, swap, tablespaces
from runbook.actions.postgres.client import MAINTENANCE_DATABASE
from runbook.actions.postgres.cluster import Control, Paths, Place, Server
from runbook.actions.postgres.elsewhere import refuse_elsewhere
from runbook.actions.postgres.reach import Reach, read_reach, unknown_timelines, unreachable
from runbook.actions.postgres.tablespaces import TABLESPACES, SpaceCopy, sizes_of
from runbook.actions.postgres.target import Moment, Position, Target
from runbook.actions.postgres.wal import History, history_name, parse_lsn, parse_name
from runbook.actions.postgres.wal_source import Archive
from runbook.artifact import Artifact, Format, Manifest
from runbook.errors import Problem, Refused
from runbook.host import LOCAL, Compose, Docker, Host
from runbook.operation import sql
from runbook.system import Postgres
from runbook.units import parse_instant, show_instant

LONGEST_SOCKET = 107
"""Bytes of a Unix socket's path (manual of unix(7))."""

_LIVE = sql(
    "SELECT current_setting('data_directory') AS directory, current_setting('archive_mode') AS archive_mode, "
    "CASE WHEN pg_is_in_recovery() THEN '' ELSE pg_current_wal_lsn()::text END AS lsn, "
    "to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS moment, "
    "(SELECT coalesce(sum(pg_database_size(oid)), 0) FROM pg_database WHERE datconnlimit <> -2)::bigint AS bytes, "
    "(SELECT coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) FROM pg_stat_archiver)::int "
    "AS failing, (SELECT coalesce(last_failed_wal, '') FROM pg_stat_archiver) AS failed_wal"
)


@dataclass(frozen=True, slots=True)
class Live:
    """The live server. ``answers`` False: it is down, and only ``directory`` is known. ``moment`` is its clock (UTC).

    ``sizes``: bytes of its tablespaces of its own, by OID.
    """

    directory: str
    answers: bool
    archive_mode: str = ""
    moment: str = ""
    lsn: str = ""
    bytes: int = 0
    sizes: tuple[tuple[int, int], ...] = ()
    failing_at: str = ""


@dataclass(frozen=True, slots=True)
class Sought:
    """What is to be recovered, and whether it is to take the live cluster's place. ``commands``: inputs that stop and start it."""

    artifact: Artifact
    archive: Archive
    target: Target
    timeline: str
    space_factor: float
    swapping: bool
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """The cluster's files, and the major version of those or of the programs. ``place`` None: there are none yet.

    ``copies``: the tablespaces of its own that the base backup has, and where their copies go.
    """

    where: Paths
    place: Place | None
    control: Control
    major: str
    copies: tuple[SpaceCopy, ...] = ()


def memory(scope: Scope) -> str:
    """The file in the run's directory that keeps the data directory's path and the cluster's identifier, a line each."""
    return f"{scope.directory}/{swap.own_name(scope)}.data_directory"


def read_live(look: Look, db: Postgres, scope: Scope) -> Live:
    """Ask the server; where it is down, the data directory is in the environment, or this step has written it down."""
    refuse_elsewhere(look, db)
    at = db.connection(application=scope.application, database=MAINTENANCE_DATABASE)
    given = (db.data_directory or (look.text(LOCAL, memory(scope)) or "").partition("\n")[0]).rstrip("/")
    try:
        row = look.query(at, _LIVE)[0]
    except Unreachable as down:
        if given:
            return Live(given, answers=False)
        detail = f"{down.problem.detail}\nWithout the server, its data directory has to be known."
        fix = "Write `data_directory` of the system in the environment."
        raise Refused(Problem("E783", "the data directory is not known", detail, fix)) from None
    directory = str(row["directory"]).rstrip("/")
    if given and given != directory:
        detail = f"The environment says {given}, the server that answers says {directory}."
        raise Refused(
            Problem("E784", "this is not the server of that data directory", detail, "Correct the environment.")
        )
    return Live(
        directory,
        answers=True,
        archive_mode=str(row["archive_mode"]),
        moment=str(row["moment"]),
        lsn=str(row["lsn"]),
        bytes=int(row["bytes"] or 0),
        sizes=tuple(sizes_of(look.query(at, TABLESPACES)).items()),
        failing_at=str(row["failed_wal"]) if row["failing"] else "",
    )


def read_log(look: Look, host: Host, path: str, place: Place | None) -> str:
    """The file that the running server's messages go to; '' where that is no file of its own account, or nothing runs."""
    lock = look.text(host, f"{path}/postmaster.pid") if place and place.server is Server.RUNNING else None
    if place is None or not lock:
        return ""
    ran = look.run(host, ("readlink", f"/proc/{lock.splitlines()[0]}/fd/2"))
    name = ran.stdout.strip()
    is_file = ran.exit_code == 0 and name.startswith("/") and not name.startswith(("/dev/", "/proc/"))
    found = look.file(host, name) if is_file and not name.startswith(f"{path}/") else None
    return name if found is not None and found.owner == place.owner else ""


def lacking(look: Look, host: Host, path: str, archive: Archive) -> str:
    """The archive and the history of the cluster's newest timeline, where it isn't there; '' where it is."""
    named = (parse_name(posixpath.basename(one.path)) for one in look.listing(host, f"{path}/pg_wal"))
    newest = max((one.timeline for one in named if isinstance(one, History)), default=1)
    kept = newest == 1 or archive.text(look, history_name(newest)) is not None
    return "" if kept else f"{archive.place} lacks {history_name(newest)}"


def not_shown(path: str, why: str) -> Problem:
    """The recovered cluster is not as it should be."""
    return Problem(
        "E787", "the recovered cluster is not as it should be", f"{path}: {why}.", "Look at the server's log."
    )


def refuse(look: Look, db: Postgres, sought: Sought, live: Live, found: Found) -> Reach:
    """Refuse (exit 4) what must not be begun; else what leads to the target."""
    manifest = sought.artifact.manifest
    if sought.artifact.format is not Format.BASE_BACKUP or manifest is None:
        detail = f"{sought.artifact.name} is a {sought.artifact.format.value} dump, or has no manifest."
        raise Refused(Problem("E788", "this is not a base backup", detail, "Choose one that postgres.basebackup made."))
    foreign = _other_cluster(manifest, found)
    if foreign:
        raise Refused(*foreign)
    reach = read_reach(look, sought.archive, manifest=manifest, control=found.control, wanted=sought.timeline)
    here = reach.timeline == found.control.timeline
    problems = [
        *(
            unknown_timelines(reach, sought.timeline, found.control)
            or _out_of_reach(sought.target, manifest, reach, live, present=here)
            or unreachable(reach, sought.target, wanted=sought.timeline)
        ),
        *_unfit(db, live),
        *_spaces_unfit(look, db, manifest, found),
        *_no_room(look, db, sought, live, found),
    ]
    if problems:
        raise Refused(*problems)
    return reach


def _other_cluster(manifest: Manifest, found: Found) -> list[Problem]:
    major = found.major
    if manifest.system_identifier and manifest.system_identifier != found.control.identifier:
        detail = f"{manifest.name} is of cluster {manifest.system_identifier}, this is {found.control.identifier}."
        return [
            Problem("E789", "the base backup is of another cluster", detail, "Check the environment and the backup.")
        ]
    if manifest.server_version and major != str(manifest.server_version // 10_000):
        detail = f"{manifest.name} is of version {manifest.server_version // 10_000}, the server of {major}."
        return [Problem("E790", "the base backup is of another major version", detail, "Use that version's server.")]
    return []


def _out_of_reach(target: Target, manifest: Manifest, reach: Reach, live: Live, *, present: bool) -> list[Problem]:
    """Before the base backup's end, or after the last WAL: the live server's, if the timeline is its ``present`` one."""
    match target:
        case Moment(at):
            begins, asked = show_instant(manifest.finished_at), show_instant(at)
            latest = parse_instant(live.moment) if live.answers and present else reach.latest
            ends = show_instant(latest) if latest else ""
            too_early, too_late = at <= manifest.finished_at, latest is not None and at > latest
        case Position(lsn):
            begins, asked, ends = manifest.wal_stop, lsn, (live.lsn if present else "") or reach.ends
            too_early = bool(begins) and parse_lsn(lsn) < parse_lsn(begins)
            too_late = bool(ends) and parse_lsn(lsn) > parse_lsn(ends)
        case _:  # where those are is known only by reading the WAL
            return []
    possible = f"{manifest.name} leads from {begins} (its end) to {ends or 'the last archived WAL'}."
    if too_early:
        detail = f"The target is {asked}. {possible}"
        return [Problem("E791", "the target is before the base backup's end", detail, "Choose an earlier base backup.")]
    if too_late:
        detail = f"The target is {asked}. {possible} The latest that can be reached is {ends}."
        return [Problem("E792", "the target is after the last archived WAL", detail, "Choose an earlier target.")]
    return []


def _unfit(db: Postgres, live: Live) -> list[Problem]:
    who = db.key or "the cluster"
    found = []
    if live.answers and live.archive_mode == "off":
        detail = f"{who} has archive_mode off: nothing leads from the base backup to the target."
        found.append(
            Problem("E770", "the cluster does not archive its WAL", detail, "Restore a dump (postgres.restore).")
        )
    if live.failing_at:
        detail = f"{who} could not archive {live.failing_at}, and has archived nothing since."
        found.append(
            Problem("E771", "archiving fails", detail, "SELECT * FROM pg_stat_archiver;    # and the server's log")
        )
    return found


def _spaces_unfit(look: Look, db: Postgres, manifest: Manifest, found: Found) -> list[Problem]:
    links, data = tablespaces.read_links(look, db.host, found.where.data), found.where.data
    who = db.key or "the cluster"
    return tablespaces.unfit(look, db.host, who, manifest=manifest, links=links, spaces=found.copies, data=data)


def _needs(sought: Sought, live: Live, found: Found) -> list[tuple[str, int]]:
    """What the copy may need, and where; of a server that is down as many bytes as are packed in the backup, at least.

    What its manifest says that it unpacks to has to fit in any case: so much is let out of it.
    """
    manifest, sizes = sought.artifact.manifest, dict(live.sizes)
    out = {piece.path: piece.unpacked_bytes or 0 for piece in manifest.pieces} if manifest else {}
    base = basebackup_files.base_of(manifest) if manifest else ""
    apart_out = {one.oid: out.get(one.piece, 0) for one in manifest.tablespaces} if manifest else {}
    packed = {piece.path: piece.bytes for piece in manifest.pieces} if manifest else {}
    spaces = {one.oid: packed.get(one.piece, 0) for one in manifest.tablespaces} if manifest else {}
    known, apart = (live.bytes, sizes) if live.bytes else (sought.artifact.bytes, spaces)
    needs = [(found.where.side, known - sum(apart.values()), out.get(base, 0))]
    needs += [
        (one.place, sizes.get(one.oid) or spaces.get(one.oid, 0), apart_out.get(one.oid, 0)) for one in found.copies
    ]
    return [(place, max(int(sought.space_factor * max(size, 0)), comes_out)) for place, size, comes_out in needs]


def _no_room(look: Look, db: Postgres, sought: Sought, live: Live, found: Found) -> list[Problem]:
    where, host = found.where, db.host
    problems = []
    if detail := sought.archive.unseen(look):
        problems.append(Problem("E793", "the WAL archive can't be seen", detail, "Mount it, or correct `archive`."))
    problems += tablespaces.crowded(look, host, _needs(sought, live, found))
    if len(f"{where.run}/.s.PGSQL.{db.port}".encode()) > LONGEST_SOCKET:
        over = len(f"{where.run}/.s.PGSQL.{db.port}".encode()) - LONGEST_SOCKET
        detail = f"{where.run} is {over} bytes too long for a socket's path (at most {LONGEST_SOCKET} in all)."
        fix = f"The data directory's path has to be {over} bytes shorter (the sandbox's: `--state /var/tmp/rb`)."
        problems.append(Problem("E794", "the side server can't have a socket there", detail, fix))
    if sought.swapping and isinstance(host, Docker | Compose):
        problems += in_container.unfit(look, db, where.data, sought.archive.place)
        problems += _unheard(host, sought.commands)
    elif sought.swapping and found.place and cluster.is_mount(look, host, found.place, where.data):
        detail = f"{where.data} is a file system of its own, and can't be renamed."
        problems.append(Problem("E796", "the data directory is a mount point", detail, "Use `mode: side`."))
    return problems


def _unheard(host: Host, commands: tuple[str, ...]) -> list[Problem]:
    """Commands that would never be run: the server is stopped with its container."""
    if not commands:
        return []
    given = " and ".join(f"`{one}`" for one in commands)
    detail = f"{host} is stopped and started as a container; {given} would never be run."
    return [Problem("E677", "a server in a container has no commands of its own", detail, f"Leave out {given}.")]
