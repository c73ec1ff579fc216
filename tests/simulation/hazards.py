"""What goes wrong in a trial, and when: each throw of the dice is the seed's.

Owns :class:`Hazards`: the fate of every operation, kills, stops, clocks that are set, somebody else who wants the run or its
target, and the state of the disk in each execution. Promises: in calm nothing goes wrong.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random

from runbook.operation import Operation
from runbook.transports.outcome import Use
from tests.journal.memory_disk import Fault, MemoryDisk
from tests.runner.memory_run import MemoryRun
from tests.runner.world import NOON, Fate, World
from tests.simulation.machine import Machine

_CRASHES = [fate for fate in Fate if fate.name.startswith("CRASH")]
_LOSSES = [fate for fate in Fate if fate.name.startswith("LOST")]
_RECOVERY_CALLS = 14
"""About as many calls of the disk as opening a journal and going on with it takes."""
HOUR_S = 3600.0


class Hazards:
    """See the module. ``stop`` asks the loop to stop, ``turn`` lets another thread go on, ``story`` is told what happened;
    ``ends`` are the steps of the run's end. ``_weather`` is how much goes wrong with this seed."""

    def __init__(
        self, chance: Random, world: World, machine: Machine, story: list[str], *, ends: frozenset[str]
    ) -> None:
        self.calm = False
        self.stop: Callable[[], None] = lambda: None
        self.turn: Callable[[], None] = lambda: None
        self.stop_asked = False
        self._chance = chance
        self._world = world
        self._machine = machine
        self._story = story
        self._ends = ends
        self._failures = chance.random() < 0.5
        self._weather = chance.choice((1, 1, 2, 4))
        self._crashes_ahead = 0
        world.fate, world.turn, world.on_crash = self._fate, self._moment, self._cut_disk
        self._disk: MemoryDisk | None = None

    def before_execution(self, run: MemoryRun, steps: int) -> None:
        """Lay the traps of one execution."""
        self._disk = disk = run.disk
        self.stop_asked = False
        disk.faults, disk.cut_at, disk.sync_failed, disk.stubborn = [], 0, False, 0
        self._world.unfenceable = not self.calm and self._chance.random() < 0.05
        if self.calm:
            return
        if self._crashes_ahead:
            self._crashes_ahead -= 1
            disk.cut_at = self._chance.randint(1, _RECOVERY_CALLS)
            return
        at = self._chance.randint(1, 10 + 5 * min(steps, 20))
        match self._chance.randrange(12):
            case 0 | 1 | 2:
                disk.cut_at = self._chance.randint(1, 20 + 12 * min(steps, 20))
            case 3:
                disk.faults = [Fault("fdatasync", at, errno.EIO)]
            case 4:
                broken = self._chance.choice((errno.EIO, errno.ENOSPC))
                operation = self._chance.choice(("append", "fdatasync", "pwrite"))
                disk.faults = [Fault(operation, at, broken, lasting=broken == errno.ENOSPC)]
            case 5:
                used = sum(len(inode.content) for inode in disk.names.values())
                disk.capacity = used + self._chance.randrange(30_000)
            case 6 if steps < 10:
                disk.most_taken = self._chance.randint(1, 400)
            case _:
                pass

    def after_end(self) -> bool:
        """The engine is gone, or its journal: whether its machine went with it, and what else did."""
        if not self._crashes_ahead and self._chance.random() < 0.2:
            self._crashes_ahead = self._chance.randint(1, 3)
        if self._chance.random() < 0.4:
            self._machine.reboot()
            self._world.clock.seconds += 90
            self._world.clock.boot()
            return True
        if self._chance.random() < 0.3:
            self._machine.lose_supervisor()
            self._story.append("the supervisor is killed")
        return False

    def _cut_disk(self) -> None:
        assert self._disk is not None
        self._disk.cut_at = 1

    def _moment(self, what: str) -> None:
        """Something may happen now."""
        disk = self._disk
        if disk and disk.cut_at and len(disk.calls) >= disk.cut_at:
            self._world.dead = True
            return
        if not self.calm and self._chance.random() < 0.016 * self._weather:
            self._happens(what)
        self.turn()

    def _happens(self, what: str) -> None:
        match self._chance.randrange(8):
            case 0 | 1:
                self._story.append(f"killed at {what}")
                self._world.crash()
            case 2 | 3:
                self._story.append(f"stopped at {what}")
                self.stop_asked = True
                self.stop()
            case 4 | 5:
                self._set_clock()
            case 6 if self._machine.working:
                self._machine.another_engine()
            case 7 if self._machine.working:
                self._machine.another_run()

    def _set_clock(self) -> None:
        clock = self._world.clock
        to_1970 = (NOON.replace(year=1970, month=1, day=1) - clock.now()).total_seconds()
        jump = self._chance.choice((-0.5, -HOUR_S, HOUR_S, 400 * 24 * HOUR_S, to_1970))
        self._story.append(f"the clock is set by {jump:.1f} s")
        clock.jump(jump)

    def _fate(self, operation: Operation, use: Use) -> Fate:
        if self.calm:
            return Fate.WELL
        dice = self._chance.random() / self._weather
        if use.id.split("/")[0] in self._ends:
            dice *= 0.4  # a run's end is short, and as much goes wrong in it
        fate = Fate.WELL
        if dice < 0.04:
            fate = self._chance.choice(_CRASHES)
        elif dice < 0.065:
            fate = self._chance.choice(_LOSSES)
        elif dice < 0.10 and self._failures:
            fate = Fate.FAILS
        elif dice < 0.12:
            self._world.clock.seconds += 30  # it takes longer than some steps may
        elif dice < 0.14:
            self._machine.start_daemon()
        if fate is not Fate.WELL:
            self._story.append(f"{fate.name} {use.id}")
        return fate
