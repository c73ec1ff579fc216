"""What runs now, by the id of its use: so that a stop finds it.

Owns the registry between performers and whoever stops them, from another thread. Promises: a stop that comes before the work
registers is kept, and is delivered then.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


class Running:
    """Stops by use id; of an operation and of what runs inside it (``ID/…``)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stops: dict[str, Callable[[float], None]] = {}
        self._asked: dict[str, float] = {}

    @contextlib.contextmanager
    def stoppable(self, use_id: str, stop: Callable[[float], None]) -> Iterator[None]:
        """While inside, ``stop(grace_s)`` ends this work."""
        with self._lock:
            self._stops[use_id] = stop
            grace_s = next((grace for asked, grace in self._asked.items() if _inside(use_id, asked)), None)
        if grace_s is not None:
            stop(grace_s)
        try:
            yield
        finally:
            with self._lock:
                self._stops.pop(use_id, None)

    def stop(self, use_id: str, grace_s: float) -> None:
        """End what runs under that id, now or as soon as it begins."""
        with self._lock:
            self._asked[use_id] = grace_s
            stops = [stop for running, stop in self._stops.items() if _inside(running, use_id)]
        for stop in stops:
            stop(grace_s)

    def stopped(self, use_id: str) -> bool:
        """Whether a stop was asked for this id or one around it."""
        with self._lock:
            return any(_inside(use_id, asked) for asked in self._asked)


def _inside(use_id: str, other: str) -> bool:
    return use_id == other or use_id.startswith(f"{other}/")
