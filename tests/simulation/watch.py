"""What has to hold, whatever happens: looked at before every operation, after every execution, and at the end.

Owns :class:`Watch` and :class:`Violation`. I1: no effect without a durable intent. I2: an effect happens once, unless the action
declares otherwise. I3: no acknowledged record is lost. I5: the exit code tells the state. Nothing runs inside a hold that isn't in
force; what a hold stopped is not started over work that is half done; what runs is among what a dry-run showed.
"""

from __future__ import annotations

import json
import re

from runbook.engine.run import StepRun
from runbook.engine.transitions import Status
from runbook.errors import ExitCode, JournalFault
from runbook.graph import build
from runbook.journal.local import read
from runbook.journal.tape import JOURNAL
from runbook.operation import Operation, canonical, changes, digest
from runbook.plan.model import OnFailure, Section
from runbook.report.dryrun import Shown
from runbook.runner.ledger import Ledger
from runbook.transports.outcome import Use
from tests.runner.memory_run import DIRECTORY, MemoryRun
from tests.runner.world import World
from tests.simulation.plans import Simulated

_PLACEHOLDER = re.compile(r"<steps\.[^<>]+>")
_REPEATABLE = ("repeat", "pause", "unpause")
_LATER_ROUNDS = ("grow",)
_DONE = (Status.SUCCEEDED, Status.SKIPPED)


class Violation(AssertionError):
    """Something that has to hold does not."""


class Watch:
    """Watches one run in its world. ``shown`` is what a dry-run showed beforehand."""

    def __init__(self, plan: Simulated, run: MemoryRun, world: World) -> None:
        self.shown: dict[str, Shown] = {}
        self._steps = {one.id: one for one in plan.steps}
        self._services = plan.services
        self._run = run
        self._world = world
        self._ledger: Ledger | None = None
        self._graph = graph = build(plan.steps)
        self._inside = {hold: graph.inside(hold, release) for hold, release in graph.releases().items()}
        world.seen = self._before
        run.on_ledger = self._take_ledger

    def acknowledged_are_there(self) -> bool:
        """I3 on the disk of the next boot; gives whether the run exists at all."""
        try:
            found = read(DIRECTORY, disk=self._run.disk).records
        except JournalFault:
            found = ()
        there = {(record.seq, record.hash) for record in found}
        lost = [record.seq for record in self._run.acknowledged if (record.seq, record.hash) not in there]
        if lost:
            raise Violation(f"I3: the acknowledged records {lost} are lost or others")
        if not found and self._world.marks:
            raise Violation("I1: there were effects before there was a run")
        return bool(found)

    def exit_code(self, code: ExitCode) -> None:
        """I5: what the code says is what the steps' states say."""
        states = {name: self._state(name) for name in self._steps}
        main = [states[name] for name, spec in self._steps.items() if spec.section is Section.STEPS]
        unknown = any(state.status is Status.UNKNOWN for state in states.values())
        waiting = any(state.status is Status.WAITING for state in states.values())
        failed = [state for state in states.values() if state.status is Status.FAILED]
        continued = [name for name, state in states.items() if state.status is Status.FAILED and self._goes_on(name)]
        if any(state.status is Status.RUNNING for state in states.values()):
            raise Violation("I5: the execution ended while a step runs")
        match code:
            case ExitCode.DONE:
                holds = not failed and all(state.status in _DONE for state in main)
            case ExitCode.FAILED:
                holds = bool(failed) and not unknown and (not waiting or len(failed) > len(continued))
            case ExitCode.WAITING:
                holds = unknown or waiting
            case ExitCode.INTERRUPTED:
                holds = True
            case _:
                holds = False
        if not holds:
            told = {name: state.status.value for name, state in states.items()}
            problems = [state.problem for state in failed]
            raise Violation(f"I5: exit code {int(code)}, and the steps are {told}; {problems}")

    def exact(self, undisturbed: World) -> None:
        """Without faults, what ran is what was shown."""
        ran: dict[str, list[str]] = {name: [] for name in self._steps}
        for mark, operation in zip(undisturbed.ran, undisturbed.performed, strict=True):
            ran[mark.split("/")[0]].append(digest(operation))
        for name, shown in self.shown.items():
            listed = [digest(one) for one in shown.operations if type(one).__name__ != "Ask"]
            known = shown.known == "exact" and self._steps[name].uses not in _LATER_ROUNDS
            if known and self._steps[name].section is Section.STEPS and ran[name] != listed:
                raise Violation(
                    f"the dry-run of {name} showed {len(listed)} operations, {len(ran[name])} ran, or others"
                )

    def at_the_end(self, undisturbed: World) -> None:
        """I2, and the same end as without faults where nothing failed."""
        for (name, operation), count in self._world.ledger.items():
            if count > 1 and self._steps[name].uses not in _REPEATABLE:
                raise Violation(f"I2: {name}/{operation} happened {count} times")
        for services in self._services.values():
            for service in services:
                if self._world.facts[service] != undisturbed.facts[service]:
                    raise Violation(f"{service} is {self._world.facts[service]}, and was {undisturbed.facts[service]}")
        if any(self._state(name).status is Status.FAILED for name in self._steps):
            return
        alarms = {name for name, spec in self._steps.items() if spec.section is Section.ON_FAILURE}
        found = {k: v for k, v in self._world.facts.items() if k.removesuffix(".part") not in alarms}
        if found != undisturbed.facts:
            differing = found.items() ^ undisturbed.facts.items()
            raise Violation(f"the end is another one than without faults: {sorted(differing)}")

    def _before(self, operation: Operation, use: Use) -> None:
        name = use.id.split("/")[0]
        self._intent_is_durable(operation, use)
        self._was_shown(name, operation)
        for hold, inside in self._inside.items():
            if name in inside:
                self._in_force(hold, name)
            if self._steps[name].releases == hold:
                self._nothing_half_done(hold, name)

    def _intent_is_durable(self, operation: Operation, use: Use) -> None:
        if changes(operation) and f'"{use.id}"'.encode() not in self._run.disk.names[DIRECTORY / JOURNAL].durable:
            raise Violation(f"I1: {use.id} is performed, and its intent isn't durable")

    def _was_shown(self, name: str, operation: Operation) -> None:
        shown = self.shown[name]
        if self._steps[name].uses not in _LATER_ROUNDS and not any(_shows(one, operation) for one in shown.operations):
            raise Violation(f"{name} performs {operation.name}, which the dry-run didn't show")

    def _in_force(self, hold: str, name: str) -> None:
        own = self._steps[name].releases
        if own and (self._state(hold).attempt == 0 or own in self._graph.ancestors(hold)):
            return  # a run that ends releases what it holds: this hold it never took, or took after the one that it releases
        if own and self._comes_at_every_end(hold):
            return  # and what is released in `finally` is so before what is still held otherwise
        running = [service for service in self._services[hold] if self._world.facts[service] == "running"]
        if running:
            raise Violation(f"{name} acts inside {hold}, and {running} run")

    def _nothing_half_done(self, hold: str, release: str) -> None:
        for name in self._inside[hold]:
            if self._state(name).renewed:
                continue  # a hold that was done, and is taken again
            touched = any(step == name for step, _ in self._world.ledger)
            living = any(left.lives and mark.startswith(f"{name}/") for mark, left in self._world.left.items())
            if self._comes_at_every_end(hold) and not living:
                continue  # who writes it into `finally` wants it, whatever is half done
            if living or (touched and self._state(name).status not in _DONE and not self._goes_on(name)):
                raise Violation(f"{release} releases {hold}, and {name} is {self._state(name).status}")

    def _comes_at_every_end(self, hold: str) -> bool:
        return self._steps[self._graph.releases()[hold]].section is Section.FINALLY

    def _goes_on(self, name: str) -> bool:
        return self._steps[name].on_failure is OnFailure.CONTINUE

    def _state(self, name: str) -> StepRun:
        assert self._ledger is not None
        return self._ledger.run.step(name)

    def _take_ledger(self, ledger: Ledger) -> None:
        self._ledger = ledger


def _shows(shown: Operation, performed: Operation) -> bool:
    """Whether the dry-run showed it; a placeholder stands for any value."""
    expected, found = (json.dumps(canonical(one), sort_keys=True) for one in (shown, performed))
    parts = _PLACEHOLDER.split(expected)
    return expected == found or re.fullmatch(".*".join(map(re.escape, parts)), found) is not None
