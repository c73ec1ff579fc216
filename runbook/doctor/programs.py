"""Programs that actions call: where each is looked for, which Debian package has it, what its absence means.

Owns the table. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from runbook.doctor.finding import Mark


class Side(StrEnum):
    """Where a program is needed, and how it is found there.

    ``CLIENT``: on the database's host, in the system's ``binaries`` or on the PATH; on this machine where a step names no database.
    ``DATABASE``: the same, and only where a step names one. ``SERVER``: beside the server that runs there,
    where runbook finds it by the server's own process; in a container the server's image has it. ``HERE``: on this machine.
    ``ENGINE``: on this machine, where the database is in a container.
    """

    CLIENT = "client"
    DATABASE = "database"
    SERVER = "server"
    HERE = "here"
    ENGINE = "engine"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a program. ``package``: ``{}`` stands for PostgreSQL's major version; ``absent``: how bad that is."""

    side: Side
    package: str
    absent: Mark = Mark.FAILS
    why: str = ""


_CLIENT = Known(Side.CLIENT, "postgresql-client-{}")
_SERVER = Known(Side.SERVER, "postgresql-{}", Mark.LOOK)
_CHECKS = "Checksums of data pages are then not looked at."
_PACKS = (
    "Base backups are then packed with gzip, which takes longer; one that was packed with zstd can't be restored here."
)

PROGRAMS: Mapping[str, Known] = {
    "pg_dump": _CLIENT,
    "pg_dumpall": _CLIENT,
    "pg_restore": _CLIENT,
    "psql": _CLIENT,
    "pg_basebackup": _CLIENT,
    "pg_archivecleanup": Known(Side.DATABASE, "postgresql-{}"),
    "pg_verifybackup": Known(Side.SERVER, "postgresql-client-{}", Mark.LOOK),
    "pg_controldata": _SERVER,
    "pg_ctl": _SERVER,
    "pg_rewind": _SERVER,
    "pg_waldump": _SERVER,
    "postgres": _SERVER,
    "pg_checksums": Known(Side.SERVER, "postgresql-{}", Mark.LOOK, _CHECKS),
    "zstd": Known(Side.HERE, "zstd", Mark.LOOK, _PACKS),
    "docker": Known(Side.ENGINE, "docker.io"),
}
USUAL = ("pg_dump", "pg_restore", "psql", "pg_basebackup")
"""What most plans need of a database's host; asked for where no plan says."""


def known(program: str) -> Known:
    """What is known of a program; one that only a plan's author knows is needed where its step runs."""
    return PROGRAMS.get(program, Known(Side.HERE, ""))


def package(program: str, major: int | None) -> str:
    """The Debian package with that program, or an empty string; without a version the one that fits the distribution's."""
    name = known(program).package
    return name.format(major) if major is not None else name.removesuffix("-{}")
