"""One rehearsal: the plan from its beginning to its end, disturbed once, resumed as often as it takes.

Owns :class:`Trial` and what came of it, :class:`Came`. Promises: runner, engine and journal are the real ones, one step at a time;
people are there and answer at once; of what nobody can know, somebody looks and says how it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import cast

from runbook import __version__
from runbook.action import Interrupted, Look
from runbook.check.fields import interrupted_of
from runbook.engine.events import Event, RunCreated, RunResumed, StepResolved, StepWaiting, parse
from runbook.engine.run import Run, begin, fold
from runbook.engine.transitions import RunStatus, Status
from runbook.errors import ExitCode
from runbook.graph import build
from runbook.journal.local import LocalJournal
from runbook.journal.record import Record
from runbook.journal.tape import JOURNAL
from runbook.operation import Ask, Json, Question
from runbook.plan.model import Plan
from runbook.rehearse.disk import Killed, MemoryDisk
from runbook.rehearse.invent import answer
from runbook.rehearse.stub import Stub
from runbook.rehearse.world import Fate, StubWorld
from runbook.report.dryrun import Shown
from runbook.runner.ending import Ending
from runbook.runner.execution import Order, carry_out
from runbook.runner.ledger import Ledger
from runbook.runner.loop import Loop
from runbook.runner.setting import AnyAction, Reply, Setting
from runbook.transports.world import World
from runbook.units import show_instant

RUN = "20260101-000000-rehearsal-0000"
MOST_EXECUTIONS = 12
_DIRECTORY = Path("/rehearsal") / RUN
_NAME = "rehearsal"


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What goes wrong: the process is killed before that append to the journal, an operation meets a fate, or a step fails."""

    kill_at: int = 0
    fate: tuple[str, str, Fate] | None = None
    failing: str = ""


@dataclass
class Came:
    """What came of a rehearsal.

    ``first`` is the run as the first execution left it (None: killed), ``exit_code`` what it ended with. ``asked`` are the steps
    of which a resume could not know how they ended. ``began`` are the steps that ran in any execution, ``done`` the
    effects at the end, ``twice`` operations that had their effect more than once. ``appends`` were made to the journal.
    """

    last: Run | None = None
    first: Run | None = None
    exit_code: ExitCode | None = None
    asked: list[str] = field(default_factory=list)
    began: set[str] = field(default_factory=set)
    done: Mapping[str, set[str]] = field(default_factory=dict)
    twice: tuple[str, ...] = ()
    appends: int = 0
    fault: str = ""

    @property
    def status(self) -> RunStatus | None:
        """How the run ended."""
        return self.last.status if self.last else None


class Trial:
    """A plan on stubs. ``shown`` is its dry-run, ``variant`` which values its stubs give."""

    def __init__(
        self, order: Order, shown: Mapping[str, Shown], actions: Mapping[str, AnyAction], *, variant: int
    ) -> None:
        self._variant = variant
        self._people = count()
        self._stopped = 0
        self.plan: Plan = replace(
            order.plan, steps=tuple(replace(step, uses=step.id, on="", with_={}) for step in order.plan.steps)
        )
        self._order = order
        self.graph = build(self.plan.steps)
        self.disk = MemoryDisk()
        self.world = StubWorld(self.disk, {release: hold for hold, release in self.graph.releases().items()})
        self.stubs: dict[str, AnyAction] = {}
        self.interrupted: dict[str, Interrupted] = {}
        for step in order.plan.steps:
            real = actions[step.uses]
            self.interrupted[step.id] = how = interrupted_of(real, step)
            self.stubs[step.id] = Stub(real, shown[step.id], self.world, interrupted=how, variant=variant)

    def go(self, disturbance: Disturbance) -> Came:
        """From the beginning to the end."""
        self.disk.kill_at, self.world.fate, self.world.failing = (
            disturbance.kill_at,
            disturbance.fate,
            disturbance.failing,
        )
        came = Came()
        for number in range(MOST_EXECUTIONS):
            ended = self._execute(came)
            if self._stopped:
                raise KeyboardInterrupt
            if number == 0 and ended is not None:
                came.first, came.exit_code = came.last, ended.exit_code
            if came.last is not None and came.last.status.final:
                break
            self.world.failing = ""  # somebody mended it
            self.disk.after_kill()
            self._resolve(came)
        came.done = {step: set(names) for step, names in self.world.done.items() if names}
        came.twice = tuple(f"{step}/{name}" for (step, name), times in self.world.effects.items() if times > 1)
        came.appends = self.disk.appends
        return came

    def _execute(self, came: Came) -> Ending | None:
        """One execution; None if it was killed."""
        try:
            return self._executed(came)
        except Killed:
            return None

    def _executed(self, came: Came) -> Ending:
        setting, found = self._setting(), self._opened()
        if found is None:
            header = self._header(setting)
            journal = LocalJournal.create(_DIRECTORY, run=RUN, clock=self.world.clock, boot="boot", disk=self.disk)
            ledger = Ledger(journal, begin(self.graph, header), _unwatched, first=header)
            ledger.commit()
        else:
            journal, run = found
            ledger = Ledger(journal, run, _unwatched)
            ledger.commit(RunResumed(_NAME, journal.writer.epoch))
        try:
            return carry_out(setting, ledger, cast(World, self.world), Loop(setting, ledger))
        finally:
            came.last = ledger.run
            came.began |= {step for step in self.graph.order if ledger.run.step(step).attempt}
            if not self.disk.dead:
                journal.close()

    def _opened(self) -> tuple[LocalJournal, Run] | None:
        """The journal as the next process finds it, and the run that it tells; None for a run that never got a record."""
        if self.disk.files.get(_DIRECTORY / JOURNAL):
            journal = LocalJournal.open(_DIRECTORY, run=RUN, clock=self.world.clock, boot="boot", disk=self.disk)
            events: list[Event] = [parse(cast("Mapping[str, Json]", record.payload)) for record in journal.records]
            if events:
                return journal, fold(self.graph, events)
            journal.close()
        self.disk.files.clear()
        return None

    def _header(self, setting: Setting) -> RunCreated:
        environment = self._order.environment
        return RunCreated(
            plan=self.plan.name,
            digest=self.plan.digest,
            environment=environment.name,
            live=environment.live,
            operator=_NAME,
            started_at=setting.started_at,
            inputs=dict(self._order.inputs),
            targets={},
            tool=__version__,
        )

    def _resolve(self, came: Came) -> None:
        """Somebody looks at what nobody can know, and says so."""
        found = self._opened()
        if found is None:
            return
        journal, run = found
        ledger = Ledger(journal, run, _unwatched)
        for step in tuple(run.unknown):
            known = run.step(step)
            if known.status is not Status.UNKNOWN or self.interrupted[step] is not Interrupted.ASK or not known.problem:
                continue
            came.asked.append(step)
            stub = cast(Stub, self.stubs[step])
            if self.world.happened(step):
                self.world.by_hand(step, stub.operations)
                ledger.commit(StepResolved(step, "done", _NAME, "looked", stub.outputs().model_dump(mode="json")))
            else:
                ledger.commit(StepResolved(step, "not-done", _NAME, "looked", {}))
        journal.close()

    def _setting(self) -> Setting:
        return Setting(
            plan=self.plan,
            graph=self.graph,
            environment=self._order.environment,
            inputs=self._order.inputs,
            actions=self.stubs,
            performer=self.world,
            look=cast(Look, None),
            clock=self.world.clock,
            sleep=self.world.clock.sleep,
            directory=str(_DIRECTORY),
            run=RUN,
            started_at=show_instant(self.world.clock.now()),
            operator=_NAME,
            ask=self._ask,
            progress=lambda _step, _operation, _progress: None,
            parallel=1,
            stopping=self._stop,
        )

    def _stop(self, count_of_signals: int) -> None:
        self._stopped = count_of_signals

    def _ask(self, step: str, question: StepWaiting) -> Reply:
        """Whoever may answer does; another one each time."""
        number = next(self._people)
        person = question.approvers[number % len(question.approvers)] if question.approvers else f"person {number}"
        asks = (one for one in cast(Stub, self.stubs[step]).operations if isinstance(one, Ask))
        questions: tuple[Question, ...] = next((one.questions for one in asks), ())
        return Reply(person, {one.name: answer(one, self._variant) for one in questions})


def _unwatched(_record: Record, _event: Event) -> None:
    """Nobody looks on."""
