"""A job: one operation while it lives, from the synced start record to the exit record.

Owns the order of records and effects, the ways to end (by itself, on request, at its deadline, because a stage of its
pipeline failed or more bytes came than may) and what its exit record says. Promises: nothing is executed before the start
record is on the disk; it counts as ended when every member was reaped and, unless it is a daemon's, no descendant is left.
"""

from __future__ import annotations

import json
import os
import signal
import time

from . import processes
from .children import CouldNotStart
from .crash import crash_point
from .ledger import Ledger, seal
from .members import Carrier, Member, Stage, Wiring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .wire import CapturedWire, EndedWire, StartWire, Why

WATCHED_AFTER_S = 0.004
"""A process that ends sooner is never listened to: its pipes are emptied once, at its end. That saves a tenth of its price."""
READER_HAS_S = 0.5
"""A pump whose reader closed early has failed; the reader gets this long to end by itself, with its own exit code."""
STUCK_AFTER_S = 30.0
"""What lives so long after KILL (it sleeps in the kernel) is given up and named."""
SWEEP_S = (0.01, 0.2)
"""Shortest and longest pause between two looks for descendants while a job is being ended."""


class Job:
    """One running operation."""

    def __init__(self, request: StartWire, run_dir: str) -> None:
        self.id = request["id"]
        self.daemon = request["daemon"]
        self.began = time.monotonic()
        timeout_s = request["timeout_s"]
        self.watch_at: float | None = self.began + WATCHED_AFTER_S
        self.deadline = None if timeout_s is None else self.began + timeout_s
        self.grace_s = request["grace_s"]
        self.next_sweep: float | None = None
        self.leftovers = 0
        self._quoted = json.dumps(self.id)
        self._run_dir = run_dir
        self.wiring = Wiring(request, run_dir)
        self.why: Why = "exited"
        self._detail = ""
        self._kill_at = 0.0
        self._pause = SWEEP_S[0]
        self._told: set[tuple[int, int]] = set()

    @property
    def members(self) -> list[Member]:
        """Its processes and pumps, in the order of the bytes."""
        return self.wiring.members

    @property
    def carriers(self) -> list[Carrier]:
        """Its pumps."""
        return [member for member in self.members if isinstance(member, Carrier)]

    @property
    def counted(self) -> Carrier | None:
        """The pump whose count is the operation's: the one that hashes, else the last."""
        return next((pump for pump in self.carriers if pump.hashing), self.carriers[-1] if self.carriers else None)

    @property
    def reaped(self) -> bool:
        """Whether every member has ended."""
        return all(member.status is not None for member in self.members)

    def start(self, ledger: Ledger, boot: str) -> bool:
        """Record the start, synced, and execute. False: nothing was executed, since nothing can be recorded."""
        daemon = "true" if self.daemon else "false"
        start = f'{{"event":"start","id":{self._quoted},"at":{time.time():.6f},"boot":"{boot}","daemon":{daemon}}}'
        crash_point("supervisor.start")
        if not ledger.sync(seal(start)):
            return False
        crash_point("supervisor.started")
        self._begin(self.wiring.start)
        crash_point("supervisor.executed")
        pids = f'{{"event":"pids","id":{self._quoted},"processes":[{",".join(map(_wire, self.members))}]}}'
        if not ledger.write(seal(pids)) and self.daemon:
            self._not_started(ledger.fault)
        if self.daemon and self.why == "exited":
            self._begin(self.wiring.go)
        self.wiring.drop()
        if self.why == "exited":
            self._let_go()
        return True

    def _begin(self, part: Callable[[], None]) -> None:
        try:
            part()
        except CouldNotStart as error:
            self._not_started(str(error))

    def _not_started(self, detail: str) -> None:
        self._detail = detail
        self.end("not_started", grace_s=self.grace_s)

    def take_end(self, pid: int, status: int) -> None:
        """One member has ended. A member of a pipeline that did not end well ends the others."""
        ended = next(member for member in self.members if member.pid == pid)
        ended.status = status
        if self._told and self.next_sweep is not None:
            self.next_sweep = time.monotonic()  # the one before it is next
        if isinstance(ended, Carrier):
            while ended.read():
                pass
        if ended.well:
            self._let_go()
        elif len(self.members) > 1 and self.why == "exited":
            self.end("broken", grace_s=self.grace_s)
            if isinstance(ended, Carrier):
                self.next_sweep = time.monotonic() + READER_HAS_S

    def take_report(self, carrier: Carrier) -> bool:
        """A pump has something to say. False: no more will come."""
        more = carrier.read()
        if carrier.over and self.why == "exited":
            self._detail = f"pump: more than {carrier.most} bytes came"
            self.end("exceeded", grace_s=self.grace_s)
        self._let_go()
        return more

    def _let_go(self) -> None:
        """A pump begins at once, and shows the end to its reader only after all before it ended well."""
        for carrier in self.carriers:
            if not carrier.begun or (carrier.at_end and all(member.well for member in carrier.upstream)):
                carrier.go()

    def end(self, why: Why, *, grace_s: float) -> None:
        """Begin to end it: TERM at the next sweep, KILL after the grace. The first reason stays, the shorter grace counts."""
        now = time.monotonic()
        kill_at = now + grace_s
        if self.next_sweep is None:
            self.why = why
            self.next_sweep, self._kill_at = now, kill_at
        self._kill_at = min(kill_at, self._kill_at)

    def family(self, ours: dict[int, processes.Facts]) -> dict[int, processes.Facts]:
        """Its living members and what descends from them, out of ``ours``, the supervisor's descendants.

        An orphan that left its session is told by the mark in its environment; a daemon's are left in peace.
        """
        living = {member.pid for member in self.members if member.status is None}
        sessions = {member.pid for member in self.members}
        roots = living | {pid for pid, start in self._told if pid in ours and ours[pid].start == start}
        found = processes.family(roots, sessions, ours)
        if not self.daemon:
            me = os.getpid()
            marked = {
                facts.pid
                for facts in ours.values()
                if facts.parent == me and facts.pid not in found and processes.marked(facts.pid, self.id, self._run_dir)
            }
            if marked:
                found = processes.family(roots | marked, sessions, ours)
        return {pid: ours[pid] for pid in found if ours[pid].lives}

    def sweep(self, now: float, ours: dict[int, processes.Facts]) -> bool:
        """Signal what is left. True: nothing is, or it is given up."""
        left = self.family(ours)
        if not left and self.reaped:
            return True
        if now > self._kill_at + STUCK_AFTER_S:
            self.why = "stuck"
            self._detail = "still there after KILL: " + ", ".join(str(pid) for pid in sorted(left))
            return True
        number = signal.SIGKILL if now >= self._kill_at else signal.SIGTERM
        for facts in self._in_turn(left, ours):
            if number == signal.SIGKILL or (facts.pid, facts.start) not in self._told:
                processes.send(facts.pid, facts.start, number)
                self._told.add((facts.pid, facts.start))
        self._pause = min(self._pause * 2, SWEEP_S[1])
        self.next_sweep = now + self._pause
        if number == signal.SIGTERM:
            self.next_sweep = min(self.next_sweep, self._kill_at)
        return False

    def _in_turn(self, left: dict[int, processes.Facts], ours: dict[int, processes.Facts]) -> Iterable[processes.Facts]:
        """Of what is left, whom to signal now: a reader is ended before its writer.

        Else the reader would see the end of its input and take it for the end of the data.
        """
        if len(self.members) < 2:
            return left.values()
        kin = [
            processes.family({member.pid} if member.status is None else set(), {member.pid}, ours) & left.keys()
            for member in self.members
        ]
        orphans = left.keys() - set().union(*kin)
        last = next((pids for pids in reversed(kin) if pids), set())
        return [left[pid] for pid in last | orphans]

    def close(self) -> EndedWire:
        """Take what is left in the pipes, close everything, and say how it ended."""
        for carrier in self.carriers:
            carrier.close()
        stages = [member for member in self.members if isinstance(member, Stage)]
        for output in (self.wiring.stdout, *(stage.stderr for stage in stages)):
            if output is not None:
                output.close()
        self.wiring.log.close()
        counted = self.counted
        nothing: CapturedWire = {"text": "", "bytes": 0, "truncated": False}
        return {
            "event": "exit",
            "id": self.id,
            "at": time.time(),
            "why": self.why,
            "detail": self._detail or self._failures(),
            "exits": [stage.ended() for stage in stages],
            "stdout": self.wiring.stdout.taken() if self.wiring.stdout else nothing,
            "bytes": counted.bytes if counted else None,
            "taken": next((pump.bytes for pump in reversed(self.carriers) if pump.most), None),
            "sha256": (counted.sha256 or None) if counted and self.why == "exited" else None,
            "log_truncated": self.wiring.log.fault,
            "leftovers": self.leftovers,
            "duration_s": round(time.monotonic() - self.began, 6),
        }

    def _failures(self) -> str:
        """Which members failed by themselves, in words."""
        said = []
        for member in self.members:
            code = 0 if member.status is None else os.waitstatus_to_exitcode(member.status)
            if member.well or member.status is None or (code < 0 and (member.pid, member.start) in self._told):
                continue
            if isinstance(member, Carrier) and member.error:
                said.append(f"pump: {member.error}")
            elif code < 0:
                said.append(f"{member.program}: ended by signal {-code}")
            else:
                said.append(f"{member.program}: exit code {code}")
        return "; ".join(said)


def _wire(member: Member) -> str:
    """A member's identity as JSON, made by hand: the encoder costs more than the rest of the record."""
    return f'{{"pid":{member.pid},"start":{member.start},"program":{json.dumps(member.program)}}}'
