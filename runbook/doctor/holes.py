"""Known holes, and when versions end: the table by which versions are judged.

Owns the numbers. Pure. Each row gives, by branch, the first version without the hole, as the CVE's record and the project's own
advisory have it (postgresql.org/support/security, the CVE records of the Python Software Foundation, Jinja's advisories). A branch
that is older than a row's oldest was given up before the hole was found, and has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

OLDEST_PYTHON = (3, 11)
JINJA = "3.1.6"
PARSER = "0.2.12"

TARFILE_MENDED: Mapping[tuple[int, int], int] = {(3, 11): 13, (3, 12): 11, (3, 13): 4, (3, 14): 0}
"""By Python's branch, the first micro version in which CVE-2025-4517 and its kin are mended (3.14: in its beta)."""

PYTHON_ENDS: Mapping[tuple[int, int], date] = {
    (3, 11): date(2027, 10, 31),
    (3, 12): date(2028, 10, 31),
    (3, 13): date(2029, 10, 31),
    (3, 14): date(2030, 10, 31),
}
POSTGRES_ENDS: Mapping[int, date] = {
    13: date(2025, 11, 13),
    14: date(2026, 11, 12),
    15: date(2027, 11, 11),
    16: date(2028, 11, 9),
    17: date(2029, 11, 8),
    18: date(2030, 11, 14),
}


@dataclass(frozen=True, slots=True)
class Hole:
    """A hole of PostgreSQL: its numbers, the first minor version of each branch without it, whom it is about, why it matters."""

    cve: str
    mended: Mapping[int, int]
    programs: frozenset[str]
    why: str

    def has(self, major: int, minor: int) -> bool:
        """Whether that version has it."""
        first = self.mended.get(major)
        return minor < first if first is not None else major < min(self.mended)


SERVER = "postgres"
_SCRIPTS = frozenset({"pg_dump", "pg_dumpall", "pg_restore"})

POSTGRES_HOLES = (
    Hole(
        "CVE-2025-1094",
        {13: 19, 14: 16, 15: 11, 16: 7, 17: 3},
        frozenset({"psql"}),
        "Text in a broken encoding slips past the quoting, and what was data becomes commands of psql.",
    ),
    Hole(
        "CVE-2025-8714, CVE-2025-8715",
        {13: 22, 14: 19, 15: 14, 16: 10, 17: 6},
        _SCRIPTS,
        "Somebody on the dumped server can hide commands in a dump, which run as you when psql restores it.",
    ),
    Hole(
        "CVE-2026-6477",
        {14: 23, 15: 18, 16: 14, 17: 10, 18: 4},
        frozenset({"pg_dump", "psql"}),
        "A server that somebody else holds can overwrite the program's memory while it reads large objects.",
    ),
    Hole(
        "CVE-2026-6475",
        {14: 23, 15: 18, 16: 14, 17: 10, 18: 4},
        frozenset({"pg_basebackup", "pg_rewind"}),
        "A server that somebody else holds can have files outside the copy overwritten on this side, through links.",
    ),
    Hole(
        "CVE-2026-18408",
        {14: 24, 15: 19, 16: 15, 17: 11, 18: 6},
        _SCRIPTS,
        "The mending of CVE-2025-8714 could be got round: a plain dump can still hold commands that run as you.",
    ),
    Hole(
        "CVE-2026-2005, CVE-2026-2006",
        {14: 21, 15: 16, 16: 12, 17: 8, 18: 2},
        frozenset({SERVER}),
        "A database user can run programs as the server's own account, backups and WAL included.",
    ),
    Hole(
        "CVE-2026-6473",
        {14: 23, 15: 18, 16: 14, 17: 10, 18: 4},
        frozenset({SERVER}),
        "An application's input can make the server write past its memory: it crashes, or worse.",
    ),
)


def holes(program: str, major: int, minor: int) -> Iterator[Hole]:
    """The known holes of that program (``postgres``: the server) in that version."""
    return (hole for hole in POSTGRES_HOLES if program in hole.programs and hole.has(major, minor))


def first_whole(program: str, major: int) -> int | None:
    """The first minor version of the branch in which no hole of this table is left; None where there is none, or none is known."""
    known = [hole.mended.get(major) for hole in POSTGRES_HOLES if program in hole.programs]
    found = [minor for minor in known if minor is not None]
    return max(found) if found else None
