"""WAL that no base backup needs: where the archive may be cut.

Owns the reading of an archive's names for that, and the cut. Promises: a segment is surplus only if it lies before the position at
which the oldest base backup that stays began, whatever its timeline: recovery goes forward from there. Where anything is unclear
(another cluster's WAL, segments that aren't of one size, a base backup that doesn't say where it began) nothing is cut.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from runbook.action import FileFacts, Look
from runbook.actions.postgres.client import argv, read_client
from runbook.actions.postgres.wal import (
    HEADER_BYTES,
    Partial,
    Segment,
    cluster_of,
    parse_lsn,
    parse_name,
    segment_at,
    segment_name,
)
from runbook.artifact import Format, Manifest
from runbook.errors import Problem, Refused
from runbook.operation import Operation, Process
from runbook.system import Postgres

PROGRAM = "pg_archivecleanup"
_SMALLEST, _LARGEST = 1 << 20, 1 << 30
"""What a segment's size may be (initdb, ``--wal-segsize``)."""


@dataclass(frozen=True, slots=True)
class Surplus:
    """WAL before ``first``, the oldest segment that stays ('' = nothing is cut): how many files, how many bytes.

    ``number`` is that segment's, by which cuts compare; ``oldest`` is the base backup that needs it.
    """

    archive: str = ""
    first: str = ""
    number: int = 0
    oldest: str = ""
    files: int = 0
    bytes: int = 0


def read_surplus(look: Look, db: Postgres, cluster: str, bases: Sequence[Manifest]) -> Surplus:
    """What the archive of ``db`` holds that none of the ``bases`` of that ``cluster`` needs. Refuses (exit 4) what is unclear."""
    archive = _directory(db)
    files = {
        posixpath.basename(one.path): one for one in look.listing(db.host, archive) if _is_segment(one) and one.bytes
    }
    if not files:
        return Surplus(archive=archive)
    size = _segment_bytes(archive, files)
    read_client(look, db, PROGRAM)
    own = [one for one in bases if one.format is Format.BASE_BACKUP and one.system_identifier in ("", cluster)]
    for one in own:
        if not one.wal_start:
            raise _unclear(f"{one.name} does not say where its WAL begins.", "Remove WAL by hand, or that base backup.")
    newest = max(files)
    found = cluster_of(look.head(db.host, files[newest].path, HEADER_BYTES))
    if found != cluster or not own:
        detail = f"{newest} in {archive} is of cluster {found or 'unknown'}, the base backups are of {cluster}."
        raise _unclear(detail, "Check `wal_of`: it has to be the cluster of these base backups.")
    oldest = min(own, key=lambda one: parse_lsn(str(one.wal_start)))
    first = segment_at(parse_lsn(str(oldest.wal_start)), max(int(oldest.timeline), 1), size)
    before = [one for name, one in files.items() if _number(name, size) < first.number]
    named = segment_name(first, size)
    return Surplus(archive, named, first.number, oldest.name, len(before), sum(one.bytes for one in before))


def removed(db: Postgres, surplus: Surplus) -> Operation:
    """PostgreSQL's own program removes what lies before; histories of timelines stay."""
    words = argv(db, PROGRAM, surplus.archive, surplus.first)
    return Process(name="remove_wal", argv=words, host=db.host)


def _directory(db: Postgres) -> str:
    path = db.archive.removeprefix("file://").rstrip("/")
    if db.archive.startswith("file:///") and path:
        return path
    detail = f"`archive` of {db.key or 'the system'} is {db.archive or 'not set'}; only a directory can be cut."
    raise _unclear(
        detail, "Leave out `wal_of`; in a bucket, let a rule of the bucket end old WAL, later than any base backup."
    )


def _is_segment(one: FileFacts) -> bool:
    return one.kind == "file" and isinstance(parse_name(posixpath.basename(one.path), _SMALLEST), Segment | Partial)


def _number(name: str, size: int) -> int:
    match parse_name(name, size):
        case Segment(_, number) | Partial(Segment(_, number)):
            return number
        case _:
            raise _unclear(f"{name} is not a segment of {size} bytes.", "Look at the archive: whose is that file?")


def _segment_bytes(archive: str, files: dict[str, FileFacts]) -> int:
    """The size of a segment. The file that was written last may be shorter: the server may be archiving it now."""
    size = max(one.bytes for one in files.values())
    last = max(files.values(), key=lambda one: (one.modified, one.path))
    odd = [name for name, one in sorted(files.items()) if one.bytes != size and one != last]
    if odd or size & (size - 1) or not _SMALLEST <= size <= _LARGEST:
        name = odd[0] if odd else min(files)
        detail = f"{name} in {archive} has {files[name].bytes} bytes, others {size}."
        raise _unclear(detail, "Only an archive of plain, whole segments can be cut; look at that file.")
    return size


def _unclear(detail: str, fix: str) -> Refused:
    return Refused(Problem("E619", "what WAL is needed can't be told", detail, fix))
