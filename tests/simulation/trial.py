"""One seed: a random plan, carried out with crashes, lost answers, failures and people, until it comes to its end.

Owns :class:`Trial`. Engine, runner and journal are the real ones. Promises: whatever it does follows from the seed; the rules in
``watch.py`` are looked at before every operation and after every execution.
"""

from __future__ import annotations

import errno
from dataclasses import replace
from itertools import cycle
from random import Random

from runbook.engine.events import StepWaiting
from runbook.errors import ExitCode, JournalFault
from runbook.operation import Operation
from runbook.runner.loop import Loop
from runbook.runner.setting import Reply
from runbook.transports.outcome import Use
from tests.journal.memory_disk import Fault, MemoryDisk, PowerCut
from tests.runner.memory_run import MemoryRun
from tests.runner.world import Crash, Fate, World
from tests.simulation.plans import Simulated, random_plan
from tests.simulation.turns import Turns
from tests.simulation.watch import Violation, Watch

MOST_EXECUTIONS = 60
_INPUTS = {"yes": True, "no": False}
_CRASHES = [fate for fate in Fate if fate.name.startswith("CRASH")]
_LOSSES = [Fate.LOST_BEFORE, Fate.LOST_AFTER]


class Trial:
    """A seed's run. ``story`` tells what happened, execution by execution."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = Random(seed)
        self.plan: Simulated = random_plan(self.chance)
        self.parallel = self.chance.choice((1, 1, 2, 4))
        self.uses = {one.id: one.uses for one in self.plan.steps}
        self.wild = self.chance.randint(0, 5)
        self.failures = self.chance.random() < 0.5
        self.story: list[str] = []
        self.calm = False
        self.loop: Loop | None = None
        self.turns = Turns(self.chance)
        self.people = {one.id: cycle(("ada", "ben")) for one in self.plan.steps}
        self.world = World(facts=dict(self.plan.facts), fate=self._fate)
        self.run = self._run(self.world)
        self.watch = Watch(self.plan, self.run, self.world)

    def go(self) -> None:
        """Carry the seed out. Raises :class:`Violation`."""
        undisturbed = World(facts=dict(self.plan.facts))
        still = self._run(undisturbed)
        still.person = self._answer
        shown = still.preview()
        first = still.apply()
        if first is not ExitCode.DONE:
            raise Violation(f"without faults it ends with {first!r}")
        self.watch.shown = shown
        self.watch.exact(undisturbed)
        begun = False
        for number in range(MOST_EXECUTIONS):
            self.calm = number >= self.wild
            begun = self._execute(begun=begun)
            if begun and self.run.state is not None and self.run.state.status.final:
                self.watch.at_the_end(undisturbed)
                return
        raise Violation("it does not come to an end")

    def _execute(self, *, begun: bool) -> bool:
        """One execution; gives whether the run exists afterwards."""
        self._set_traps()
        try:
            code = self.run.resume() if begun else self.run.apply()
        except (Crash, PowerCut, JournalFault) as end:
            return self._next_boot(type(end).__name__)
        self.story.append(f"ended with {int(code)}")
        self.watch.exit_code(code)
        self.run.after_kill()
        self._between(code)
        return True

    def _set_traps(self) -> None:
        self.world.on_crash = self._crash_disk
        self.world.turn = self._turn
        self.world.unfenceable = not self.calm and self.chance.random() < 0.05
        disk = self.run.disk
        disk.faults, disk.cut_at = [], 0
        if self.calm:
            return
        match self.chance.randrange(6):
            case 0 | 1:
                disk.cut_at = self.chance.randint(1, 20 + 12 * len(self.plan.steps))
            case 2:
                broken = self.chance.choice((errno.EIO, errno.ENOSPC))
                operation = self.chance.choice(("append", "fdatasync", "pwrite"))
                at = self.chance.randint(1, 10 + 5 * len(self.plan.steps))
                disk.faults = [Fault(operation, at, broken, lasting=broken == errno.ENOSPC)]
            case _:
                pass

    def _next_boot(self, why: str) -> bool:
        """The engine is gone, or its journal: the next process finds what the disk kept."""
        power = self.chance.random() < 0.4
        self.story.append(f"{why}{', the power is cut' if power else ''}")
        if power:
            self.run.disk = self.run.disk.after_power_cut(self.chance)
            for left in self.world.left.values():
                left.lives = False
            if self.chance.random() < 0.5:
                self._services_come_back()
        self.run.after_kill()
        if self.watch.acknowledged_are_there():
            return True
        self.run.disk = MemoryDisk()
        self.run.events.clear()
        return False

    def _services_come_back(self) -> None:
        """A machine that boots starts what it always starts, whatever is held."""
        for services in self.plan.services.values():
            for service in services:
                if self.plan.facts[service] == "running":
                    self.world.facts[service] = "running"
        self.story.append("services came back")

    def _crash_disk(self) -> None:
        self.run.disk.cut_at = 1

    def _turn(self, what: str) -> None:
        if self.run.disk.cut_at and len(self.run.disk.calls) >= self.run.disk.cut_at:
            self.world.dead = True
            return
        if not self.calm and self.chance.random() < 0.004:
            self.story.append(f"killed at {what}")
            self.world.crash()
        if not self.calm and self.loop and self.chance.random() < 0.004:
            self.story.append(f"stopped at {what}")
            self.loop.stop()
        self.turns.turn()

    def _fate(self, operation: Operation, use: Use) -> Fate:
        if self.calm:
            return Fate.WELL
        dice = self.chance.random()
        fate = Fate.WELL
        if dice < 0.04:
            fate = self.chance.choice(_CRASHES)
        elif dice < 0.06:
            fate = self.chance.choice(_LOSSES)
        elif dice < 0.10 and self.failures:
            fate = Fate.FAILS
        elif dice < 0.12:
            self.world.clock.seconds += 30  # it takes longer than some steps may
        if fate is not Fate.WELL:
            self.story.append(f"{fate.name} {use.id}")
        return fate

    def _between(self, code: ExitCode) -> None:
        """What people do before the next execution."""
        if code is not ExitCode.WAITING or self.run.state is None:
            return
        for name in self.run.state.unknown:
            if self.uses[name] == "once" and (self.calm or self.chance.random() < 0.5):
                self._resolve(name)

    def _resolve(self, name: str) -> None:
        """Somebody looked: what was in doubt had its effect, then the rest is done by hand; or it had not."""
        begun = self.run.step(name).begun
        if any(left.lives for left in self.world.left.values() if left.use.id.startswith(f"{name}/")):
            return
        happened = any(one.id in self.world.marks for one in begun)
        self.story.append(f"{name} is resolved: {'done' if happened else 'not done'}")
        if happened:
            self.run.resolve(name, "done", said="by hand")
        else:
            self.run.resolve(name, "not-done")
        self.run.after_kill()

    def _person(self, name: str, question: StepWaiting) -> Reply | None:
        return self._answer(name, question) if self.calm or self.chance.random() < 0.5 else None

    def _answer(self, name: str, question: StepWaiting) -> Reply:
        return Reply(next(self.people[name]))

    def _run(self, world: World) -> MemoryRun:
        run = MemoryRun([replace(one) for one in self.plan.steps], world, inputs=_INPUTS)
        run.parallel = self.parallel
        run.person = self._person
        run.prepare_loop = self._take_loop
        return run

    def _take_loop(self, loop: Loop) -> None:
        self.loop = loop
        self.turns = Turns(self.chance)
        loop._pool = self.turns  # type: ignore[assignment]  # stands in for it
        loop._ended = self.turns  # type: ignore[assignment]
