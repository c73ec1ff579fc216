"""A whole run for the tests of actions: a plan's text, the real engine, journal, supervisor and world."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runbook.catalogue import CATALOGUE
from runbook.engine.events import Event, StepPlanned, StepWaiting
from runbook.errors import ExitCode
from runbook.graph import Graph, build
from runbook.journal.clock import SystemClock
from runbook.journal.layout import RunDir, find_run, make_run
from runbook.journal.record import Record
from runbook.operation import Json, digest
from runbook.plan.environment import inline_environment
from runbook.plan.file import FrozenReader
from runbook.plan.inputs import bind
from runbook.plan.load import load_plan
from runbook.runner.ending import Ending
from runbook.runner.execution import Caller, Order, apply, resume
from runbook.runner.preview import Sight, preview
from runbook.runner.setting import Reply, Setting
from runbook.secret import Redactor
from runbook.transports.outcome import Progress
from runbook.transports.world import World


@dataclass
class Rehearsal:
    """One run of ``plan``. ``replies`` are what a person answers, by step; others are not answered, and wait."""

    plan: str
    state: Path
    replies: Mapping[str, Reply] = field(default_factory=dict)
    run: str = ""
    asked: list[StepWaiting] = field(default_factory=list)
    planned: dict[str, list[list[str]]] = field(default_factory=dict)
    digests: dict[str, list[list[str]]] = field(default_factory=dict)
    ending: Ending | None = None

    def apply(self) -> ExitCode:
        """Run it from its beginning."""
        self.ending = apply(self._order(), self._caller())
        return self.ending.exit_code

    def preview(self, sight: Sight) -> dict[str, list[str]]:
        """The operations of each step as a dry-run shows them, as digests."""
        order = self._order()
        directory = make_run(self.state, "20260214-120000-preview-4f3a").path
        world = World(directory, run="20260214-120000-preview-4f3a", redactor=Redactor())
        setting = Setting(
            plan=order.plan,
            graph=build(order.plan.steps),
            environment=order.environment,
            inputs=order.inputs,
            actions=CATALOGUE,
            performer=world,
            look=world.look,
            clock=SystemClock(),
            sleep=time.sleep,
            directory=str(directory),
            run="20260214-120000-preview-4f3a",
            started_at="2026-02-14T12:00:00Z",
            operator="tester",
            ask=self._ask,
            progress=_unheard,
        )
        try:
            return {shown.step.id: [digest(one) for one in shown.operations] for shown in preview(setting, sight)}
        finally:
            world.close()

    def resume(self) -> ExitCode:
        """Go on with it."""
        self.ending = resume(self.directory, self._caller(), {})
        return self.ending.exit_code

    @property
    def directory(self) -> RunDir:
        """The run's own directory."""
        return find_run(self.state, self.run)

    def outputs(self, step: str) -> Mapping[str, Json]:
        """What a step that succeeded gave."""
        assert self.ending is not None
        return self.ending.state.outputs[step]

    def problem(self, step: str) -> str:
        """What a step that did not succeed says, as text."""
        assert self.ending is not None
        return str(self.ending.state.step(step).problem)

    def _order(self) -> Order:
        plan = load_plan("plan.yaml", FrozenReader({"plan.yaml": self.plan.encode()}))
        environment = inline_environment(plan)
        assert environment is not None
        bound = bind(plan, environment, {})
        return Order(bound.plan, environment, bound.inputs)

    def _caller(self) -> Caller:
        return Caller(
            state=self.state,
            actions=CATALOGUE,
            operator="tester",
            ask=self._ask,
            watch=self._watch,
            progress=_unheard,
            redactor=Redactor(),
            opened=self._opened,
            parallel=1,
        )

    def _ask(self, step: str, question: StepWaiting) -> Reply | None:
        self.asked.append(question)
        return self.replies.get(step)

    def _watch(self, record: Record, event: Event) -> None:
        if isinstance(event, StepPlanned):
            self.planned.setdefault(event.step, []).append([str(one["name"]) for one in event.operations])
            self.digests.setdefault(event.step, []).append([str(one["digest"]) for one in event.operations])

    def _opened(self, run: str, graph: Graph) -> None:
        self.run = run


def _unheard(step: str, operation: str, progress: Progress) -> None:
    """Nobody watches."""
