"""How a base backup is packed: by which program, what its file is called, and how one sees that its end is there.

Owns the choice and the stages of a pipeline that pack and unpack. Promises: what is packed here can be unpacked here; the name's
ending tells how; the look at the end costs next to nothing where the format allows it and the bytes were counted before, and finds
a file that was cut anywhere.
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

from runbook.action import Look
from runbook.actions.backup.unpacked_size import most_unpacked
from runbook.actions.postgres.client import Client, argv
from runbook.artifact import Artifact, Format, Manifest
from runbook.errors import Problem, Refused
from runbook.host import LOCAL
from runbook.operation import UNBOUNDED, Operation, Pipeline, Process, Stage
from runbook.system import Postgres

COMPLETE = "Manifest-Checksum"
"""The last words of the server's own manifest, which is the last file of the archive (manual, Backup Manifest Format)."""

_TAIL_BYTES = 16_384
"""More than the last line of that manifest and the empty blocks that end a tar file."""
_PACKS_SINCE = 15
"""The first pg_basebackup that can pack with zstd (release notes of PostgreSQL 15)."""
_PROBE = ("--pgdata=/dev/null/none", "--format=plain", "--compress=client-zstd")
"""Refused before anything is opened or connected: with other words where the program was built without zstd."""
_ONLY_FORMAT_REFUSED = "only tar mode"
_LEVEL = "1"


class Packing(StrEnum):
    """What the archive is packed with."""

    ZSTD = "zstd"
    GZIP = "gzip"
    NONE = "none"

    @property
    def suffix(self) -> str:
        """The end of the file's name."""
        match self:
            case Packing.ZSTD:
                return ".zst"
            case Packing.GZIP:
                return ".gz"
            case Packing.NONE:
                return ""
            case _:
                assert_never(self)


def told(name: str) -> Packing:
    """What a file of this name is packed with."""
    return next((one for one in (Packing.ZSTD, Packing.GZIP) if name.endswith(one.suffix)), Packing.NONE)


def chosen(look: Look, wanted: str, name: str) -> Packing:
    """``auto``: what the name says, else zstd where this machine can unpack it, else gzip. Refuses (exit 4) zstd without zstd."""
    if wanted == "auto" and told(name) is Packing.NONE:
        return Packing.ZSTD if _has_zstd(look) else Packing.GZIP
    packing = told(name) if wanted == "auto" else Packing(wanted)
    if packing is Packing.ZSTD and not _has_zstd(look):
        detail = "The backup is to be packed with zstd, and this machine has no program of that name to unpack it with."
        fix = "apt-get install zstd    # or give `compress: gzip`"
        raise Refused(Problem("E617", "zstd is not installed here", detail, fix))
    return packing


def packs_zstd(look: Look, db: Postgres, client: Client) -> bool:
    """Whether this pg_basebackup can pack with zstd: its version may, and it was built so."""
    if client.major < _PACKS_SINCE:
        return False
    ran = look.run(db.host, tuple(str(word) for word in argv(db, "pg_basebackup", *_PROBE)))
    return _ONLY_FORMAT_REFUSED in ran.stderr


def options(packing: Packing, *, client_packs: bool) -> tuple[str, ...]:
    """What pg_basebackup is told of it. It packs on the server's host: less has to come out of a container."""
    return (f"--compress=client-zstd:{_LEVEL}",) if packing is Packing.ZSTD and client_packs else ()


def packed(packing: Packing, *, client_packs: bool) -> tuple[Stage, ...]:
    """The stage that packs on this machine, where pg_basebackup does not; what it packs is counted."""
    match packing:
        case Packing.ZSTD:
            words = ("zstd", f"-{_LEVEL}", "--quiet", "--stdout")
            return () if client_packs else (Stage(argv=words, most_bytes=UNBOUNDED),)
        case Packing.GZIP:
            return (Stage(argv=("gzip", f"-{_LEVEL}", "-c"), most_bytes=UNBOUNDED),)
        case Packing.NONE:
            return ()
        case _:
            assert_never(packing)


def unpacked(name: str) -> tuple[Stage, ...]:
    """The stage that unpacks a file of this name, on this machine."""
    match told(name):
        case Packing.ZSTD:
            return (Stage(argv=("zstd", "--decompress", "--quiet", "--stdout")),)
        case Packing.GZIP:
            return (Stage(argv=("gzip", "-dc")),)
        case Packing.NONE:
            return ()


def most_of(manifest: Manifest | None, path: str) -> int:
    """How many bytes may come out of the piece ``path``; 0 where it isn't packed."""
    return 0 if told(path) is Packing.NONE else most_unpacked(manifest, path)


def ended(name: str, packing: Packing, path: str, *, client_packs: bool = False) -> Operation:
    """A look at the end of the archive in ``path``; it fails where the end is missing.

    An archive of zstd is walked from block to block, unread: its last block says that it is the last, and whoever packed it closed
    it after the server's manifest. gzip has no such blocks, and is read whole; so is what pg_basebackup packed, for the count.
    """
    found = Stage(argv=("grep", "--text", "--count", "-e", COMPLETE))
    words = ("tar", "--extract", "--to-stdout", "--file=-", "backup_manifest")
    last = Stage(argv=words, most_bytes=UNBOUNDED if client_packs else 0)
    match packing:
        case Packing.ZSTD if not client_packs:
            return Process(name=name, argv=("zstd", "--list", path), reads=True)
        case Packing.ZSTD | Packing.GZIP:
            return Pipeline(name=name, source=path, stages=(*unpacked(f"tar{packing.suffix}"), last, found), reads=True)
        case Packing.NONE:
            tail = Stage(argv=("tail", f"--bytes={_TAIL_BYTES}", path))
            return Pipeline(name=name, stages=(tail, found), reads=True)
        case _:
            assert_never(packing)


def refuse_unreadable(look: Look, artifact: Artifact) -> None:
    """Refuse (exit 4) a base backup that this machine can't unpack, before anything is begun."""
    if artifact.format is not Format.BASE_BACKUP or told(artifact.name) is not Packing.ZSTD or _has_zstd(look):
        return
    detail = f"{artifact.name} is packed with zstd, and this machine has no program of that name to unpack it with."
    raise Refused(Problem("E636", "zstd is not installed here", detail, "apt-get install zstd"))


def _has_zstd(look: Look) -> bool:
    return look.run(LOCAL, ("zstd", "--version")).exit_code == 0
