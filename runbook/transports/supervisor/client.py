"""The engine's side of its supervisor: start it, or find it again; spawn, kill, lock; wait for ends.

Owns one connection, shared by the threads of the engine. Promises: a call returns what the supervisor said about *its*
operation; a lost connection raises :class:`SupervisorLost` in every caller, and says nothing about the children, which may
live (ask :mod:`runbook.transports.supervisor.records`). With one caller there is no thread and no hand-over: who waits,
reads; with several, one of the waiting reads for all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Literal, cast

from runbook.errors import Busy, JournalFault, Problem, RunbookError
from runbook.transports.supervisor import processes, requests
from runbook.transports.supervisor.line import SOCKET, Line, Stopped
from runbook.transports.supervisor.records import read_children
from runbook.transports.supervisor.requests import Ended, Spawn
from runbook.transports.supervisor.wire import EndedWire, RecordWire

_ENCODER = json.JSONEncoder(separators=(",", ":"))
_DECODER = json.JSONDecoder()
START_S = 60.0
"""How long a supervisor may take until it listens, or the one before it until it is gone."""
KEPT = ("PATH", "TZ", "LD_LIBRARY_PATH", "RUNBOOK_CRASH")
"""Of the engine's environment, what its supervisor gets: secrets that stand there are none of its business."""

Message = RecordWire | EndedWire


class SupervisorLost(RunbookError):
    """The supervisor is gone or does not speak. What it supervised may live; the records say what is known."""

    def __init__(self, detail: str, fix: str = "`runbook resume` finds its children again") -> None:
        super().__init__(Problem("E610", "the supervisor of this run was lost", detail, fix))


class SupervisorRefused(RunbookError):
    """The supervisor started nothing, and said why."""


class LockMode(StrEnum):
    """Exclusive for what a step changes, shared for what it reads."""

    EXCLUSIVE = "exclusive"
    SHARED = "shared"


class _Waiter:
    """One call that waits: for the message, or for its turn to read."""

    __slots__ = ("message", "progress", "wake")

    def __init__(self, progress: Callable[[int], None] | None) -> None:
        self.message: Message | None = None
        self.progress = progress
        self.wake: threading.Semaphore | None = None


class Supervisor:
    """A connection to a run's supervisor. Only the holder of ``engine.lock`` may have one: it replaces any before."""

    def __init__(self, run_dir: Path, line: Line) -> None:
        self._run_dir = run_dir
        self._line = line
        self._sending = threading.Lock()
        self._state = threading.Lock()
        self._waiters: dict[str, _Waiter] = {}
        self._kills: dict[str, float] = {}
        self._reading = False
        self._lost: tuple[str, ...] = ()
        self._in = b""
        self.pid = line.pid

    # --- coming and going -------------------------------------------------------------------------------------------

    @classmethod
    def attach(cls, run_dir: Path) -> Supervisor | None:
        """Connect to the supervisor of ``run_dir``, if there is one."""
        try:
            line = Line.to(run_dir)
        except Stopped as fault:
            raise SupervisorLost(*_told(fault)) from None
        if line is None:
            return None
        found = cls(run_dir, line)
        try:
            found.pid = line.pid = found._status().get("pid", 0)
        except SupervisorLost:
            found.close()
            if processes.stopped(found.pid):
                raise
            return None  # it was leaving
        return found

    @classmethod
    def start(cls, run_dir: Path) -> Supervisor:
        """Connect to the supervisor of ``run_dir``; start one if there is none. Raises :class:`SupervisorLost`."""
        deadline = time.monotonic() + START_S
        while True:
            if (found := cls.attach(run_dir)) is not None:
                return found
            code, said = _launch(run_dir)
            if code not in (0, Busy.exit_code.value):
                raise SupervisorLost(f"it could not be started in {run_dir}: {said or f'exit code {code}'}")
            if time.monotonic() > deadline:
                raise SupervisorLost(f"it does not answer on {run_dir / SOCKET}")
            if code != 0:
                time.sleep(0.02)

    def close(self) -> None:
        """Hang up. The supervisor goes on with what runs, and leaves when nothing does."""
        self._line.close()

    # --- what can be asked ------------------------------------------------------------------------------------------

    def spawn(self, request: Spawn, on_progress: Callable[[int], None] | None = None) -> Ended:
        """Run it and wait for its end. ``on_progress`` gets the bytes so far, in any thread that waits.

        Raises :class:`SupervisorLost`, :class:`SupervisorRefused` (nothing was started: the id runs already) or
        :class:`runbook.errors.JournalFault` (nothing was started: its start could not be recorded).
        """
        try:
            message = self._ask(request.id, request.wire(), on_progress)
        finally:
            self._kills.pop(request.id, None)
        if message["event"] == "exit":
            return requests.ended(cast(EndedWire, message))
        reason = message.get("reason", "")
        if "supervisor.jsonl" in reason:
            raise JournalFault(
                Problem("E611", "a start could not be recorded", reason, "make room, then `runbook resume`")
            )
        fix = "mend what it says; nothing was started, so a resume can go on"
        raise SupervisorRefused(Problem("E612", "the supervisor refused to start an operation", reason, fix))

    def wait(self, operation: str, on_progress: Callable[[int], None] | None = None) -> Ended | None:
        """Wait for the end of an operation that an earlier engine started. None: it isn't known to have ended.

        That is: it runs no more, and there is no exit record of it.
        """
        message = self._ask(operation, {"op": "wait", "id": operation}, on_progress)
        if message["event"] == "exit":
            return requests.ended(cast(EndedWire, message))
        child = read_children(self._run_dir).get(operation)
        return child.ended if child else None

    def kill(self, operation: str, grace_s: float = requests.GRACE_S) -> None:
        """End an operation and all that descends from it: TERM, and KILL after the grace. Its caller gets the end.

        One that another thread is just about to start is ended as soon as it has been.
        """
        self._kills[operation] = grace_s
        self._send(_kill(operation, grace_s))

    def lock(self, path: Path, mode: LockMode, holder: str) -> None:
        """Take a lock that lasts as long as the supervisor, or until :meth:`unlock`. ``holder`` is a line for others to read.

        Raises :class:`runbook.errors.Busy` with the holder's line, :class:`SupervisorRefused` if the file can't be had.
        """
        answer = self._ask(
            f"lock {path}", {"op": "lock", "path": os.fspath(path), "mode": mode.value, "holder": holder}, None
        )
        if answer.get("reason"):
            detail = f"{path}: {answer.get('reason')}"
            raise SupervisorRefused(Problem("E613", "a lock can't be taken", detail, f"ls -ld {path.parent}"))
        if not answer.get("held"):
            detail = f"{path} is held by {str(answer.get('holder')).strip()}"
            raise Busy(
                Problem("E614", "another run holds the lock", detail, "wait for it to end; `runbook runs` lists them")
            )

    def unlock(self) -> bool:
        """Give back every lock that it holds, an earlier engine's as well; False: something runs, and keeps them."""
        return not self._status("unlock").get("running", [])

    @property
    def connected(self) -> bool:
        """Whether the other side still holds the line, as the kernel knows it: nothing is sent, nobody is waited for."""
        return not self._lost and self._line.connected

    def status(self) -> tuple[str, ...]:
        """The ids of the operations that run."""
        return tuple(self._status().get("running", []))

    def _status(self, op: Literal["status", "unlock"] = "status") -> RecordWire:
        return cast(RecordWire, self._ask("status", {"op": op, "id": ""}, None))

    # --- the line ---------------------------------------------------------------------------------------------------

    def _ask(self, key: str, message: Mapping[str, object], progress: Callable[[int], None] | None) -> Message:
        waiter = _Waiter(progress)
        with self._state:
            if key in self._waiters:
                raise SupervisorRefused(
                    Problem(
                        "E615", "two calls wait for one answer", key, "This is a bug in runbook; a resume can go on."
                    )
                )
            self._waiters[key] = waiter
        try:
            self._send(message)
            if key in self._kills:  # it may have been sent before the start, when there was nothing to end
                self._send(_kill(key, self._kills[key]))
            return self._answer(waiter)
        finally:
            with self._state:
                del self._waiters[key]
                self._hand_over()

    def _send(self, message: Mapping[str, object]) -> None:
        line = _ENCODER.encode(message).encode() + b"\n"
        try:
            with self._sending:
                if self._lost:  # a message may have been sent in part
                    raise SupervisorLost(*self._lost)
                self._line.send(line)
        except Stopped as fault:
            self._lost = _told(fault)
            raise SupervisorLost(*self._lost) from None
        except OSError as error:
            raise SupervisorLost(f"sending: {error.strerror}") from None

    def _answer(self, waiter: _Waiter) -> Message:
        """Wait: as the one who reads, or for the one who does."""
        while True:
            with self._state:
                if waiter.message is not None:
                    return waiter.message
                if self._lost:
                    raise SupervisorLost(*self._lost)
                if self._reading:
                    waiter.wake = threading.Semaphore(0)
                else:
                    self._reading = True
                    waiter.wake = None
            if waiter.wake is None:
                self._read_for(waiter)
            else:
                waiter.wake.acquire()

    def _read_for(self, waiter: _Waiter) -> None:
        """Read until this waiter's message is there, handing others theirs."""
        try:
            while waiter.message is None and not self._lost:
                data = self._line.receive()
                if not data:
                    self._lost = ("it hung up",)
                *lines, self._in = (self._in + data).split(b"\n")
                for tell in [tell for line in lines if (tell := self._deliver(_DECODER.decode(line.decode())))]:
                    tell()
        except Stopped as fault:
            self._lost = _told(fault)
        except OSError as error:
            self._lost = (f"receiving: {error.strerror}",)
        finally:
            self._reading = False

    def _deliver(self, message: Message) -> Callable[[], None] | None:
        """Hand a message to its waiter. Progress is told by what comes back, after all that came with it is handed over."""
        with self._state:
            waiter = self._waiters.get(_key(message))
            if waiter is None:
                return None  # an end that nobody waits for: its record stands in the ledger
            if message["event"] == "progress":
                return partial(waiter.progress, message.get("bytes", 0)) if waiter.progress else None
            waiter.message = message
            if waiter.wake is not None:
                waiter.wake.release()
        return None

    def _hand_over(self) -> None:
        """Wake whoever may read now (all, if the line is lost). Called with the state locked."""
        if self._reading:
            return
        for waiter in self._waiters.values():
            if waiter.wake is not None and waiter.message is None:
                waiter.wake.release()
                if not self._lost:
                    return


def _told(fault: Stopped) -> tuple[str, str]:
    """What is said of a supervisor that stands still, and what to do."""
    return f"its process {fault.pid} is stopped", f"kill -CONT {fault.pid}; then `runbook resume`"


def _kill(operation: str, grace_s: float) -> Mapping[str, object]:
    return {"op": "kill", "id": operation, "grace_s": grace_s}


def _key(message: Message) -> str:
    match message["event"]:
        case "lock":
            return f"lock {message.get('path')}"
        case "status":
            return "status"
        case _:
            return message.get("id", "")


def _launch(run_dir: Path) -> tuple[int, str]:
    """Start the supervisor's process; returns when it listens or could not."""
    boot = Path(__file__).with_name("boot.py")
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", os.fspath(boot), os.fspath(run_dir)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            start_new_session=True,
            env={name: os.environ[name] for name in KEPT if name in os.environ},
            text=True,
            check=False,
            timeout=START_S,
        )
    except subprocess.TimeoutExpired:
        return -1, f"it does not listen after {START_S:.0f} s"
    except BlockingIOError as error:  # fork(2): no more processes, for now
        return -1, f"no process can be started ({error.strerror})"
    return done.returncode, done.stderr.strip()[-500:]
