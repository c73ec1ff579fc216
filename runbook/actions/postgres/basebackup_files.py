"""A base backup of a cluster with tablespaces: a directory with a tar file each, since one stream can hold but one.

Owns the operations that make it, and what its pieces are called. Promises: the directory holds the data directory, every
tablespace that the manifest names and the server's own manifest, and nothing else, or the backup fails; each tar file was read
from its first byte to its last before the backup has its name.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from runbook.actions.postgres.client import argv, env, target
from runbook.actions.postgres.packing import Packing, told, unpacked
from runbook.actions.postgres.tablespaces import Space
from runbook.artifact import Manifest
from runbook.operation import (
    UNBOUNDED,
    Condition,
    Document,
    DocumentValue,
    Hashing,
    Operation,
    Operations,
    Pipeline,
    Process,
    Ref,
    Stage,
    Test,
    Wait,
)
from runbook.system import Postgres

BASE = "base"
SERVER_MANIFEST = "backup_manifest"
"""What pg_basebackup calls the tar file of the data directory, and the server's manifest."""

_PACKS = {Packing.ZSTD: ("--compress=client-zstd:1",), Packing.GZIP: ("--gzip", "--compress=1"), Packing.NONE: ()}
_LISTED = 'printf %s "$(find "$1" -mindepth 1 -printf "%P\\n" | LC_ALL=C sort)"'


def tar_name(stem: str, packing: Packing) -> str:
    """The tar file of the data directory (:data:`BASE`) or of a tablespace (its OID)."""
    return f"{stem}.tar{packing.suffix}"


def copied(
    db: Postgres, application: str, directory: str, *, packing: Packing, fixed: Sequence[str], label: str
) -> Operation:
    """pg_basebackup writes the directory itself, and syncs it; it makes it, or takes an empty one."""
    given = (f"--pgdata={directory}", "--format=tar", *fixed, *_PACKS[packing], "--no-password", f"--label={label}")
    return Process(name="copy", argv=argv(db, "pg_basebackup", target(db), *given), env=env(db, application))


def read_whole(directory: str, spaces: Sequence[Space], packing: Packing) -> Operations:
    """It has the expected files; each is unpacked, counted and listed to its end, and hashed in the same read."""
    stems = (BASE, *(str(one.oid) for one in spaces))
    wanted = sorted((SERVER_MANIFEST, *(tar_name(stem, packing) for stem in stems)))
    look = Process(name="listed", argv=("sh", "-c", _LISTED, "sh", directory), reads=True)
    until = (Condition("stdout", Test.EQUALS, "\n".join(wanted)),)
    list_it = Stage(argv=("tar", "--list", "--file=-"), most_bytes=0 if packing is Packing.NONE else UNBOUNDED)
    count = Stage(argv=("grep", "--count", "--text", "-e", "."))
    tars = (
        Pipeline(
            name=f"read_{stem}",
            source=f"{directory}/{tar_name(stem, packing)}",
            stages=(*unpacked(tar_name(stem, packing)), list_it, count),
            hashing=Hashing.SOURCE,
            reads=True,
        )
        for stem in stems
    )
    manifest = Pipeline(
        name=f"read_{SERVER_MANIFEST}", source=f"{directory}/{SERVER_MANIFEST}", hashing=Hashing.SOURCE, reads=True
    )
    return (Wait(name="has_all", read=look, until=until, deadline_s=0), *tars, manifest)


def pieces(name: str, spaces: Sequence[Space], packing: Packing) -> tuple[DocumentValue, ...]:
    """The manifest's pieces, as :func:`read_whole` found them."""
    stems = (BASE, *(str(one.oid) for one in spaces))
    files = {stem: tar_name(stem, packing) for stem in stems} | {SERVER_MANIFEST: SERVER_MANIFEST}
    return tuple(
        Document(
            (
                ("path", f"{name}/{file}"),
                ("bytes", Ref(f"read_{stem}", "bytes")),
                ("sha256", Ref(f"read_{stem}", "sha256")),
                *((("unpacked_bytes", Ref(f"read_{stem}", "taken_bytes")),) if told(file) is not Packing.NONE else ()),
            )
        )
        for stem, file in files.items()
    )


def recorded(name: str, spaces: Sequence[Space], packing: Packing) -> tuple[DocumentValue, ...]:
    """The manifest's tablespaces."""
    return tuple(
        Document(
            (
                ("oid", one.oid),
                ("name", one.name),
                ("location", one.location),
                ("piece", f"{name}/{tar_name(str(one.oid), packing)}"),
            )
        )
        for one in spaces
    )


def base_of(manifest: Manifest) -> str:
    """The piece that holds the data directory."""
    if not manifest.tablespaces:
        return manifest.name
    return f"{manifest.name}/{tar_name(BASE, told(posixpath.basename(manifest.tablespaces[0].piece)))}"
