"""Segments as a server writes them, as far as anybody looks: a page with its own position, and content of its own."""

from __future__ import annotations

import struct
from pathlib import Path

from runbook.actions.postgres import wal

SIZE = 1 << 20
"""The smallest wal_segment_size."""


def name(number: int, timeline: int = 1) -> str:
    """The name of a segment of this size."""
    return wal.segment_name(wal.Segment(timeline, number), SIZE)


def content(number: int, timeline: int = 1) -> bytes:
    """The first page's header (magic, flags, timeline, position), and bytes that no other segment has."""
    header = struct.pack("<HHIQ", 0xD110, 2, timeline, number * SIZE)
    return (header + struct.pack("<QI", number, timeline) * (SIZE // 12 + 1))[:SIZE]


def segment(folder: Path, number: int, timeline: int = 1) -> Path:
    """Write one into a folder."""
    path = folder / name(number, timeline)
    path.write_bytes(content(number, timeline))
    return path
