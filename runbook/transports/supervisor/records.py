"""What a crash left behind: which children a run began, and what is known of each.

Reads ``supervisor.jsonl`` and compares with the processes of the machine. Promises: *never started* is said only of what
was certainly not executed; a torn last line is tolerated, damage anywhere else refuses (a lost start record would read as
never started, and its effect would happen twice).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import cast

from runbook.errors import JournalFault, Problem
from runbook.transports.supervisor import ledger, processes, requests
from runbook.transports.supervisor.requests import Ended
from runbook.transports.supervisor.wire import EndedWire, ProcessWire, RecordWire

LOOK_AGAIN_S = 0.1
"""A child that was being executed when its supervisor was killed shows its mark at the latest after this."""
POLL_S = 0.1


class State(StrEnum):
    """What is known of an operation from here."""

    NEVER_STARTED = "never_started"
    RUNNING = "running"
    ENDED = "ended"
    UNKNOWABLE = "unknowable"


@dataclass(frozen=True, slots=True)
class Living:
    """A process that lives: pid, and start time in clock ticks since boot."""

    pid: int
    start: int


@dataclass(frozen=True, slots=True)
class Child:
    """What is known of one operation. ``living`` are its processes that live; ``ended`` is its exit record."""

    id: str
    state: State
    living: tuple[Living, ...] = ()
    ended: Ended | None = None


def read_children(run_dir: Path) -> dict[str, Child]:
    """All operations that the run's supervisors have begun, by id. One that isn't there was never started.

    Raises :class:`runbook.errors.JournalFault` if a record in the middle is damaged. ``RUNNING`` and ``UNKNOWABLE`` are
    what the processes of this moment show; while a supervisor lives, ask it instead.
    """
    begun: dict[str, list[ProcessWire]] = {}
    boots: dict[str, str] = {}
    daemons: set[str] = set()
    ends: dict[str, Ended] = {}
    for record in _records(run_dir / ledger.NAME):
        operation = record.get("id", "")
        match record["event"]:
            case "start":
                begun[operation] = []
                boots[operation] = record.get("boot", "")
                ends.pop(operation, None)
                if record.get("daemon"):
                    daemons.add(operation)
            case "pids":
                begun[operation] = record.get("processes", [])
            case "exit":
                ends[operation] = requests.ended(cast(EndedWire, record))
    now = ledger.boot_id()
    open_ = {key: begun[key] for key in begun if key not in ends and boots[key] == now}
    living = _living(run_dir, open_, daemons)
    found = {}
    for key in begun:
        alive = living.get(key, ())
        state = State.ENDED if key in ends else State.RUNNING if alive else State.UNKNOWABLE
        found[key] = Child(key, state, living=alive, ended=ends.get(key))
    return found


def settle(run_dir: Path, operation: str, *, until: Callable[[], bool]) -> Child:
    """Wait, where no supervisor lives, until nothing of the operation does. ``until`` true gives up: still ``RUNNING``.

    What ended unseen is ``UNKNOWABLE``: only its parent could have known.
    """
    while True:
        child = read_children(run_dir).get(operation) or Child(operation, State.NEVER_STARTED)
        if child.state is not State.RUNNING or until():
            return child
        time.sleep(POLL_S)


def supervisor_of(run_dir: Path) -> int:
    """The process id of the run's newest supervisor, as it wrote it down, living or not; 0: there was none."""
    opened = [record for record in _records(run_dir / ledger.NAME) if record["event"] == "opened"]
    return opened[-1].get("pid", 0) if opened else 0


def end_orphans(run_dir: Path, operation: str, *, grace_s: float) -> bool:
    """End what lives of an operation whose supervisor is gone: TERM, KILL after the grace. False: something is left."""
    kill_at = time.monotonic() + grace_s
    told: set[Living] = set()
    while time.monotonic() < kill_at + grace_s + 1:
        child = read_children(run_dir).get(operation)
        if child is None or child.state is not State.RUNNING:
            return True
        number = signal.SIGKILL if time.monotonic() >= kill_at else signal.SIGTERM
        for one in reversed(child.living):  # readers are the younger ones, and go before what they read from
            if number is signal.SIGKILL or one not in told:
                processes.send(one.pid, one.start, number)
                told.add(one)
        time.sleep(POLL_S / 2)
    return False


def _records(path: Path) -> list[RecordWire]:
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    torn = lines.pop()  # what follows the last newline was never finished
    del torn
    found: list[RecordWire] = []
    damaged = 0
    for number, line in enumerate(lines, start=1):
        record = ledger.parse(line)
        if damaged and (record is None or record["event"] != "opened"):
            raise _damage(path, damaged)
        if record is None:
            damaged = number  # excused only if a new supervisor closed a line that a crash tore
        else:
            damaged = 0
            found.append(record)
    if damaged and damaged != len(lines):
        raise _damage(path, damaged)
    return found


def _damage(path: Path, number: int) -> JournalFault:
    return JournalFault(
        Problem(
            "E616",
            "the supervisor's records are damaged",
            f"{path}, line {number}: the checksum does not agree, so it can't be told what was started",
            f"look at the line, look at the world, then `runbook resolve`: sed -n {number}p {path}",
        )
    )


def _living(run_dir: Path, begun: dict[str, list[ProcessWire]], daemons: set[str]) -> dict[str, tuple[Living, ...]]:
    """Of each open operation of this boot, what lives of it: recorded processes, their families, and marked orphans."""
    if not begun:
        return {}
    folder = str(run_dir.resolve())
    found = _look(folder, begun, daemons)
    if not all(found.values()):
        time.sleep(LOOK_AGAIN_S)
        found = _look(folder, begun, daemons)
    return found


def _look(folder: str, begun: dict[str, list[ProcessWire]], daemons: set[str]) -> dict[str, tuple[Living, ...]]:
    known = processes.scan()
    found = {}
    for operation, recorded in begun.items():
        roots = {one["pid"] for one in recorded if one["pid"] in known and known[one["pid"]].start == one["start"]}
        family = processes.family(roots, set(), known)
        if operation not in daemons:  # what starts one executes nothing before it is on record
            family |= {pid for pid in known if pid not in family and processes.marked(pid, operation, folder)}
        found[operation] = tuple(Living(pid, known[pid].start) for pid in sorted(family) if known[pid].lives)
    return found
