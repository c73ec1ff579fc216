"""Unpacking the tablespaces of a base backup into places of their own, and keeping them apart from the live ones.

Owns the operations of it. Promises: the server's ``tablespace_map``, by which a starting server would link the live directories
into the copy, is never unpacked, and neither are links: the copy has those that are made here, to its own places, as
``pg_basebackup`` makes them for a plain backup (manual, ``pg_backup_stop``: the file is for those who take links from it). Before
a server starts in the copy, and again before it is promoted, no directory is both the copy's and the live cluster's.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from runbook.actions.postgres.basebackup_files import SERVER_MANIFEST
from runbook.actions.postgres.packing import most_of, unpacked
from runbook.actions.postgres.tablespaces import LINKS, SpaceCopy
from runbook.actions.postgres.unpacking import untarred
from runbook.artifact import Manifest
from runbook.host import Host
from runbook.operation import (
    Condition,
    Hashing,
    MakeDirectory,
    Operation,
    Operations,
    Pipeline,
    Process,
    Remove,
    Stage,
    Test,
    Wait,
)

MAP = "tablespace_map"
"""Which link leads where, in a tar-format base backup; a server that begins to recover makes its links by it."""
NOT_UNPACKED = (MAP, f"{LINKS}/*")

_SHARED = """\
[ -d "$2" ] || exit 0
all=$(find "$1" "$2" -mindepth 1 -maxdepth 1 -exec readlink -m {} +) || exit 2
both=$(printf '%s\n' "$all" | sort | uniq -d)
[ -z "$both" ] || { echo "in use by both clusters: $both" >&2; exit 1; }"""


def unpacked_apart(
    manifest: Manifest | None, store: str, copies: Sequence[SpaceCopy], data: str, *, host: Host, owner: str
) -> Operations:
    """Each tablespace's files in its place, with a link in the directory ``data``; then the server's manifest, for the check."""
    hashes = {piece.path: piece.sha256 for piece in manifest.pieces} if manifest else {}
    sources = {one.oid: one.piece for one in manifest.tablespaces} if manifest else {}

    def poured(name: str, piece: str, last: Stage) -> Operation:
        stages = (*unpacked(piece), last)
        found = hashes.get(piece, "")
        return Pipeline(
            name=name, source=f"{store}/{piece}", stages=stages, hashing=Hashing.SOURCE, expect_sha256=found
        )

    found: list[Operation] = []
    for one in copies:
        number, piece = str(one.oid), sources.get(one.oid, "")
        link = ("ln", "--symbolic", "--no-target-directory", one.place, f"{data}/{LINKS}/{number}")
        found += [
            MakeDirectory(name=f"make_space_{number}", path=one.place, host=host, mode=0o700, owner=owner),
            poured(f"extract_{number}", piece, untarred(one.place, host, owner, most_bytes=most_of(manifest, piece))),
            Process(name=f"link_{number}", argv=link, host=host, user=owner, cwd="/"),
        ]
    if copies and manifest:
        kept = f"{manifest.name}/{SERVER_MANIFEST}"
        kept_as = Stage(argv=("dd", "status=none", f"of={data}/{SERVER_MANIFEST}"), host=host, user=owner)
        found.append(poured("server_manifest", kept, kept_as))
    return tuple(found)


def apart(name: str, copy: str, live: str, copies: Sequence[SpaceCopy], host: Host) -> Operations:
    """The data directories ``copy`` and ``live`` ('' = there is none) have no tablespace's directory in common."""
    if not copies or not live:
        return ()
    argv = ("sh", "-c", _SHARED, "sh", f"{copy}/{LINKS}", f"{live}/{LINKS}")
    look = Process(name=f"{name}_read", argv=argv, host=host, reads=True)
    return (Wait(name=name, read=look, until=(Condition("exit_code", Test.EQUALS, 0),), deadline_s=0),)


def dropped(places: Sequence[str], marker: str, host: Host) -> Operations:
    """Removal of a copy's tablespaces; their names are the run's."""
    return tuple(
        Remove(name=f"remove_space_{posixpath.basename(one).rpartition('_')[2]}", path=one, marker=marker, host=host)
        for one in places
    )
