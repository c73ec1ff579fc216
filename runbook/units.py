"""Durations, sizes and instants: as people write them, as programs count them, as people read them.

Owns the grammar of ``1h30m``, ``10GiB`` and RFC 3339 instants. Durations are seconds (``float``), sizes are bytes
(``int``), instants are aware :class:`datetime.datetime` in UTC. Promises: parsing refuses what it isn't sure of with a
``ValueError`` whose text says what is expected.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_DURATION = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")
_LONGEST_S = 5_200 * 604_800.0
_LARGEST = 2**63
_SECONDS = (604_800, 86_400, 3_600, 60, 1, 0.001)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGTP]i?B|B)")
_UNITS = {"B": 1} | {
    f"{letter}{binary}B": (1024 if binary else 1000) ** power
    for power, letter in enumerate("kMGTP", start=1)
    for binary in ("", "i")
}


def parse_duration(text: str) -> float:
    """Seconds of ``30s``, ``5m``, ``1h30m``, ``2d``, ``250ms``."""
    match = _DURATION.fullmatch(text.strip())
    if not text.strip() or match is None:
        raise ValueError("expected a duration like 30s, 5m, 1h30m or 2d")
    seconds = float(sum(float(part) * unit for part, unit in zip(match.groups(), _SECONDS, strict=True) if part))
    if seconds > _LONGEST_S:
        raise ValueError("expected a duration of at most 5200w (a hundred years)")
    return seconds


def parse_size(text: str) -> int:
    """Bytes of ``512B``, ``10MB``, ``1.5GiB``."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("expected a size like 512B, 10MB or 1.5GiB")
    count = float(match[1]) * _UNITS[match[2]]
    if count >= _LARGEST:
        raise ValueError("expected a size below 9223 PB")
    return int(count)


def parse_instant(text: str) -> datetime:
    """An instant of RFC 3339 with a zone: ``2026-02-14T12:00:00+01:00`` or ``…Z``."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError("expected a time like 2026-02-14T12:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone: end it with Z or +01:00")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("expected a time within the years 1 to 9999, in UTC") from None


def show_duration(seconds: float) -> str:
    """``0.4s``, ``59s``, ``2m 05s``, ``1h 03m``, ``2d 4h``."""
    if seconds < 0:
        return f"-{show_duration(-seconds)}"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3_600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3_600}h {whole % 3_600 // 60:02d}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3_600}h"


def show_size(count: float) -> str:
    """``512 B``, ``1.5 MB``: decimal units, one digit after the point."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 999.95 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} PB"


def show_instant(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds: ``2026-02-14T12:00:00.123456Z``."""
    return f"{(moment if moment.tzinfo is UTC else moment.astimezone(UTC)).isoformat(timespec='microseconds')[:-6]}Z"
