"""Which containers have stayed up: one that ends, or is started anew, a moment after its start was never started.

Owns :class:`Staying`. For containers without a health check, which says more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

STAYS_S = 1.0
"""How long a container has to have been seen with the same start."""
LONG_AGO_S = 60.0
"""A start that lies so far back needs no second look, however the engine's clock differs from ours (seconds)."""


class Staying:
    """What was seen of containers' starts, by one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def look(self, container: str, state: Mapping[str, object]) -> bool:
        """Whether the container of this id runs and has stayed. ``state``: what the engine's inspection says under `State`."""
        if state.get("Status") != "running":
            return False
        began, now = str(state.get("StartedAt", "")), self._clock()
        with self._lock:
            if self._seen.get(container, ("", 0.0))[0] != began:
                self._seen[container] = (began, now)
            seen = self._seen[container][1]
        return now - seen >= STAYS_S or _long_ago(began)


def _long_ago(began: str) -> bool:
    try:
        at = datetime.fromisoformat(began[:19]).replace(tzinfo=UTC)
    except ValueError:
        return False
    return (datetime.now(UTC) - at).total_seconds() > LONG_AGO_S
