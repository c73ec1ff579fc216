"""The far side: processes in containers, which outlive the local client that asked for them.

Owns the way to the worker that runs beside such a process and keeps its records there. Promises: an id is used once; what is
needed to find the process again is noted, durably, before it starts; a stop ends it there, not only its client here; that there is
no record of it means that it never started only in the container that it was begun in, which has not been started anew since.
"""

from __future__ import annotations

import json
import re
import secrets as randomness
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runbook.action import Unreachable
from runbook.host import Compose, Docker, Host
from runbook.operation import Fields
from runbook.transports.bound import Bound
from runbook.transports.commands import Commands
from runbook.transports.docker import DockerEngine
from runbook.transports.docker_exec import Exec, exec_argv
from runbook.transports.environment import allowed_environment
from runbook.transports.supervisor import worker
from runbook.transports.supervisor.requests import Stage
from runbook.transports.trouble import Trouble, trouble

if TYPE_CHECKING:
    from docker.models.containers import Container

NOTE = "far"
ANSWER_WITHIN_S = 20.0
SWEPT_WITHIN_S = 5.0
PAUSE_S = 0.3
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")
_SIGNALLED = range(129, 160)
"""Exit codes by which a shell tells that a signal ended its child: 128 and the signal's number."""


@dataclass(frozen=True, slots=True)
class Handle:
    """Where a far process is found again: its host, the user that it runs as there, its records' folder, its id there.

    ``instance``: which container that was, and since when it ran: records in its memory, or in one that was replaced, are gone.
    """

    host: Docker | Compose
    user: str
    records: str
    id: str
    instance: str = ""


class FarSide:
    """Processes in containers of one run. ``run`` names the folder of their records."""

    def __init__(self, run: str, *, commands: Commands, engine: DockerEngine, bound: Bound) -> None:
        self._run = _UNFIT.sub("-", run)
        self._commands = commands
        self._engine = engine
        self._unbounded = bound
        self._lock = threading.Lock()
        self._handles: dict[str, list[Handle]] = {}
        self._folders: set[tuple[Docker | Compose, str, str]] = set()
        self._earlier: tuple[Docker | Compose, ...] = ()

    def stage(self, host: Docker | Compose, plain: Stage, *, use_id: str, number: int, user: str) -> Stage:
        """The local process that carries ``plain`` into the container. Raises :class:`Trouble` where there is none."""
        container = self._engine.one(host)
        if container.status != "running":
            detail = f"The container {container.name} is {container.status}, not running."
            raise trouble("E301", "a process could not be started", detail, f"docker start {container.name}")
        records = worker.folder(self._run, self._uid(host, user))
        handle = Handle(host, user, records, _far_id(use_id, number), _instance(container))
        with self._lock:
            self._handles.setdefault(use_id, []).append(handle)
            self._folders.add((host, user, handle.records))
        there = Exec(str(container.name), worker.run_argv(handle.records, handle.id, plain.argv), user=user)
        return Stage(
            argv=exec_argv(there),
            env=allowed_environment(),
            ok_codes=plain.ok_codes,
            most_bytes=plain.most_bytes,
            preamble=worker.header(plain.env, files=plain.files, cwd=plain.cwd, umask=plain.umask),
        )

    def note(self, use_id: str) -> Fields:
        """What has to be journalled before the processes of this use may start; empty where none is far away."""
        handles = self.handles(use_id)
        found = [{"user": one.user, "records": one.records, "id": one.id, "instance": one.instance} for one in handles]
        return {NOTE: json.dumps(found)} if found else {}

    def handles(self, use_id: str) -> tuple[Handle, ...]:
        """The far processes of a use of this engine, in the order of the stages."""
        with self._lock:
            return tuple(self._handles.get(use_id, ()))

    def forget(self, use_id: str) -> None:
        """The use is over."""
        with self._lock:
            self._handles.pop(use_id, None)

    def ask(self, handle: Handle) -> worker.FarState | None:
        """What is known of it there, or None where that can't be asked."""
        return self._state(handle, worker.status_argv(handle.records, handle.id))

    def settle(self, handle: Handle, bound: Bound) -> worker.FarState | None:
        """Make sure that it doesn't move any more: wait for its end. Running: the bound was met; None: it can't be asked."""
        while True:
            state = self._state(handle, worker.fence_argv(handle.records, handle.id))
            if not isinstance(state, worker.Running) or bound.over:
                return state
            time.sleep(PAUSE_S)

    def lives(self, handle: Handle) -> bool:
        """Whether its container runs, or that can't be told: one that is gone or stopped holds no process."""
        try:
            found = self._engine.facts(handle.host)
        except (Trouble, Unreachable):
            return True
        return found is not None and found.state in ("running", "paused", "restarting")

    def kill(self, handle: Handle, grace_s: float) -> bool:
        """End it and what descends from it there. False: that could not be ensured."""
        argv = worker.kill_argv(handle.records, handle.id, grace_s)
        try:
            ran = self._commands.run(
                handle.host, argv, self._unbounded.within(grace_s + ANSWER_WITHIN_S), user=handle.user
            )
        except Unreachable:
            return False
        return ran.exit_code == 0

    def kill_all(self, use_id: str, grace_s: float) -> bool:
        """End all far processes of a use. False: of one of them that could not be ensured."""
        ended = [self.kill(handle, grace_s) or not self.lives(handle) for handle in self.handles(use_id)]
        return all(ended)

    def was_on(self, hosts: Iterable[Host]) -> None:
        """Hosts on which an earlier engine of this run may have begun something: they are swept as well."""
        self._earlier = tuple(host for host in hosts if isinstance(host, Docker | Compose))

    def sweep(self) -> None:
        """Remove the records of what has ended, on every host where this engine began or asked for anything: the run is over,
        and nobody will ask again. Where that can't be done they stay: they are small, and hold nothing secret.
        """
        for there in self._earlier:
            with suppress(Unreachable):  # an earlier engine may have begun something as any user
                told = self._commands.run(there, worker.users_argv(), self._unbounded.within(SWEPT_WITHIN_S), user="")
                self._folders |= {
                    (there, str(uid), worker.folder(self._run, uid)) for uid in worker.parse_users(told.stdout)
                }
        for host, user, records in sorted(self._folders, key=repr):
            with suppress(Trouble, Unreachable):
                self._commands.run(host, worker.sweep_argv(records), self._unbounded.within(SWEPT_WITHIN_S), user=user)

    def _state(self, handle: Handle, argv: tuple[str, ...]) -> worker.FarState | None:
        with self._lock:
            self._folders.add((handle.host, handle.user, handle.records))
        try:
            ran = self._commands.run(handle.host, argv, self._unbounded.within(ANSWER_WITHIN_S), user=handle.user)
            state = worker.parse_status(ran.stdout) if ran.exit_code == 0 else None
            gone = isinstance(state, worker.NeverStarted) and not self._same(handle)
        except (Trouble, Unreachable, ValueError):
            return None
        return worker.Unknown() if gone else state

    def _same(self, handle: Handle) -> bool:
        """Whether it is still the container that the process was begun in, with all that was written there."""
        return handle.instance in ("", _instance(self._engine.one(handle.host)))

    def _uid(self, host: Docker | Compose, user: str) -> int:
        try:
            ran = self._commands.run(host, ("id", "-u"), self._unbounded.within(ANSWER_WITHIN_S), user=user)
        except Unreachable as error:
            raise Trouble(error.problem) from None
        if ran.exit_code or not ran.stdout.strip().isdecimal():
            said = (ran.stderr or ran.stdout).strip()[:300]
            raise trouble(
                "E301",
                "a process could not be started",
                f"user {user!r} in {host}: {said}",
                "is that user there, and may it run the program? Then try again",
            )
        return int(ran.stdout)


def handles_noted(notes: tuple[Fields, ...], hosts: tuple[Host, ...]) -> tuple[Handle, ...]:
    """The handles that an earlier engine noted for an operation on these hosts (in the order of its stages)."""
    text = next((str(note[NOTE]) for note in reversed(notes) if NOTE in note), "[]")
    far = [host for host in hosts if isinstance(host, Docker | Compose)]
    return tuple(
        Handle(host, found["user"], found["records"], found["id"], found.get("instance", ""))
        for host, found in zip(far, json.loads(text), strict=False)
    )


def _instance(container: Container) -> str:
    return f"{container.id} {container.attrs['State']['StartedAt']}"


def ended_by_signal(code: int) -> bool:
    """Whether a far process's exit code says that a signal ended it."""
    return code in _SIGNALLED


def _far_id(use_id: str, number: int) -> str:
    """An id of the worker's alphabet that is never used again: an id that was begun there is never begun again."""
    return f"{_UNFIT.sub('-', use_id)[-60:]}.{number}.{randomness.token_hex(6)}"
