"""What lies in an archive, in the lines that ``postgres.check_archive`` reads of a directory too.

Owns the lines (:func:`lines`); :mod:`runbook.actions.postgres.archive_listing` reads them. Promises: the same limits as there; one
line more than of a directory: ``W``, the identifier of the cluster that wrote the newest segment, where it can be told; or ``X``,
why that segment is not what was archived.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from runbook.actions.postgres import wal
from runbook.actions.postgres.archive_listing import MOST_NAMES, MOST_STRETCHES, MOST_SWITCHES
from runbook.walstore.store import Damaged, Entry, Segments

_PLAIN = re.compile(r"[A-Za-z0-9._-]+")


def lines(archive: Segments, segment_bytes: int) -> Iterator[str]:
    """The lines, ending with ``Z``. Raises what the archive raises, and then that line is missing."""
    entries = {one.name: one for one in archive.entries()}
    plain = {name: one for name, one in entries.items() if _PLAIN.fullmatch(name)}
    kinds = {name: wal.parse_name(name, segment_bytes) for name in sorted(plain)}
    segments = {name: kind for name, kind in kinds.items() if isinstance(kind, wal.Segment)}
    stretches = wal.stretches(segments.values())
    damaged = [name for name in segments if plain[name].bytes != segment_bytes]
    foreign = [name for name, kind in kinds.items() if isinstance(kind, wal.Foreign)]
    histories = [name for name, kind in kinds.items() if isinstance(kind, wal.History)]
    yield from (f"S {one.timeline} {one.first} {one.last}" for one in stretches[:MOST_STRETCHES])
    yield from (f"D {name} {plain[name].bytes}" for name in damaged[:MOST_NAMES])
    yield from (f"F {name}" for name in foreign[:MOST_NAMES])
    yield from (f"H {name}" for name in histories[:MOST_SWITCHES])
    yield from _newest(archive, list(segments), plain)
    sizes = sum(one.bytes for one in plain.values())
    yield f"C {len(segments)} {len(stretches)} {len(damaged)} {len(foreign)} {sizes}"
    yield "E"
    if histories:
        yield from _switches(archive, histories[-1])
    yield f"O {len(entries) - len(plain)}"
    yield "Z"


def _newest(archive: Segments, names: list[str], entries: Mapping[str, Entry]) -> Iterator[str]:
    if not names:
        return
    newest, times = names[-1], [entries[name].modified.timestamp() for name in names]
    yield f"N {newest} {entries[newest].modified.timestamp():.3f} {min(times):.3f}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / newest
        try:
            writer = wal.cluster_of(path.read_bytes()[: wal.HEADER_BYTES]) if archive.fetch(newest, path) else ""
        except Damaged as error:
            yield f"X {error}"
            return
    if writer:
        yield f"W {writer}"


def _switches(archive: Segments, history: str) -> Iterator[str]:
    """The latest timeline's history, which holds those of all that lead to it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / history
        text = path.read_text(encoding="utf-8") if archive.fetch(history, path) else ""
    told = wal.parse_history(text)
    yield from (f"L {history} {one.timeline} {wal.show_lsn(one.position)}" for one in told[:MOST_SWITCHES])
