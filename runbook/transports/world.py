"""The world: the one performer of operations on real systems, and the one look at them.

Owns the dispatch from an operation to its transport, and what they share: secrets, the supervisor, the registry of what runs.
Promises: every operation has exactly one transport; expected failures are outcomes; nothing is connected to, started or
imported before it is needed.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol, assert_never

from runbook.action import Look, Unreachable
from runbook.errors import Bug, Busy, InvalidInput, Problem
from runbook.host import Host, Local, Ssh
from runbook.operation import (
    Ask,
    Call,
    Connection,
    CopyRows,
    Fields,
    Generate,
    MakeDirectory,
    Message,
    Operation,
    Pipeline,
    Process,
    Remove,
    Rename,
    Scalar,
    Service,
    Session,
    SetPassword,
    Sql,
    Wait,
    Write,
)
from runbook.secret import Redactor, SecretRef
from runbook.transports import docker, docker_run, files, http
from runbook.transports.bound import Bound
from runbook.transports.cluster_locks import ClusterLocks
from runbook.transports.commands import Commands
from runbook.transports.copying import Copies
from runbook.transports.database import Databases, Link
from runbook.transports.docker import DockerEngine
from runbook.transports.far import FarSide
from runbook.transports.fence import Fence, guarded
from runbook.transports.files_far import FarFiles
from runbook.transports.look import LiveLook
from runbook.transports.message import send_message
from runbook.transports.outcome import Begun, Failed, Lost, Outcome, Settled, Succeeded, Use
from runbook.transports.postgres import Postgres
from runbook.transports.process import Processes
from runbook.transports.running import Running
from runbook.transports.secrets import SecretStore
from runbook.transports.sessions import Sessions
from runbook.transports.supervisor.client import LockMode, Supervisor, SupervisorLost, SupervisorRefused
from runbook.transports.trouble import Trouble, Unsure, not_built
from runbook.transports.wait import perform_wait
from runbook.units import show_instant

_SHORT_WAIT_S = 0.2


class LockHolder(Protocol):
    """Who holds a lock, for whoever comes second to read."""

    @property
    def run(self) -> str: ...
    @property
    def holds(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def since(self) -> datetime: ...


def boot_clock() -> float:
    """Seconds since boot, time asleep included: the same clock for all processes of one boot (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class World:
    """Performs the operations of one run. ``run_directory`` is the run's own; ``run`` its id.

    ``connections`` are the run's databases: where a fence looks for backends that killed client programs left behind.
    ``monotonic`` is the engine's clock, by which deadlines are given.
    """

    def __init__(
        self,
        run_directory: Path,
        *,
        run: str,
        redactor: Redactor,
        connections: Sequence[Connection] = (),
        monotonic: Callable[[], float] = boot_clock,
    ) -> None:
        self._directory = run_directory.resolve()
        self._monotonic = monotonic
        self._held: Supervisor | None = None
        self._locks: dict[Path, tuple[LockMode, str]] = {}
        self._lock = threading.Lock()
        self._running = Running()
        self._engine = DockerEngine()
        self._secrets = SecretStore(self._directory, redactor)
        self._commands = Commands(self._engine)
        self._databases = Databases(self._secrets, self._engine, redactor)
        self._clusters = ClusterLocks(self._databases, run, monotonic)
        self._postgres = Postgres(self._databases, self._running, monotonic)
        self._copies = Copies(self._databases, self._running, monotonic)
        self._sessions = Sessions(self._databases, self._running, self._inside, monotonic)
        self._far = FarSide(run, commands=self._commands, engine=self._engine, bound=Bound(monotonic, None))
        self._processes = Processes(
            self._directory,
            supervisor=self.supervisor,
            secrets=self._secrets,
            redactor=redactor,
            far=self._far,
            running=self._running,
            monotonic=monotonic,
        )
        self._fence = Fence(
            self._directory,
            supervisor=self.supervisor,
            alive=self.running,
            processes=self._processes,
            databases=self._databases,
            far=self._far,
            running=self._running,
            connections=connections,
            monotonic=monotonic,
        )
        self.look: Look = LiveLook(
            secrets=self._secrets,
            engine=self._engine,
            databases=self._databases,
            commands=self._commands,
            monotonic=monotonic,
        )

    def watch_for(self, refs: Iterable[SecretRef]) -> None:
        """Mask these secrets from now on, as far as they can be read without asking anybody, and those that the run minted."""
        self._secrets.watch_for(refs)

    # --- the performer ----------------------------------------------------------------------------------------------

    def perform(self, operation: Operation, use: Use) -> Outcome:
        """Perform one operation (never an Ask). Raises only for broken invariants and for a journal that can't be written.

        One that changes something begins only while the run holds its clusters, as far as they can be asked; a message may go.
        """
        return self._inside(operation, use, None)

    def fence(self, begun: Begun, use: Use) -> Settled | Lost:
        """Make sure that nothing of ``begun`` still moves: attach and wait, then end orphans. Lost: it could not be ensured."""
        operation = begun.operation
        if isinstance(operation, Call) and _is_one_off(operation):
            bound = Bound(self._monotonic, use.deadline)
            return guarded(lambda: docker_run.settle_run(self._engine, operation, use.results, bound))
        return guarded(lambda: self._fence.settle(begun, use))

    def stop(self, use_id: str, grace_s: float) -> None:
        """End what runs under that id, or below it (a step's id ends all its operations): TERM, then KILL after the grace."""
        self._running.stop(use_id, grace_s)

    # --- the supervisor ---------------------------------------------------------------------------------------------

    def supervisor(self) -> Supervisor:
        """The run's supervisor; started at its first use. Only the holder of the run's ``engine.lock`` may have it.

        One that was lost is replaced, and the locks that it held are taken again first (Busy if somebody was quicker).
        """
        with self._lock:
            if self._held is not None:
                if self._held.connected:
                    return self._held
                self._held.close()
                self._held = None
            found = Supervisor.start(self._directory)
            for path, (mode, line) in self._locks.items():
                _take(found, path, mode, line)
            self._held = found
            return found

    def running(self) -> tuple[str, ...]:
        """The ids of the operations whose processes run under the supervisor now."""
        supervisor = self.supervisor()
        with self._lock:
            return supervisor.status()

    def lock(self, path: Path, *, exclusive: bool, owner: LockHolder) -> None:
        """Take a lock that the supervisor holds, so that it outlives this engine. Raises :class:`runbook.errors.Busy`."""
        line = json.dumps(_words(owner))
        mode = LockMode.EXCLUSIVE if exclusive else LockMode.SHARED
        _take(self.supervisor(), path, mode, line)
        self._locks[path] = (mode, line)

    def lock_cluster(self, connection: Connection, *, exclusive: bool, owner: LockHolder, anew: bool = False) -> None:
        """Take the lock of a cluster in the cluster itself, against runs of other machines. Raises :class:`runbook.errors.Busy`.

        ``connection`` is one to its maintenance database. One that can't be asked now is asked again before each operation.
        ``anew``: another cluster is there now.
        """
        self._clusters.take(connection, exclusive=exclusive, words=_words(owner), anew=anew)

    def was_on(self, hosts: Iterable[Host]) -> None:
        """Hosts on which an earlier engine of this run may have begun something: they are swept as well."""
        self._far.was_on(hosts)

    def sweep(self) -> None:
        """The run is finished: take away what it left on other hosts for a resume. Never fails."""
        self._far.sweep()

    def close(self) -> None:
        """Give connections back, and the locks where nothing runs; what runs goes on under the supervisor, and they with it.

        May be called again.
        """
        with self._lock:
            if self._held is not None:
                self._unlock(self._held)
                self._held.close()
                self._held = None
        self._clusters.close()
        self._engine.close()

    def _unlock(self, supervisor: Supervisor) -> None:
        """At once, not when the supervisor leaves: the next run on these targets may be waiting to begin."""
        with contextlib.suppress(SupervisorLost, SupervisorRefused):
            supervisor.unlock()

    # --- dispatch ---------------------------------------------------------------------------------------------------

    def _inside(self, operation: Operation, use: Use, session: Link | None) -> Outcome:
        changes = not operation.reads and not isinstance(operation, Message)
        try:
            self._clusters.keep(change=changes)
        except Busy as error:
            if changes:
                return Failed(error.problems[0])
        try:
            return self._dispatch(operation, use, session)
        except (Trouble, Unreachable) as error:
            return Failed(error.problem)
        except InvalidInput as error:
            return Failed(error.problems[0])

    def _dispatch(self, operation: Operation, use: Use, session: Link | None) -> Outcome:
        match operation:
            case Process() | Pipeline():
                return self._processes.perform(operation, use)
            case Sql():
                return self._postgres.perform(operation, use, session=session)
            case Session():
                return self._sessions.perform(operation, use)
            case CopyRows():
                return self._copies.perform(operation, use, session)
            case MakeDirectory() | Write() | Rename() | Remove():
                return self._file(operation, use)
            case Generate():
                created = self._secrets.generate(operation.escrow, operation.length)
                return Succeeded({"escrow": operation.escrow, "created": created})
            case SetPassword():
                return self._postgres.set_password(operation, self._reveal(operation.password), use)
            case Call():
                bound = Bound(self._monotonic, use.deadline)
                if _is_one_off(operation):
                    return docker_run.perform_run(self._engine, operation, use.results, self._reveal, bound)
                if operation.service is Service.DOCKER:
                    if not operation.reads:
                        self._clusters.rest(operation.host)
                    return docker.perform_call(self._engine, operation, use.results, bound)
                return http.perform_call(operation, use.results, self._reveal, bound, redactor=self._secrets.redactor)
            case Wait():
                return perform_wait(
                    operation,
                    use,
                    lambda read, inner: self._inside(read, inner, session),
                    monotonic=self._monotonic,
                    pause=lambda seconds: self._pause(use.id, seconds),
                    running=self._running,
                )
            case Message():
                channel = operation.channel
                url = channel if isinstance(channel, str) else self._reveal(channel)
                return send_message(url, title=operation.title, body=operation.body)
            case Ask():
                raise Bug("A question reached the transports: the runner asks people.")
            case _:
                assert_never(operation)

    def _file(self, operation: MakeDirectory | Write | Rename | Remove, use: Use) -> Outcome:
        host = operation.host
        if isinstance(host, Ssh):
            raise not_built(f"file work on {host}", "Run the plan on that machine, with host: local.")
        far = None
        if not isinstance(host, Local):
            far = FarFiles(host, self._commands, self._engine, Bound(self._monotonic, use.deadline))
        try:
            return Succeeded(self._file_fields(operation, use, far))
        except Unsure as error:
            return Lost(error.problem)
        except Unreachable as error:  # of a container: a command was sent, and gave no answer
            return Failed(error.problem) if operation.reads or far is None else Lost(error.problem)

    def _file_fields(
        self, operation: MakeDirectory | Write | Rename | Remove, use: Use, far: FarFiles | None
    ) -> Fields:
        match operation:
            case MakeDirectory():
                return far.make_directory(operation) if far else files.make_directory(operation)
            case Write():
                data = files.content_of(operation, use.results, self._reveal)
                return far.write(operation, data) if far else files.write(operation, data)
            case Rename():
                return far.rename(operation) if far else files.rename(operation)
            case Remove():
                return far.remove(operation) if far else files.remove(operation)
            case _:
                assert_never(operation)

    def _reveal(self, ref: SecretRef) -> str:
        return self._secrets.reveal(ref).reveal()

    def _pause(self, use_id: str, seconds: float) -> bool:
        """Wait; true if a stop was asked for meanwhile."""
        end = self._monotonic() + seconds
        for left in _until(end, self._monotonic):
            if self._running.stopped(use_id):
                return True
            time.sleep(min(_SHORT_WAIT_S, left))
        return self._running.stopped(use_id)


def _words(owner: LockHolder) -> dict[str, Scalar]:
    mine = {key: getattr(owner, key) for key in ("run", "holds", "user", "host", "pid")}
    return {**mine, "since": show_instant(owner.since)}


def _is_one_off(call: Call) -> bool:
    return call.service is Service.DOCKER and call.operation == docker_run.RUN


def _until(end: float, monotonic: Callable[[], float]) -> Iterator[float]:
    while (left := end - monotonic()) > 0:
        yield left


def _take(supervisor: Supervisor, path: Path, mode: LockMode, line: str) -> None:
    try:
        supervisor.lock(path, mode, line)
    except Busy as error:
        raise _held_by(path, error) from None


def _held_by(path: Path, error: Busy) -> Busy:
    """Who holds the lock, in words."""
    try:
        holder = json.loads(path.read_text().splitlines()[0])
        detail = (
            f"{holder['holds'] or path} is held by the run {holder['run']} of {holder['user']}@{holder['host']} "
            f"(pid {holder['pid']}) since {holder['since']}. The lock is {path}."
        )
        fix = f"`runbook show {holder['run']}` tells what it does; wait for it. If it has stopped: runbook resume {holder['run']}"
    except (OSError, ValueError, LookupError, TypeError):
        return error
    return Busy(Problem("E501", "held by another run", detail, fix))
