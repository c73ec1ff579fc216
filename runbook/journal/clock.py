"""The real clock and the id of this boot.

Owns the only reading of time in the journal. Promises aware UTC instants, and a boot id that changes with each boot, so
that a monotonic time or a process id from before a reboot is never taken for one of now.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        """The wall time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since boot, time asleep included, so that all processes of one boot agree (clock_gettime(2))."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """The kernel's id of this boot (random(4)); ``unknown`` where it doesn't tell."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"
