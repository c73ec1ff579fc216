"""Archiving one file: what the server's ``archive_command`` runs.

Promises: exit code 0 only when the archive durably holds exactly this file; a name with another content is never replaced.
"""

from __future__ import annotations

from pathlib import Path

from runbook.actions.postgres import wal
from runbook.errors import Problem, Refused
from runbook.walstore.store import Different, Put, Segments, Unavailable


def push(archive: Segments, path: Path, segment_bytes: int) -> Put:
    """Add the file to the archive; :class:`Refused` says why it can't be (exit 4: the server tries again, and tells its log)."""
    try:
        kind, size = wal.parse_name(path.name, segment_bytes), path.stat().st_size
    except OSError as error:
        raise Refused(_problem(path, f"{error.strerror}", "Check archive_command: it gives %p.")) from None
    if isinstance(kind, wal.Foreign):
        raise Refused(_problem(path, "this is not a file of a WAL archive", "Check archive_command: it gives %p."))
    if isinstance(kind, wal.Segment | wal.Partial) and size != segment_bytes:
        why = f"a segment has {segment_bytes} bytes, this one {size}"
        raise Refused(_problem(path, why, "Check --segment-bytes: SHOW wal_segment_size."))
    try:
        return archive.put(path.name, path)
    except Different as error:
        fix = "Find out who else archives to this place; give this cluster one of its own."
        raise Refused(Problem("E638", "another file of this name is in the archive", f"{error}.", fix)) from None
    except Unavailable as error:
        raise Refused(_problem(path, str(error), "Check the archive's place and keys.")) from None


def push_histories(archive: Segments, directory: Path, segment_bytes: int) -> int:
    """Add the timeline histories that the directory holds; how many. :class:`Refused` where it holds none."""
    found = [path for path in _entries(directory) if isinstance(wal.parse_name(path.name), wal.History)]
    if not found:
        raise Refused(_problem(directory, "there is no timeline's history in it", "Check the path: PGDATA/pg_wal."))
    for path in found:
        push(archive, path, segment_bytes)
    return len(found)


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError as error:
        raise Refused(_problem(directory, f"{error.strerror}", "Check the path: PGDATA/pg_wal.")) from None


def _problem(path: Path, why: str, fix: str) -> Problem:
    return Problem("E639", "the file could not be archived", f"{path}: {why}.", fix)
