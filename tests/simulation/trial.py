"""One seed: a random plan, carried out with crashes, lost answers, failures and people, until it comes to its end.

Owns :class:`Trial`. Engine, runner, journal and locks are the real ones. Promises: whatever it does follows from the seed; the
rules in ``watch.py`` and ``records.py`` are looked at before every operation, after every effect, at every record and after every
execution.
"""

from __future__ import annotations

import gc
from dataclasses import replace
from itertools import cycle
from random import Random

from runbook.engine.events import RunFinished, StepWaiting
from runbook.engine.transitions import Status
from runbook.errors import Busy, ExitCode, JournalFault
from runbook.plan.model import Objectives, Section, Step
from runbook.runner.loop import Loop
from runbook.runner.setting import Reply
from tests.journal.memory_disk import MemoryDisk, PowerCut
from tests.runner.memory_run import MemoryRun
from tests.runner.world import Crash, World
from tests.simulation.hazards import Hazards
from tests.simulation.machine import Machine
from tests.simulation.plans import Simulated, random_plan
from tests.simulation.records import Canary, Records
from tests.simulation.turns import Turns
from tests.simulation.violation import Violation
from tests.simulation.watch import Watch

MOST_EXECUTIONS = 60
_OPEN = (Status.PENDING, Status.WAITING, Status.FAILED, Status.CANCELLED)
_INPUTS = {"yes": True, "no": False}


class Trial:
    """A seed's run. ``story`` tells what happened, execution by execution; ``executions`` counts them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = Random(seed)
        self.plan: Simulated = random_plan(self.chance)
        self.parallel = self.chance.choice((1, 1, 2, 4))
        self.uses = {one.id: one.uses for one in self.plan.steps}
        self.wild = self.chance.randint(0, 6)
        self.story: list[str] = []
        self.executions = 0
        self.turns = Turns(self.chance)
        self.unwanted = Random(f"unwanted {seed}")  # on its own: the rest of what a seed throws stays as it was
        self.skips = self.unwanted.random() < 0.4
        self.people = {one.id: cycle(("ada", "ben")) for one in self.plan.steps}
        self.world = World(facts=dict(self.plan.facts))
        self.machine = Machine(self.world)
        ends = frozenset(one.id for one in self.plan.steps if one.section is not Section.STEPS)
        self.hazards = Hazards(self.chance, self.world, self.machine, self.story, ends=ends)
        self.hazards.turn = lambda: self.turns.turn()
        self.run = self._run(self.world)
        self.run.executor = self.machine.executor
        self.run.objectives = Objectives(rto_s=self.chance.choice((None, None, None, 60.0)))
        self.canary = Canary(self.chance) if self.chance.random() < 0.3 else None
        if self.canary:
            self.run.redactor, self.world.says = self.canary.redactor, self.canary.said
        self.records = Records(self.plan, self.run, self.canary)
        self.watch = Watch(self.plan, self.run, self.world, self.records)

    def go(self) -> None:
        """Carry the seed out. Raises :class:`Violation`."""
        gc.disable()  # a fifth of the time; what goes round in circles is collected between two seeds
        try:
            self._go()
        finally:
            gc.enable()
            self.machine.reboot()

    def _go(self) -> None:
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
            self.hazards.calm = number >= self.wild
            begun = self._execute(begun=begun)
            if begun and self.run.state is not None and self.run.state.status.final:
                self.watch.at_the_end(undisturbed)
                self.records.keep_the_secret()
                if not self.world.alive():  # a child that a person is told of has the target still
                    self.machine.is_free()
                return
        raise Violation("it does not come to an end")

    def _execute(self, *, begun: bool) -> bool:
        """One execution; gives whether the run exists afterwards."""
        self.executions += 1
        self.hazards.before_execution(self.run, len(self.plan.steps))
        if self.machine.held_by_a_child():
            self.machine.another_run()
        try:
            code = self.run.resume(self._skipped()) if begun else self.run.apply()
        except (Crash, PowerCut) as end:
            return self._next_boot(type(end).__name__)
        except JournalFault as fault:
            return self._next_boot(self._journal_fault(fault))
        except Busy as refused:
            raise Violation(f"I6: exit code 5, and nobody works: {refused}") from None
        self.story.append(f"ended with {int(code)}")
        self.watch.exit_code(code, stop_asked=self.hazards.stop_asked)
        self.run.after_kill()
        self._between(code)
        return True

    def _skipped(self) -> dict[str, str]:
        """What a person takes for not needed, if anything: no hold, and nothing that another step looks at or is given."""
        ended = bool(self.run.events) and isinstance(self.run.events[-1], RunFinished)
        if not ended or not self.skips or self.hazards.calm or self.unwanted.random() < 0.5:
            return {}
        able = [one.id for one in self.plan.steps if self._skippable(one)]
        chosen = self.unwanted.sample(able, min(len(able), self.unwanted.randint(1, 2)))
        self.story += [f"{name} is skipped" for name in chosen]
        return dict.fromkeys(chosen, "not needed")

    def _skippable(self, step: Step) -> bool:
        if step.section is not Section.STEPS or step.id in self.plan.services or step.releases:
            return False
        asked = repr([one.with_ for one in self.plan.steps if one is not step])
        return f"'{step.id}'" not in asked and f"steps.{step.id}." not in asked and self.run.status(step.id) in _OPEN

    def _journal_fault(self, fault: JournalFault) -> str:
        if fault.exit_code is not ExitCode.JOURNAL:
            raise Violation(f"I5: a journal at fault is exit code {int(fault.exit_code)}")
        if self.run.disk.stubborn:
            raise Violation("a sync was tried after one that had failed")
        if self.hazards.calm:
            raise Violation(f"I3: the journal is refused, and nothing had happened to it: {fault}")
        return "JournalFault"

    def _next_boot(self, why: str) -> bool:
        """The engine is gone, or its journal: the next process finds what the disk kept."""
        power = self.hazards.after_end()
        self.story.append(f"{why}{', the power is cut' if power else ''}")
        if power:
            self.run.disk = self.run.disk.after_power_cut(self.chance)
            if self.chance.random() < 0.5:
                self._services_come_back()
        self.run.after_kill()
        if self.records.are_there():
            return True
        self.run.disk = MemoryDisk()
        self.run.events.clear()
        self.run.acknowledged.clear()
        return False

    def _services_come_back(self) -> None:
        """A machine that boots starts what it always starts, whatever is held."""
        for services in self.plan.services.values():
            for service in services:
                if self.plan.facts[service] == "running":
                    self.world.facts[service] = "running"
        self.story.append("services came back")

    def _between(self, code: ExitCode) -> None:
        """What people do before the next execution."""
        if code is not ExitCode.WAITING or self.run.state is None:
            return
        calm = self.hazards.calm
        for name in self.run.state.unknown:
            if self.uses[name] == "once" and (calm or self.chance.random() < 0.5):
                self._resolve(name)

    def _resolve(self, name: str) -> None:
        """Somebody looked: what was in doubt had its effect, then the rest is done by hand; or it had not."""
        begun = self.run.step(name).begun
        if any(left.use.id.startswith(f"{name}/") for left in self.world.alive()):
            return
        happened = any(one.id in self.world.marks for one in begun)
        self.story.append(f"{name} is resolved: {'done' if happened else 'not done'}")
        if happened:
            self.run.resolve(name, "done", said="by hand")
        else:
            self.run.resolve(name, "not-done")
        self.run.after_kill()

    def _person(self, name: str, question: StepWaiting) -> Reply | None:
        return self._answer(name, question) if self.hazards.calm or self.chance.random() < 0.5 else None

    def _answer(self, name: str, question: StepWaiting) -> Reply:
        return Reply(next(self.people[name]))

    def _run(self, world: World) -> MemoryRun:
        run = MemoryRun([replace(one) for one in self.plan.steps], world, inputs=_INPUTS)
        run.parallel = self.parallel
        run.person = self._person
        run.prepare_loop = self._take_loop
        return run

    def _take_loop(self, loop: Loop) -> None:
        self.hazards.stop = loop.stop
        self.turns = Turns(self.chance)
        loop._pool = self.turns  # type: ignore[assignment]  # stands in for it
        loop._ended = self.turns  # type: ignore[assignment]
