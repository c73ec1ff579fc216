"""What a recovery begins with: the cluster that is there, or, on a new machine, nothing.

Owns the reads of it. Promises: that nothing is there is never assumed; it has to be said (`new: true`) and to be so.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from runbook.action import Look, Unreachable
from runbook.actions.postgres import cluster
from runbook.actions.postgres.cluster import Control, Paths, Place
from runbook.actions.postgres.wal import SEGMENT_BYTES, Segment, parse_name
from runbook.actions.postgres.wal_source import Archive, name_of
from runbook.artifact import Manifest
from runbook.errors import Problem, Refused
from runbook.host import Compose, Docker
from runbook.system import Postgres

ACCOUNT = "postgres"
"""Who owns the data where nobody said, and root owns the directory above it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The cluster from the start. ``inode`` 0: there was none; then ``options`` are those that it shall be started with."""

    inode: int
    owner: str
    options: tuple[str, ...]
    programs: str
    control: Control
    major: str


@dataclass(frozen=True, slots=True)
class New:
    """What the plan says of a cluster that isn't there yet. ``begun``: the step has written down that it began."""

    manifest: Manifest | None
    owner: str
    options: tuple[str, ...]
    begun: bool


def read_origin(look: Look, db: Postgres, where: Paths, *, data: Place | None, old: Place | None) -> Origin:
    """The cluster in its place, or, once it was set aside, there."""
    original, at = (old, where.old) if old is not None else (data, where.data)
    if original is None:
        fix = "Write the right `data_directory`; on a new machine give the step `new: true`."
        raise Refused(Problem("E786", "there is no data directory", f"{where.data} does not exist.", fix))
    program, options = cluster.read_options(look, db.host, at)
    folder = db.binaries or posixpath.dirname(program)
    control = cluster.read_control(look, db.host, _in(folder, "pg_controldata"), where.data if data else where.old)
    major = (look.text(db.host, f"{where.data}/PG_VERSION") or "").strip()
    return Origin(original.inode, original.owner, options, folder, control, major)


def read_new(look: Look, db: Postgres, where: Paths, *, data: Place | None, new: New, archive: Archive) -> Origin:
    """Nothing, into whose place a cluster is recovered; refuses where something is, unless this step has put it there."""
    if isinstance(db.host, Docker | Compose):
        fix = "Let the image make an empty cluster, and restore a dump; or mount the volume on a machine and recover there."
        raise Refused(Problem("E786", "a container has a data directory", f"{db.host} starts with one.", fix))
    if data is not None and not new.begun:
        fix = f"Leave out `new` to recover beside it; or, if it is empty: rmdir {where.data}"
        raise Refused(Problem("E786", "there is a data directory already", f"{where.data} exists.", fix))
    beside = posixpath.dirname(where.data)
    above = look.file(db.host, beside)
    if above is None:
        fix = f"Install the server, or: install -d -o {new.owner or ACCOUNT} {beside}"
        raise Refused(Problem("E786", "there is no place for the data directory", f"{beside} does not exist.", fix))
    owner = new.owner or (data.owner if data else "" if above.owner == "root" else above.owner) or ACCOUNT
    identifier, timeline = (new.manifest.system_identifier, new.manifest.timeline) if new.manifest else ("", 1)
    control = Control(identifier, timeline, "", _segment_bytes(look, archive))
    return Origin(0, owner, new.options, db.binaries, control, _major(look, db))


def _in(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}" if folder else name


def _segment_bytes(look: Look, archive: Archive) -> int:
    """As large as the archive's segments are: there is no control file yet that would say."""
    for one in archive.files(look):
        if isinstance(parse_name(name_of(one)), Segment):
            return one.bytes if one.bytes.bit_count() == 1 and 2**20 <= one.bytes <= 2**30 else SEGMENT_BYTES
    return SEGMENT_BYTES


def _major(look: Look, db: Postgres) -> str:
    """Of the programs that will run it."""
    program = _in(db.binaries, "postgres")
    try:
        ran = look.run(db.host, (program, "--version"))
    except Unreachable:
        ran = None
    found = re.search(r"\(PostgreSQL\) (\d+)", ran.stdout) if ran is not None else None
    if found is None:
        fix = "Install the server, or set `binaries` of the system to its programs."
        raise Refused(
            Problem("E786", "the server's programs are not there", f"{program} does not run on {db.host}.", fix)
        )
    return found[1]
