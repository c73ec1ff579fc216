"""`python -m tests.matrix.apart WITHIN_S PROGRAM …`: run a program that may leave processes behind, and end what it left.

Tests whose defence is missing leave children, supervisors and servers that nobody ends. They come to this process when their
parents are gone. Its exit code is the program's, or 124 where that did not end within the seconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from runbook.transports.supervisor import processes

SET_CHILD_SUBREAPER = 36
TIMED_OUT = 124


def main(words: Sequence[str]) -> int:
    """Run it to its end, or to the end of its time; then nothing of it is left."""
    within_s, *argv = words
    signal.signal(signal.SIGTERM, _leave)
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    program = subprocess.Popen(argv)
    try:
        code = program.wait(float(within_s))
    except subprocess.TimeoutExpired:
        code = TIMED_OUT
    finally:
        _end_what_is_left()
    return code


def _leave(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _end_what_is_left() -> None:
    """KILL until nothing descends from us: who dies leaves its children to us."""
    while ours := processes.descendants(os.getpid(), processes.scan()):
        for facts in ours.values():
            processes.send(facts.pid, facts.start, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
