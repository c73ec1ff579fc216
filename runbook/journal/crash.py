"""Crash points: named places where a test can kill the process as a power cut would.

``RUNBOOK_CRASH=point:n`` kills this process with SIGKILL at the n-th passage of the point. Unset, a passage costs one
call. The variable is read once.
"""

from __future__ import annotations

import os
import signal
from functools import cache
from itertools import count
from typing import Final

from runbook.errors import Problem, UsageFault

VARIABLE: Final = "RUNBOOK_CRASH"


class _Trap:
    """The armed point; counting is atomic, because ``next`` of a counter is."""

    def __init__(self, point: str, passage: int) -> None:
        self.point = point
        self._passage = passage
        self._passages = count(1)

    def spring(self) -> None:
        if next(self._passages) == self._passage:
            os.kill(os.getpid(), signal.SIGKILL)


def crash_point(name: str) -> None:
    """Pass the named point: die here if a test asked for it, else do nothing."""
    trap = _armed()
    if trap is not None and trap.point == name:
        trap.spring()


@cache
def _armed() -> _Trap | None:
    setting = os.environ.get(VARIABLE, "")
    if not setting:
        return None
    point, _, passage = setting.rpartition(":")
    if not point or not passage.isdecimal() or int(passage) < 1:
        detail = f"{VARIABLE} is {setting!r}; it has the form point:n, such as journal.after_write:3."
        raise UsageFault(Problem("E203", "a crash point that can't be read", detail, f"unset {VARIABLE}"))
    return _Trap(point, int(passage))
