"""Rows of a query as JSON scalars, bounded.

Owns what a value of PostgreSQL becomes (numbers, text, truth values, null: everything else is the server's own text) and how
much of a result is kept. Promises: a result that is too large is refused, never cut.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from runbook.operation import Fields, Scalar
from runbook.transports.durable import create_partial, partial_of, sync_folder, write_all
from runbook.transports.trouble import trouble

if TYPE_CHECKING:
    from psycopg import Cursor
    from psycopg.adapt import AdaptersMap

LONGEST_FIELD = 64 * 1024
"""Bytes of one column of a single row."""
LONGEST_ROWS = 256 * 1024
"""Bytes of all rows, as JSON."""

Row: TypeAlias = Mapping[str, Scalar]


@cache
def adapters() -> AdaptersMap:
    """How a connection of ours reads values: see :func:`scalar`."""
    import psycopg
    from psycopg.adapt import AdaptersMap, Buffer, Loader

    class _Text(Loader):
        def load(self, data: Buffer) -> Scalar:
            try:
                return bytes(data).decode()
            except UnicodeDecodeError as error:
                # shared catalogues keep names in the encoding of the database that made them
                odd = f"byte 0x{data[error.start]:02x} at {error.start}"
                raise psycopg.DataError(f"A value of the answer is no UTF-8 text ({odd}).") from None

    class _Number(Loader):
        def load(self, data: Buffer) -> Scalar:
            return number(bytes(data).decode())

    class _Truth(Loader):
        def load(self, data: Buffer) -> Scalar:
            return bytes(data) == b"t"

    made = AdaptersMap(psycopg.adapters)
    made.register_loader(0, _Text)  # of every type that has no number here
    for known in psycopg.adapters.types:
        for oid in (known.oid, known.array_oid):
            if oid:
                made.register_loader(oid, _Text)
    for name in ("int2", "int4", "int8", "oid", "float4", "float8", "numeric"):
        made.register_loader(name, _Number)
    made.register_loader("bool", _Truth)
    return made


def number(text: str) -> Scalar:
    """An integer where the text is one, else a double; text where it is neither (``NaN``) or where a double would lose digits."""
    try:
        return int(text)
    except ValueError:
        value = float(text)
    digits = text.partition("e")[0].replace(".", "").replace("-", "").strip("0")
    return value if isfinite(value) and len(digits) <= 17 else text


def rows_of(cursor: Cursor[tuple[Scalar, ...]]) -> list[Row]:
    """All rows of the cursor, by column name."""
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def result_fields(rows: Sequence[Row]) -> Fields:
    """``rows`` (JSON), ``row_count``, and the columns of a single row. Raises :class:`Trouble` for what is too large."""
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > LONGEST_ROWS:
        raise too_large(f"{len(rows)} rows take {len(text.encode())} bytes; at most {LONGEST_ROWS} are kept.")
    own: Fields = {"rows": text, "row_count": len(rows)}
    single = rows[0] if len(rows) == 1 else {}
    for name, value in single.items():
        if isinstance(value, str) and len(value.encode()) > LONGEST_FIELD:
            raise too_large(f"Column {name} takes {len(value.encode())} bytes; at most {LONGEST_FIELD} are kept.")
    return {**single, **own}


def write_rows(path: Path, names: Sequence[str], rows: Iterable[Sequence[Scalar]]) -> Fields:
    """Write the rows as JSON lines to ``path``, durably. Result: ``row_count``, ``sha256``, ``bytes``."""
    digest, count, size = hashlib.sha256(), 0, 0
    fd = create_partial(path, 0o600)
    try:
        for row in rows:
            record = dict(zip(names, row, strict=True))
            line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            digest.update(line)
            write_all(fd, line)
            count, size = count + 1, size + len(line)
        os.fsync(fd)
    finally:
        os.close(fd)
    partial_of(path).rename(path)
    sync_folder(path.parent)
    return {"row_count": count, "sha256": digest.hexdigest(), "bytes": size}


def too_large(detail: str) -> Exception:
    """The refusal of a result that would not fit."""
    return trouble("E313", "the result is too large", detail, "Ask for less: an aggregate, a LIMIT, or fewer columns.")
