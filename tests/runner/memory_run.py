"""A run in memory: the real loop, step's life, ledger and journal, on a disk, a clock and a world that tests own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import cast

from runbook.engine.events import Event, RunCreated, RunResumed, StepResolved, StepSkipped, StepWaiting, parse
from runbook.engine.run import Run, begin, fold
from runbook.engine.step_run import StepRun
from runbook.engine.transitions import Status
from runbook.errors import ExitCode
from runbook.graph import Graph, build
from runbook.journal.local import LocalJournal
from runbook.journal.record import Record
from runbook.operation import Json
from runbook.plan.environment import Environment
from runbook.plan.model import Frame, Objectives, OnFailure, Plan, Retry, Section, Step
from runbook.report.dryrun import Shown
from runbook.runner.claim import Claim
from runbook.runner.ending import Ending
from runbook.runner.execution import carry_out
from runbook.runner.ledger import Ledger
from runbook.runner.loop import Loop
from runbook.runner.preview import Sight, preview
from runbook.runner.setting import AnyAction, Reply, Setting
from runbook.secret import Redactor
from runbook.system import Machine
from runbook.transports import world as real
from tests.journal.memory_disk import MemoryDisk
from tests.runner.acts import ACTS
from tests.runner.world import World

RUN = "20260214-120000-memory-4f3a"
DIRECTORY = Path("/memory") / RUN
ONE_TRY = Retry()
NO_OBJECTIVES = Objectives()


def step(
    name: str,
    uses: str = "make",
    *needs: str,
    on: str = "",
    when: str = "",
    timeout_s: float | None = None,
    retry: Retry = ONE_TRY,
    confirm: str = "",
    releases: str = "",
    on_failure: OnFailure = OnFailure.STOP,
    section: Section = Section.STEPS,
    **with_: Json,
) -> Step:
    """A step; a thing of its own name is what it makes, unless it says otherwise."""
    if not with_ and uses in ("make", "replace", "repeat", "check", "grow", "lie", "mend", "exchange"):
        with_ = {"thing": name}
    return Step(
        id=name,
        title=f"Do {name}",
        uses=uses,
        needs=needs,
        on=on,
        with_=with_,
        when=when,
        timeout_s=timeout_s,
        retry=retry,
        confirm=confirm,
        releases=releases,
        on_failure=on_failure,
        section=section,
    )


def plan_of(steps: Sequence[Step], objectives: Objectives = NO_OBJECTIVES) -> Plan:
    """A plan of these steps and nothing else."""
    return Plan(
        name="memory",
        title="",
        description="",
        scenario="",
        digest="0" * 64,
        sources=(),
        inputs={},
        systems={},
        steps=tuple(steps),
        frames={"": Frame("", None, {}, {}, {})},
        objectives=objectives,
    )


def environment_of(*, live: bool = False) -> Environment:
    """Three machines, about which nothing is known but their names."""
    machines = {name: Machine(type="host", key=name) for name in ("one", "two", "three")}
    return Environment("memory", live, {}, machines, (), "0" * 64)


@dataclass
class MemoryRun:
    """One run of these steps. ``replies`` are what a person answers, by step and kind of question.

    ``plan`` and ``environment`` are what a file said, where it did, and ``actions`` what steps of it may use.
    ``executor`` surrounds each execution, and ``on_opened`` and ``on_record`` are told what was read and what was acknowledged;
    ``rebind`` locks what a step makes or replaces.
    """

    steps: Sequence[Step]
    world: World = field(default_factory=World)
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    replies: dict[str, Reply] = field(default_factory=dict)
    inputs: Mapping[str, Json] = field(default_factory=dict)
    live: bool = False
    parallel: int = 1
    objectives: Objectives = NO_OBJECTIVES
    plan: Plan | None = None
    environment: Environment | None = None
    actions: Mapping[str, AnyAction] = field(default_factory=lambda: ACTS)
    events: list[Event] = field(default_factory=list)
    asked: list[StepWaiting] = field(default_factory=list)
    acknowledged: list[Record] = field(default_factory=list)
    person: Callable[[str, StepWaiting], Reply | None] | None = None
    prepare_loop: Callable[[Loop], None] = lambda loop: None
    on_ledger: Callable[[Ledger], None] = lambda ledger: None
    on_opened: Callable[[LocalJournal], None] = lambda journal: None
    on_record: Callable[[Record, Event], None] = lambda record, event: None
    rebind: Callable[[Claim], None] = lambda _claim: None
    executor: Callable[[], AbstractContextManager[None]] = nullcontext
    redactor: Redactor = field(default_factory=Redactor)
    state: Run | None = None

    @property
    def graph(self) -> Graph:
        """The steps' graph."""
        return build(self.steps)

    def apply(self) -> ExitCode:
        """Run it from its beginning."""
        setting = self.setting()
        with self.executor():
            journal = LocalJournal.create(DIRECTORY, run=RUN, clock=self.world.clock, boot=self.boot, disk=self.disk)
            self.on_opened(journal)
            header = RunCreated(
                setting.plan.name,
                "0" * 64,
                setting.environment.name,
                self.live,
                "kim",
                setting.started_at,
                dict(self.inputs),
                {},
                "0.1.0",
            )
            run = begin(setting.graph, header)
            ledger = Ledger(journal, run, self._watch, redactor=self.redactor, first=header)
            return self._carry_out(setting, ledger, journal)

    def resume(self, skip: Mapping[str, str] = MappingProxyType({})) -> ExitCode:
        """Go on with it, as another process would. ``skip``: the reason by step."""
        setting = self.setting()
        with self.executor():
            ledger, journal = self.opened(setting.graph)
            ledger.commit(RunResumed("kim", journal.writer.epoch))
            ledger.commit(*(StepSkipped(step, reason, "kim") for step, reason in skip.items()))
            return self._carry_out(setting, ledger, journal)

    def resolve(self, name: str, outcome: str, **outputs: Json) -> None:
        """A person's word on an unknown step."""
        ledger, journal = self.opened(self.graph)
        ledger.commit(StepResolved(name, outcome, "kim", "I looked", outputs))
        journal.close()

    def tell(self, *events: Event) -> None:
        """Further events, as a command between two executions writes them."""
        ledger, journal = self.opened(self.graph)
        ledger.commit(*events)
        journal.close()

    def preview(self, sight: Sight = Sight.LOOK) -> dict[str, Shown]:
        """What a dry-run shows, by step."""
        return {shown.step.id: shown for shown in preview(self.setting(), sight)}

    def opened(self, graph: Graph) -> tuple[Ledger, LocalJournal]:
        """The journal as the next process finds it, folded."""
        journal = LocalJournal.open(DIRECTORY, run=RUN, clock=self.world.clock, boot=self.boot, disk=self.disk)
        self.on_opened(journal)
        events = [parse(cast(Mapping[str, Json], record.payload)) for record in journal.records]
        return Ledger(journal, fold(graph, events), self._watch, redactor=self.redactor), journal

    @property
    def boot(self) -> str:
        """The machine's boot, by name."""
        return f"boot{self.world.clock.boots}"

    def setting(self) -> Setting:
        """What the runner is given."""
        return Setting(
            plan=self.plan or plan_of(self.steps, self.objectives),
            graph=self.graph,
            environment=self.environment or environment_of(live=self.live),
            inputs=self.inputs,
            actions=self.actions,
            performer=self.world,
            look=self.world.look,
            clock=self.world.clock,
            sleep=self.world.clock.sleep,
            directory=str(DIRECTORY),
            run=RUN,
            started_at="2026-02-14T12:00:00Z",
            operator="kim",
            ask=self._ask,
            progress=lambda step, operation, progress: None,
            parallel=self.parallel,
            rebind=self.rebind,
        )

    def status(self, name: str) -> Status:
        """Where a step stands."""
        return self.step(name).status

    def step(self, name: str) -> StepRun:
        """What the run knows of a step."""
        assert self.state is not None
        return self.state.step(name)

    def problem(self, name: str) -> str:
        """The code of what went wrong with a step."""
        problem = self.step(name).problem
        return str(problem["code"]) if isinstance(problem, dict) else ""

    def names(self, kind: type[Event]) -> list[str]:
        """The steps of the events of one kind, in order."""
        return [event.step for event in self.events if isinstance(event, kind) and hasattr(event, "step")]

    def _carry_out(self, setting: Setting, ledger: Ledger, journal: LocalJournal) -> ExitCode:
        self.on_ledger(ledger)
        loop = Loop(setting, ledger)
        self.prepare_loop(loop)
        self.state = ledger.run
        try:
            ledger.commit()
            ended: Ending = carry_out(setting, ledger, cast(real.World, self.world), loop)
        finally:
            self.state = ledger.run
        journal.close()
        return ended.exit_code

    def _ask(self, name: str, question: StepWaiting) -> Reply | None:
        self.asked.append(question)
        return self.person(name, question) if self.person else self.replies.get(f"{name}:{question.kind}")

    def _watch(self, record: Record, event: Event) -> None:
        self.acknowledged.append(record)
        self.events.append(event)
        self.on_record(record, event)

    def after_kill(self) -> None:
        """Another process begins on the same disk: the page cache survives the death of a process."""
        names = self.disk.names
        self.disk = MemoryDisk(
            names=names, durable_names=dict(self.disk.durable_names), directories=set(self.disk.directories)
        )
        self.world.dead = False
        self.steps = [replace(one) for one in self.steps]
