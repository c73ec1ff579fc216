"""The machine under a trial: its locks, its supervisor, the daemons that steps start, and others who want what is locked.

Owns :class:`Machine`. The locks are the real ones (``flock`` on files of a directory of this process), taken by the code that takes
them in earnest: ``engine.lock`` by the engine, the run's and the target's by a supervisor's :class:`Locks`. Promises: a process
that dies loses its locks, unless somebody inherited the descriptor; who comes second is tried, and has to be refused.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from runbook.errors import Busy, ExitCode, Problem
from runbook.journal.clock import SystemClock
from runbook.journal.layout import RunDir
from runbook.runner import execution
from runbook.transports.supervisor.locks import Locks
from tests.runner.memory_run import RUN, environment_of
from tests.runner.world import World
from tests.simulation.violation import Violation

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where lock files cost least, if there is such a place."""


@cache
def room(parent: str | None = MEMORY) -> Path:
    """Where this process has its lock files, below ``parent``; gone with the process, unless that is killed."""
    made = Path(tempfile.mkdtemp(prefix="simulation-", dir=parent))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    (made / RUN).mkdir()
    return made


class Rooms:
    """Which room this process uses: one of its own, or one below a directory that somebody else takes away."""

    parent: str | None = MEMORY


class Machine:
    """See the module. ``working`` is whether an engine holds all that it has to hold."""

    def __init__(self, world: World) -> None:
        self._world = world
        here = room(Rooms.parent)
        self._run = RunDir(here / RUN)
        self._target = here / "target.lock"
        self._supervisor = Locks()
        self._taken: set[Path] = set()
        self._inherited: list[int] = []
        self.working = False
        world.held, world.closed = self._hold, self._give_back

    @contextmanager
    def executor(self) -> Iterator[None]:
        """An engine, as `apply` and `resume` surround it with locks."""
        clock = SystemClock()
        with execution._engine(self._run, clock):
            execution._lock(self._world, self._run, (), clock, environment_of())  # type: ignore[arg-type]  # stands in
            self._world.lock(self._target, exclusive=True, owner=None)
            self.working = True
            try:
                yield
            finally:
                self.working = False

    def another_engine(self) -> None:
        """Somebody resumes the same run at the same time. Raises :class:`Violation` if that is let in."""
        try:
            with execution._engine(self._run, SystemClock()):
                pass
        except Busy as refused:
            if refused.exit_code is ExitCode.BUSY:
                return
        raise Violation("I6: a second engine was let in while one works")

    def another_run(self) -> None:
        """Another plan wants the same target. Raises :class:`Violation` if it gets it."""
        other = Locks()
        taken, _ = other.take(str(self._target), "exclusive", "another run")
        if taken:
            other.release(str(self._target))
            raise Violation(
                "I6: another run may begin on the target while this one works on it, or a child of it lives"
            )

    def is_free(self) -> None:
        """The run is finished: whoever comes next gets its target. Raises :class:`Violation` if not."""
        other = Locks()
        taken, holder = other.take(str(self._target), "exclusive", "the next run")
        other.release(str(self._target))
        if not taken:
            raise Violation(f"the run is finished, and its target is still held: {holder}")

    def held_by_a_child(self) -> bool:
        """Whether a child of a dead engine lives under a supervisor that holds its target."""
        return self._target in self._taken and bool(self._world.alive())

    def start_daemon(self) -> None:
        """A step starts something that stays: it has every descriptor that isn't closed on exec."""
        descriptors = [fd for fd, _ in self._supervisor._held.values()]
        self._inherited += [os.dup(fd) for fd in descriptors if os.get_inheritable(fd)]

    def lose_supervisor(self) -> None:
        """The supervisor is killed, or the machine is; its children may live on."""
        for path in self._taken:
            self._supervisor.release(str(path))
        self._taken.clear()

    def reboot(self) -> None:
        """Nothing lives."""
        self.lose_supervisor()
        for descriptor in self._inherited:
            with suppress(OSError):
                os.close(descriptor)
        self._inherited.clear()
        for left in self._world.left.values():
            left.lives = False

    def _hold(self, path: Path, exclusive: bool) -> None:
        taken, holder = self._supervisor.take(str(path), "exclusive" if exclusive else "shared", f"run {RUN}")
        if not taken:
            raise Busy(Problem("E501", "held by another run", holder, ""))
        self._taken.add(path)

    def _give_back(self) -> None:
        if not self._world.alive():
            self.lose_supervisor()
