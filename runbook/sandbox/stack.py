"""The whole embedded stack: up, down, status.

Owns the order in which the servers start and end, and what is remembered of them. Promises: ``up`` twice changes
nothing, and starts again what died; ``down`` signals only processes whose start time is the recorded one, ends all of
them, and keeps the data; one command at a time works on a sandbox; every wait has a bound.
"""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from runbook.errors import Busy, Problem
from runbook.sandbox import s3, state
from runbook.sandbox.binaries import NOWHERE, Programs, find
from runbook.sandbox.environment import write_environment
from runbook.sandbox.error import SandboxError
from runbook.sandbox.layout import layout_at
from runbook.sandbox.part import Part, Wait, not_started
from runbook.sandbox.ports import claim
from runbook.sandbox.postgres import APPLICATION, Login, Postgres
from runbook.sandbox.process import ProcessId, Step, alive, end, recorded, since, start, wait_until
from runbook.sandbox.site import Site
from runbook.sandbox.state import State
from runbook.sandbox.valkey import Valkey

_LOCK_WAIT_S = 60.0
_PORTS: Mapping[str, Mapping[str, int]] = {
    "s3": s3.PORTS,
    "valkey": {"valkey": 0},
    "postgres": {"postgres": 0},
    "web": {"web": 0},
}


@dataclass(frozen=True, slots=True)
class PartStatus:
    """One server: ``version`` is empty before its first start, ``pid`` and ``since`` are ``None`` if it doesn't run."""

    name: str
    version: str
    address: str
    pid: int | None
    since: datetime | None

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self.pid is not None


@dataclass(frozen=True, slots=True)
class Status:
    """The stack: where it lies, the environment file for plans, its servers."""

    directory: Path
    environment: Path
    parts: tuple[PartStatus, ...]

    @property
    def running(self) -> bool:
        """Whether every server runs."""
        return all(part.running for part in self.parts)

    def part(self, name: str) -> PartStatus:
        """One server by its name (``s3``, ``valkey``, ``postgres``, ``web``); ``KeyError`` for another name."""
        return {part.name: part for part in self.parts}[name]


@dataclass(frozen=True, slots=True)
class Ended:
    """One process that ``down`` ended, and the signal that it followed."""

    part: str
    pid: int
    signal: signal.Signals


@dataclass(frozen=True, slots=True)
class _Servers:
    """The four servers, in the order in which they start: the slowest first, the web server after its database."""

    s3: s3.S3
    valkey: Valkey
    postgres: Postgres
    web: Site

    def __iter__(self) -> Iterator[Part]:
        return iter((self.s3, self.valkey, self.postgres, self.web))


class Stack:
    """The embedded stack in one directory (made by :meth:`up`, mode 0700, the present user's)."""

    def __init__(self, directory: Path) -> None:
        self.layout = layout_at(directory)

    def up(self, say: Callable[[str], None]) -> Status:
        """Start what doesn't run and wait until all of it serves, at most 30 s a server; ``say`` gets a line for each.

        Raises :class:`SandboxError` (wheels missing, a server didn't start) and :class:`Busy` (another command).
        """
        self.layout.claim()
        with self._locked():
            self.layout.make()
            known = self._remembered()
            programs = find(self.layout.binaries, self.layout.account)
            wanted = {
                port: offset
                for part, ports in _PORTS.items()
                if part not in known.processes
                for port, offset in ports.items()
            }
            known = known.with_ports(claim(wanted, known.ports))
            servers = self._servers(known, programs)
            fresh = [part for part in servers if part.name not in known.processes]
            for part in fresh:
                known = self._start(part, known, say)
            for part in servers:
                known, version = self._serve(part, known, again=None if part in fresh else say)
                known = known.with_version(part.name, version)
                say(f"{part.name} {version} serves on {part.address}")
            state.save(self.layout.state, known)
            write_environment(
                self.layout.environment, servers.postgres, valkey=servers.valkey, s3=servers.s3, site=servers.web
            )
            return self._status(known)

    def down(self, say: Callable[[str], None]) -> tuple[Ended, ...]:
        """End every process of the stack, keep its data. What was ended, in no order that matters.

        Raises :class:`SandboxError` if a process survives even SIGKILL, or another user's sandbox is meant.
        """
        if not self.layout.directory.is_dir():
            say("nothing runs: there is no sandbox here")
            return ()
        with self._locked():
            ended = self._end_all(self._remembered(), say)
            if not ended:
                say("nothing ran")
            return ended

    def status(self) -> Status:
        """What runs where; reads only, and needs neither the lock nor the wheels."""
        known = State()
        if self.layout.directory.is_dir():
            self.layout.check_owner()
            known = self._remembered()
        return self._status(known)

    def remove(self, say: Callable[[str], None]) -> tuple[Ended, ...]:
        """:meth:`down`, then delete the sandbox with its data."""
        ended = self.down(say)
        if self.layout.directory.is_dir():
            self.layout.remove()
            say(f"{self.layout.directory} is deleted")
        return ended

    def login(self, user: str = APPLICATION) -> Login:
        """How ``docs`` (the owner of the database ``docs``) or ``postgres`` (the superuser) reaches that database."""
        return self._servers(state.load(self.layout.state), NOWHERE).postgres.login(user)

    def _servers(self, known: State, programs: Programs) -> _Servers:
        ports = {port: known.ports.get(port, 0) for names in _PORTS.values() for port in names}
        postgres = Postgres(self.layout, programs.postgres, ports["postgres"])
        return _Servers(
            s3.S3(self.layout, programs.weed, programs.weed_version, ports),
            Valkey(self.layout, programs.valkey, ports["valkey"]),
            postgres,
            Site(self.layout, ports["web"], postgres.login(APPLICATION)),
        )

    def _remembered(self) -> State:
        """The state with the processes that live: recorded by the stack, by themselves, or found at their data."""
        known = state.load(self.layout.state)
        for part in self._servers(known, NOWHERE):
            for candidate in (known.processes.get(part.name), recorded(self.layout.record(part.name)), part.found()):
                if candidate is not None and alive(candidate):
                    known = known.with_process(part.name, candidate)
                    break
            else:
                known = known.without_process(part.name)
        return known

    def _start(self, part: Part, known: State, say: Callable[[str], None]) -> State:
        say(f"starting {part.name}")
        part.prepare()
        log = self.layout.log(part.name)
        process = start(part.command(), record=self.layout.record(part.name), log=log)
        if process is None:
            raise not_started(f"{part.name} ended at once.", log)
        known = known.with_process(part.name, process)
        state.save(self.layout.state, known)
        return known

    def _serve(self, part: Part, known: State, *, again: Callable[[str], None] | None) -> tuple[State, str]:
        """Wait until a server serves; its version. ``again``: it was found running, so if it ends now (it was being
        killed when it was looked at), it is started once more."""
        log = self.layout.log(part.name)
        try:
            return known, part.ready(Wait(part.name, known.processes[part.name], log))
        except SandboxError:
            if again is None or alive(known.processes[part.name]):
                raise
        known = self._start(part, known, again)
        return known, part.ready(Wait(part.name, known.processes[part.name], log))

    def _end_all(self, known: State, say: Callable[[str], None]) -> tuple[Ended, ...]:
        servers = self._servers(known, NOWHERE)
        ended: list[Ended] = []
        with ThreadPoolExecutor() as pool:
            tasks = [(part, pool.submit(_end_part, part, known.processes.get(part.name))) for part in servers]
            for part, task in tasks:
                for one in task.result():
                    say(f"{part.name} ended (process {one.pid}, {one.signal.name})")
                    ended.append(one)
                known = known.without_process(part.name)
        state.save(self.layout.state, known)
        return tuple(ended)

    def _status(self, known: State) -> Status:
        parts = []
        for part in self._servers(known, NOWHERE):
            process = known.processes.get(part.name)
            pid, began = (process.pid, since(process)) if process else (None, None)
            address = part.address if set(_PORTS[part.name]) <= set(known.ports) else ""
            parts.append(PartStatus(part.name, known.versions.get(part.name, ""), address, pid, began))
        return Status(self.layout.directory, self.layout.environment, tuple(parts))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.layout.check_owner()
        with self.layout.lock.open("ab") as file:
            if not wait_until(lambda: _try_lock(file.fileno()), within_s=_LOCK_WAIT_S):
                raise Busy(
                    Problem(
                        "SB05",
                        "another command works on this sandbox",
                        f"{self.layout.lock} has been held for more than {_LOCK_WAIT_S:.0f} s.",
                        "wait for it to end; `runbook sandbox status` shows what runs",
                    )
                )
            yield


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end_part(part: Part, process: ProcessId | None) -> tuple[Ended, ...]:
    targets: list[tuple[ProcessId, tuple[Step, ...]]] = [(process, part.ending)] if process else []
    targets += [(one, part.ending) for one in part.left() if one != process]
    ended = []
    for target, steps in targets:
        try:
            sent = end(target, steps)
        except TimeoutError as fault:
            raise _survived(str(fault)) from fault
        if sent is not None:
            ended.append(Ended(part.name, target.pid, sent))
    if not part.cleared():
        raise _survived(f"children of {part.name} (process {', '.join(str(one.pid) for one, _ in targets)}) live on")
    return tuple(ended)


def _survived(detail: str) -> SandboxError:
    return SandboxError(
        "SB06", "a server of the sandbox didn't end", detail, "`runbook sandbox status` shows it; run `down` again"
    )
