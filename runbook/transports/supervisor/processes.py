"""Processes as ``/proc`` shows them: who lives, who descends from whom, and signals that can't hit a stranger.

Used by the supervisor and by the engine after a crash. Promises: a process is named by pid *and* start time; a signal is
sent through a pidfd after the start time was compared, so that a reused pid is never hit.
"""

from __future__ import annotations

import os
import signal
import time

OPERATION = "RUNBOOK_OPERATION"
"""Environment variable that marks every descendant of an operation."""
RUN_DIR = "RUNBOOK_RUN_DIR"
"""Environment variable that says to which run the marked operation belongs."""
EXECUTED_WITHIN_S = 1.0
"""How long the kernel may take, on a machine that is busy, from a program's first page to its environment."""
_ENVIRONMENT = slice(48, 50)
"""Where ``/proc/PID/stat`` says from where to where the environment goes: 0 and 0 while the program is being loaded."""


class Facts:
    """What one line of ``/proc/PID/stat`` says. ``start`` is in clock ticks since boot."""

    __slots__ = ("parent", "pid", "session", "start", "state")

    def __init__(self, pid: int, line: bytes) -> None:
        fields = line[line.rindex(b")") + 2 :].split(b" ", 20)
        self.pid = pid
        self.state = fields[0].decode()
        self.parent = int(fields[1])
        self.session = int(fields[3])
        self.start = int(fields[19])

    @property
    def lives(self) -> bool:
        """Not a zombie, not dead."""
        return self.state not in "ZXx"


def look(pid: int) -> Facts | None:
    """The facts of one process, or None if there is none."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        return Facts(pid, os.read(fd, 1024))
    except (OSError, ValueError, IndexError):
        return None
    finally:
        os.close(fd)


def scan() -> dict[int, Facts]:
    """All processes of the machine, by pid."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (facts := look(int(name))):
            found[facts.pid] = facts
    return found


def lives(pid: int, start: int) -> bool:
    """Whether the process of that pid and start time lives."""
    facts = look(pid)
    return facts is not None and facts.start == start and facts.lives


def stopped(pid: int) -> bool:
    """Whether the process stands still until it is told to go on (SIGSTOP)."""
    facts = look(pid)
    return facts is not None and facts.state == "T"


def marked(pid: int, operation: str, run_dir: str) -> bool:
    """Whether the environment that a process began with carries the marks of the operation; False if unreadable.

    One that is just becoming another program has no environment for a moment: that is waited for.
    """
    deadline = time.monotonic() + EXECUTED_WITHIN_S
    while not (shown := _environment(pid)) and _becomes_another(pid) and time.monotonic() < deadline:
        time.sleep(0.001)
    variables = shown.split(b"\0")
    marks = (f"{OPERATION}={operation}", f"{RUN_DIR}={run_dir}")
    return all(os.fsencode(mark) in variables for mark in marks)  # a folder's name may be any bytes


def _environment(pid: int) -> bytes:
    """What the process shows of the environment it began with."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:
        return b""


def _becomes_another(pid: int) -> bool:
    """Whether a process that showed no environment will have one: not if it has ended, was given none, or hides it."""
    try:
        with open(f"/proc/{pid}/environ", "rb"), open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
        begin, end = line[line.rindex(b")") :].split()[_ENVIRONMENT]
    except (OSError, ValueError):
        return False
    return Facts(pid, line).lives and not begin == end != b"0"


def descendants(root: int, known: dict[int, Facts]) -> dict[int, Facts]:
    """All that descend from ``root`` through living parents, without itself."""
    found = {root}
    grown = True
    while grown:
        grown = False
        for facts in known.values():
            if facts.parent in found and facts.pid not in found:
                found.add(facts.pid)
                grown = True
    return {pid: known[pid] for pid in found if pid != root and pid in known}


def family(roots: set[int], sessions: set[int], known: dict[int, Facts]) -> set[int]:
    """``roots`` and all that shows their blood: children's children, and members of their sessions."""
    found = {pid for pid in roots if pid in known}
    sessions = sessions | found
    grown = True
    while grown:
        grown = False
        for facts in known.values():
            if facts.pid not in found and (facts.parent in found or facts.session in sessions):
                found.add(facts.pid)
                sessions.add(facts.pid)  # it may lead a session of its own
                grown = True
    return found


def send(pid: int, start: int, number: int) -> bool:
    """Send a signal to exactly this process. False: it is gone, or it may not be signalled."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        facts = look(pid)
        if facts is None or facts.start != start:
            return False
        signal.pidfd_send_signal(fd, number)
        if number == signal.SIGTERM and facts.state in "Tt":
            signal.pidfd_send_signal(fd, signal.SIGCONT)  # a stopped process takes TERM only when it goes on
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
