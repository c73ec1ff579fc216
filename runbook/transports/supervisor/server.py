"""The supervisor process: forks an engine's children, is their subreaper, and outlives the engine.

Owns the socket, the loop over everything that can happen, and the decision when to leave. Promises: one supervisor a run
(``supervisor.lock``); a new engine's connection replaces the old one; deadlines hold without an engine; no engine and no
job for two seconds ends it, and with it the locks that it holds. Standard library only; see ``boot.py``.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import socket
import sys
import time

from . import processes
from .crash import crash_point
from .engine_line import EngineLine
from .job import Job
from .ledger import Ledger, boot_id, frame
from .locks import Locks
from .loop import Loop
from .members import Carrier, Stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from .engine_line import Request
    from .output import Output
    from .wire import LockWire, StartWire

SOCKET = "supervisor.sock"
LOCK = "supervisor.lock"
LOG = "supervisor.log"
LEAVES_AFTER_S = 2.0
"""How long it stays without an engine and without a job."""
WAITS_FOR_ENGINE_S = 10.0
"""How long it stays for its first engine."""
LEFTOVER_GRACE_S = 2.0
"""How long descendants that outlived their process may take to end after TERM."""
BUSY = 5
"""Exit code of a second supervisor of the same run."""


class Supervisor:
    """All that one run's supervisor holds."""

    def __init__(self, run_dir: str, listener: socket.socket) -> None:
        self._run_dir = run_dir
        self._listener = listener
        self._boot = boot_id()
        self._ledger = Ledger()
        self._locks = Locks()
        self._loop = Loop()
        self._line: EngineLine | None = None
        self._jobs: dict[str, Job] = {}
        self._owners: dict[int, Job] = {}
        self._strangers: set[int] = set()
        self._leave_at = time.monotonic() + WAITS_FOR_ENGINE_S
        self._wake, self._waker = os.pipe()

    def serve(self) -> None:
        """Until there is nothing to supervise and nobody to serve."""
        for fd in (self._wake, self._waker):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)
        opened = {"event": "opened", "at": time.time(), "boot": self._boot, "pid": os.getpid()}
        self._ledger.write(frame(opened))
        self._loop.watch(self._wake, self._reap)
        self._loop.watch(self._listener.fileno(), self._accept)
        while self._jobs or self._line is not None or time.monotonic() < self._leave_at:
            self._loop.turn(self._next_s())
            if self._jobs:
                self._keep_time()

    def _next_s(self) -> float | None:
        """Seconds until time alone is a reason to act; None: never."""
        due = [
            at for job in self._jobs.values() for at in (job.watch_at, job.deadline, job.next_sweep) if at is not None
        ]
        if not self._jobs and self._line is None:
            due.append(self._leave_at)
        return min(due) - time.monotonic() if due else None

    def _keep_time(self) -> None:
        """Deadlines, and sweeps that are due."""
        now = time.monotonic()
        for job in self._jobs.values():
            if job.watch_at is not None and now >= job.watch_at:
                self._watch(job)
            if job.deadline is not None and now >= job.deadline:
                job.deadline = None
                job.end("timed_out", grace_s=job.grace_s)
        due = [job for job in self._jobs.values() if job.next_sweep is not None and now >= job.next_sweep]
        if due:
            ours = processes.descendants(os.getpid(), processes.scan())
            for job in due:
                if job.sweep(now, ours):
                    self._finish(job)

    # --- the engine -------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # it gave up meanwhile
        if self._line is not None:
            self._hang_up()
        self._line = EngineLine(connection)
        self._loop.watch(connection.fileno(), self._converse)

    def _hang_up(self) -> None:
        if self._line is not None:
            self._loop.forget(self._line.fileno())
            self._line.close()
            self._line = None
            self._leave_at = time.monotonic() + LEAVES_AFTER_S

    def _converse(self) -> None:
        line = self._line
        if line is None:
            return
        if line.behind:
            line.flush()
            self._loop.watch_room(line.fileno(), wanted=line.behind)
        requests = line.read()
        if requests is None:
            self._hang_up()
            return
        for request in requests:
            self._serve(request)

    def _say(self, text: bytes) -> None:
        if self._line is not None:
            self._line.send(text)
            if self._line.behind:
                self._loop.watch_room(self._line.fileno(), wanted=True)

    def _serve(self, request: Request) -> None:
        match request["op"]:
            case "start":
                self._start(request)
            case "kill":
                if job := self._jobs.get(request["id"]):
                    job.end("killed", grace_s=request["grace_s"])
            case "lock":
                self._lock(request)
            case "wait":
                if request["id"] not in self._jobs:
                    self._say(frame({"event": "absent", "id": request["id"]}))
            case "status" | "unlock":
                if request["op"] == "unlock" and not self._jobs:
                    self._locks.release_all()
                self._say(frame({"event": "status", "pid": os.getpid(), "running": list(self._jobs)}))

    def _lock(self, request: LockWire) -> None:
        answer: dict[str, object] = {"event": "lock", "path": request["path"], "held": False, "holder": ""}
        try:
            answer["held"], answer["holder"] = self._locks.take(request["path"], request["mode"], request["holder"])
        except OSError as error:
            answer["reason"] = error.strerror or str(error)
        self._say(frame(answer))

    # --- jobs -------------------------------------------------------------------------------------------------------

    def _start(self, request: StartWire) -> None:
        if request["id"] in self._jobs:
            self._refuse(request["id"], "an operation of that id is running")
            return
        job = Job(request, self._run_dir)
        if not job.start(self._ledger, self._boot):
            self._refuse(job.id, f"supervisor.jsonl can't be written ({self._ledger.fault}); nothing was started")
            return
        self._jobs[job.id] = job
        for member in job.members:
            self._owners[member.pid] = job
        if not job.members:
            self._finish(job)

    def _refuse(self, operation: str, reason: str) -> None:
        self._say(frame({"event": "refused", "id": operation, "reason": reason}))

    def _watch(self, job: Job) -> None:
        """Listen to what its members print and report."""
        job.watch_at = None
        for member in job.members:
            if isinstance(member, Stage):
                self._listen_to(member.stderr)
            elif isinstance(member, Carrier):
                self._loop.watch(member.report, self._reporter(job, member))
        if job.wiring.stdout is not None:
            self._listen_to(job.wiring.stdout)

    def _listen_to(self, output: Output) -> None:
        def take() -> None:
            if not output.read():
                self._loop.forget(output.fd)

        self._loop.watch(output.fd, take)

    def _reporter(self, job: Job, carrier: Carrier) -> Callable[[], None]:
        def take() -> None:
            if not job.take_report(carrier):
                self._loop.forget(carrier.report)
            elif carrier is job.counted and self._line is not None and not self._line.behind:
                self._say(frame({"event": "progress", "id": job.id, "bytes": carrier.bytes}))

        return take

    def _reap(self) -> None:
        """Children have ended: ours, and orphans that were given to us."""
        os.read(self._wake, 4096)
        ended: dict[str, Job] = {}
        childless = False
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                self._strangers.discard(pid)
                if (job := self._owners.pop(pid, None)) is not None:
                    job.take_end(pid, status)
                    ended[job.id] = job
        except ChildProcessError:
            childless = True
        for job in ended.values():
            if job.reaped and (childless or not self._outlived(job)):
                self._finish(job)

    def _outlived(self, job: Job) -> bool:
        """Whether descendants outlived the job's own processes; if so, their end has begun."""
        unknown = _children() - self._owners.keys() - self._strangers
        if not unknown:
            return False
        ours = processes.descendants(os.getpid(), processes.scan())
        left = job.family(ours)
        if left and not job.daemon:
            job.leftovers = max(job.leftovers, len(left))
            if job.next_sweep is None:
                job.end(job.why, grace_s=LEFTOVER_GRACE_S)
            return True
        others = {pid for other in self._jobs.values() if other is not job for pid in other.family(ours)}
        self._strangers |= unknown - others
        return False

    def _finish(self, job: Job) -> None:
        """Record the end, synced, and say it."""
        self._forget(job)
        ended = frame(job.close())
        crash_point("supervisor.ended")
        self._ledger.sync(ended)
        crash_point("supervisor.recorded")
        del self._jobs[job.id]
        self._say(ended)
        if self._line is None:
            self._leave_at = time.monotonic() + LEAVES_AFTER_S

    def _forget(self, job: Job) -> None:
        for member in job.members:
            self._owners.pop(member.pid, None)
            if isinstance(member, Stage):
                self._loop.forget(member.stderr.fd)
            elif isinstance(member, Carrier):
                self._loop.forget(member.report)
        if job.wiring.stdout is not None:
            self._loop.forget(job.wiring.stdout.fd)


def _nothing(number: int, frame: object) -> None:
    """A handler, not an ignored signal: what is handled here is default again in what we execute."""


def _children() -> set[int]:
    """The pids of our children, adopted ones included."""
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children") as file:
            return {int(pid) for pid in file.read().split()}
    except OSError:
        return {facts.pid for facts in processes.scan().values() if facts.parent == me}


def _listen() -> socket.socket:
    """The socket in the current directory, named relatively: a whole path may be longer than a socket's name may be."""
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(BUSY)
    try:
        os.unlink(SOCKET)
    except FileNotFoundError:
        pass
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(SOCKET)
    listener.listen(8)
    return listener


def _detach() -> None:
    """Away from the engine's session, terminal and files; no core, no readable memory; orphans come to us."""
    if os.fork():
        os._exit(0)  # the socket listens: whoever started us may connect
    os.setsid()
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd, number in ((nowhere, 0), (log, 1), (log, 2)):
        os.dup2(fd, number)
    os.close(log)
    os.close(nowhere)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        set_dumpable, set_child_subreaper = 4, 36
        prctl(set_dumpable, 0, 0, 0, 0)
        prctl(set_child_subreaper, 1, 0, 0, 0)


def main(run_dir: str) -> NoReturn:
    """Become the supervisor of ``run_dir``. The launching process exits with 0 once it listens, with 5 if one does."""
    os.umask(0o077)
    os.closerange(3, 65_536)
    os.chdir(run_dir)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, _nothing)
    listener = _listen()
    _detach()
    listener.listen(8)  # once more: the kernel tells who connects the process that called it last
    Supervisor(os.getcwd(), listener).serve()
    os.unlink(SOCKET)
    os._exit(0)
