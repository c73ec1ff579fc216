"""What has to hold, whatever happens: looked at before every operation, after every execution, and at the end.

Owns :class:`Watch`; what has to hold of records (I1, I3, I4) is in ``records.py``. I2: an effect happens once, unless the action
declares otherwise. I5: the exit code tells the state. I6: nothing begins on a thing while a child of an earlier executor works on
it. Nothing runs inside a hold that isn't in force; what a hold stopped is not started over work that is half done, and as long as
it is stopped the run says so; what runs is among what a dry-run showed, and its turn has come.
"""

from __future__ import annotations

import json
import re

from runbook.engine.decide import open_holds
from runbook.engine.events import RunFinished, RunInterrupted, RunWaiting
from runbook.engine.step_run import StepRun
from runbook.engine.transitions import Status
from runbook.errors import ExitCode
from runbook.graph import build
from runbook.operation import Operation, canonical, changes, digest
from runbook.plan.model import OnFailure, Section
from runbook.report.dryrun import Shown
from runbook.runner.ledger import Ledger
from runbook.transports.outcome import Use
from tests.runner.memory_run import MemoryRun
from tests.runner.world import World, things_of
from tests.simulation.plans import Simulated
from tests.simulation.records import Records
from tests.simulation.violation import Violation

_PLACEHOLDER = re.compile(r"<steps\.[^<>]+>")
_REPEATABLE = ("repeat", "pause", "unpause")
_LATER_ROUNDS = ("grow",)
BACK = "~back"
"""Ends the name under which a step takes back what failed."""
_DONE = (Status.SUCCEEDED, Status.SKIPPED)


class Watch:
    """Watches one run in its world. ``shown`` is what a dry-run showed beforehand."""

    def __init__(self, plan: Simulated, run: MemoryRun, world: World, records: Records) -> None:
        self.shown: dict[str, Shown] = {}
        self._steps = {one.id: one for one in plan.steps}
        self._services = plan.services
        self._run = run
        self._records = records
        self._world = world
        self._ledger: Ledger | None = None
        self._graph = graph = build(plan.steps)
        self._inside = {hold: graph.inside(hold, release) for hold, release in graph.releases().items()}
        world.seen, world.done = self._before, self._effect
        run.on_ledger = self._take_ledger

    def exit_code(self, code: ExitCode, *, stop_asked: bool) -> None:
        """I5: what the code says is what the steps' states say, and what the last record says."""
        self._as_recorded(code)
        self._what_is_stopped_is_said()
        states = {name: self._state(name) for name in self._steps}
        main = [states[name] for name, spec in self._steps.items() if spec.section is Section.STEPS]
        unknown = any(state.status is Status.UNKNOWN for state in states.values())
        waiting = any(state.status is Status.WAITING for state in states.values())
        failed = [state for state in states.values() if state.status is Status.FAILED]
        continued = [name for name, state in states.items() if state.status is Status.FAILED and self._goes_on(name)]
        if any(state.status is Status.RUNNING for state in states.values()):
            raise Violation("I5: the execution ended while a step runs")
        match code:
            case ExitCode.DONE | ExitCode.MISSED:
                holds = not failed and not unknown and all(state.status in _DONE for state in main)
            case ExitCode.FAILED:
                holds = bool(failed) and not unknown and (not waiting or len(failed) > len(continued))
            case ExitCode.WAITING:
                holds = unknown or waiting
            case ExitCode.INTERRUPTED:
                holds = stop_asked
            case _:
                holds = False
        if not holds:
            told = {name: state.status.value for name, state in states.items()}
            problems = [state.problem for state in failed]
            raise Violation(f"I5: exit code {int(code)}, and the steps are {told}; {problems}")

    def _as_recorded(self, code: ExitCode) -> None:
        match self._run.events[-1]:
            case RunFinished(duration_s=duration) if duration < 0:
                holds = False
            case RunFinished(exit_code=told, rto=rto):
                missed = isinstance(rto, dict) and rto["met"] is False
                holds = told == code and (
                    missed if code is ExitCode.MISSED else not missed or code is not ExitCode.DONE
                )
            case RunWaiting():
                holds = code is ExitCode.WAITING
            case RunInterrupted():
                holds = code is ExitCode.INTERRUPTED
            case _:
                holds = False
        if not holds:
            raise Violation(f"I5: exit code {int(code)}, and the last record is {self._run.events[-1]}")

    def _what_is_stopped_is_said(self) -> None:
        assert self._run.state is not None
        said = dict(open_holds(self._run.state))
        for hold, services in self._services.items():
            stopped = [service for service in services if self._world.facts[service] == "stopped"]
            if stopped and hold not in said:
                raise Violation(f"{hold} stopped {stopped}, and the run doesn't say so")

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
        """Nothing moves any more; and the same end as without faults, where nothing failed."""
        for left in self._world.alive():
            if not left.use.id.split("/")[0].endswith(BACK):  # that one a person is told of, with its line
                raise Violation(f"I6: the run is at its end, and {left.use.id} still works")
        for services in self._services.values():
            for service in services:
                if self._world.facts[service] != undisturbed.facts[service]:
                    raise Violation(f"{service} is {self._world.facts[service]}, and was {undisturbed.facts[service]}")
        if any(self._state(name).status is Status.FAILED or self._state(name).skipped_by for name in self._steps):
            return
        alarms = {name for name, spec in self._steps.items() if spec.section is Section.ON_FAILURE}
        found = {k: v for k, v in self._world.facts.items() if k.removesuffix(".part") not in alarms}
        if found != undisturbed.facts:
            differing = found.items() ^ undisturbed.facts.items()
            raise Violation(f"the end is another one than without faults: {sorted(differing)}")

    def _before(self, operation: Operation, use: Use) -> None:
        name = use.id.split("/")[0]
        if changes(operation):
            self._records.intent_is_durable(use.id)
        self._nothing_moves(name, operation)
        if name.endswith(BACK):  # what is taken back after a failure is told, not shown beforehand
            return
        self._was_shown(name, operation)
        self._is_its_turn(name)
        for hold, inside in self._inside.items():
            if name in inside:
                self._in_force(hold, name)
            if self._steps[name].releases == hold:
                self._nothing_half_done(hold, name)

    def _nothing_moves(self, name: str, operation: Operation) -> None:
        ours = {name, name.removesuffix(BACK)}
        for left in self._world.alive():
            same = set(things_of(left.operation)) & set(things_of(operation))
            if same or left.use.id.split("/")[0].removesuffix(BACK) in ours:
                raise Violation(f"I6: {name} performs {operation.name} while {left.use.id} still works")

    def _effect(self, operation: Operation, use: Use) -> None:
        name = use.id.split("/")[0]
        count = self._world.ledger[(name, operation.name)]
        if count > 1 and not name.endswith(BACK) and not self._may_repeat(name, operation.name):
            raise Violation(f"I2: {name}/{operation.name} happened {count} times")

    def _may_repeat(self, name: str, operation: str) -> bool:
        uses = self._steps[name].uses
        return uses in _REPEATABLE or (uses, operation) == ("exchange", "close")

    def _was_shown(self, name: str, operation: Operation) -> None:
        shown = self.shown[name]
        if self._steps[name].uses not in _LATER_ROUNDS and not any(_shows(one, operation) for one in shown.operations):
            raise Violation(f"{name} performs {operation.name}, which the dry-run didn't show")

    def _is_its_turn(self, name: str) -> None:
        if self._steps[name].section is not Section.STEPS or self._steps[name].releases:
            return  # what a run's end does, and what it starts again, comes whatever has become of the rest
        for need in self._graph.before[name]:
            if not self._is_over(need):
                raise Violation(f"{name} acts before its turn: {need} is {self._state(need).status}")

    def _is_over(self, name: str) -> bool:
        """Whether what needs the step may begin. One that a person skipped is over when its own turn would have come."""
        state = self._state(name)
        if state.status is Status.SKIPPED and state.skipped_by:
            return all(self._is_over(need) for need in self._graph.before[name])
        return state.status in _DONE or (state.status is Status.FAILED and self._goes_on(name))

    def _in_force(self, hold: str, name: str) -> None:
        own, state = self._steps[name].releases, self._state(hold)
        if own and (state.attempt == 0 or state.status is Status.FAILED or own in self._graph.ancestors(hold)):
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
