"""The head of an archive of pg_dump: of which database and which server it says that it was made.

Owns the few first fields of PostgreSQL's archive format (``pg_backup_archiver.c``, versions 1.12 to 1.16), which are the same for
the custom format and for a directory's ``toc.dat``. Pure. Promises: what can't be read is None, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass

MAGIC = b"PGDMP"
_DATE_FIELDS = 7
_COMPRESSION_IN_A_BYTE = 15
"""Since version 1.15 (PostgreSQL 16) the compression is one byte, the algorithm; before, it was a level, written as a number."""


@dataclass(frozen=True, slots=True)
class Head:
    """What an archive says of itself: its database, and the server's version as text (``15.18 (Debian …)``)."""

    database: str
    server: str

    @property
    def server_major(self) -> int:
        """The server's major version; 0 where the text does not begin with one."""
        digits = self.server.partition(".")[0].partition(" ")[0]
        return int(digits) if digits.isascii() and digits.isdigit() else 0


def read_head(data: bytes) -> Head | None:
    """The head, or None where these bytes are no archive or too few."""
    if not data.startswith(MAGIC) or len(data) < 11:
        return None
    minor, number_bytes = data[6], data[8]
    reader = _Reader(data, 11, number_bytes)
    try:
        if minor >= _COMPRESSION_IN_A_BYTE:
            reader.at += 1
        else:
            reader.number()
        for _ in range(_DATE_FIELDS):
            reader.number()
        return Head(database=reader.text(), server=reader.text())
    except (IndexError, UnicodeDecodeError):
        return None


@dataclass
class _Reader:
    """Numbers are a byte of sign and ``number_bytes`` bytes, the lowest first; a text is its length and its bytes."""

    data: bytes
    at: int
    number_bytes: int

    def number(self) -> int:
        """The next number."""
        end = self.at + 1 + self.number_bytes
        if end > len(self.data):
            raise IndexError(end)
        sign, value = self.data[self.at], int.from_bytes(self.data[self.at + 1 : end], "little")
        self.at = end
        return -value if sign else value

    def text(self) -> str:
        """The next text."""
        length = self.number()
        end = self.at + length
        if length < 0 or end > len(self.data):
            raise IndexError(end)
        found = self.data[self.at : end]
        self.at = end
        return found.decode()
