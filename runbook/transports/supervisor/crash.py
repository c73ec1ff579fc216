"""Crash points: places where a test lets the supervisor die, by ``RUNBOOK_CRASH=POINT:N`` (the N-th time)."""

from __future__ import annotations

import os
import signal

_point, _, _count = os.environ.get("RUNBOOK_CRASH", "").partition(":")
_left = int(_count or 1)


def crash_point(name: str) -> None:
    """Die here, as by ``kill -9``, if the environment asks for it."""
    global _left
    if name == _point:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
