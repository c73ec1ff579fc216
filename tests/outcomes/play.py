"""Plays a case: the real loader, engine and runner, on a world in memory; what `runbook show` says at every stop is kept."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Event
from typing import assert_never

from runbook.cli.history import results
from runbook.engine import events
from runbook.engine.decide import open_holds
from runbook.engine.events import (
    RunFinished,
    StepApproved,
    StepConfirmed,
    StepFailed,
    StepStarted,
    StepSucceeded,
    StepUnknown,
)
from runbook.engine.run import Run
from runbook.engine.transitions import RunStatus
from runbook.journal.record import Record
from runbook.operation import Operation
from runbook.plan.environment import Environment, inline_environment
from runbook.plan.file import FrozenReader
from runbook.plan.inputs import bind
from runbook.plan.load import load_plan
from runbook.plan.model import Plan
from runbook.report.known import Known, known
from runbook.report.state import as_lines
from runbook.runner.by_hand import holds
from runbook.runner.execution import Order
from runbook.runner.loop import Loop
from runbook.transports.outcome import Use
from tests.outcomes.case import Abandon, Answer, Approve, Case, Meanwhile, Move, Refusal, Resolve, Resume
from tests.outcomes.shop import SHOP, Shop
from tests.runner.memory_run import RUN, MemoryRun
from tests.runner.world import Crash

HEAD = """\
runbook: 1
name: repair
title: A repair
systems: {{app: compose}}
environment:
  environment: here
  live: {live}
  systems: {{app: {{type: compose, project: shop}}}}
"""
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Stop:
    """A point at which the run stood still: after which command, with which exit code, and what was begun since the one before."""

    after: str
    code: int | None
    state: Run
    status: RunStatus
    page: str
    begun: tuple[str, ...] = ()


@dataclass
class Played:
    """How a case went."""

    order: Order
    run: MemoryRun
    shop: Shop
    stops: list[Stop] = field(default_factory=list)

    @property
    def state(self) -> Run:
        """The run at its end."""
        assert self.run.state is not None
        return self.run.state

    @property
    def codes(self) -> tuple[int | None, ...]:
        """The exit codes of its executions."""
        return tuple(stop.code for stop in self.stops if stop.after.startswith(("apply", "resume")))

    @property
    def ends(self) -> dict[str, str]:
        """Where each step stands."""
        return {step: self.state.step(step).status.value for step in self.state.graph.listed}

    @property
    def held(self) -> tuple[str, ...]:
        """The holds in force."""
        return tuple(hold for hold, _ in open_holds(self.state))

    @property
    def up(self) -> tuple[str, ...]:
        """The services that run."""
        return tuple(name for name, state in self.shop.services.items() if state == "running")

    @property
    def pages(self) -> str:
        """What `runbook show` said at each stop."""
        return "".join(f"# {stop.after}{_told(stop)}\n{stop.page}\n" for stop in self.stops)


def _told(stop: Stop) -> str:
    if not stop.after.startswith(("apply", "resume")):
        return ""
    return ": killed" if stop.code is None else f": exit code {stop.code}"


def load(case: Case | Refusal) -> Plan:
    """The plan of a case, as the loader reads it."""
    live = str(isinstance(case, Case) and case.live).lower()
    text = f"{HEAD.format(live=live)}steps:\n{case.plan}"
    more = {name: content.encode() for name, content in case.more.items()}
    return load_plan("repair.yaml", FrozenReader({"repair.yaml": text.encode(), **more}))


def play(case: Case) -> Played:
    """Carry the case out, from `apply` to its last move."""
    plan = load(case)
    environment = inline_environment(plan)
    assert environment is not None
    bound = bind(plan, environment, dict(case.inputs))
    order = Order(bound.plan, environment, bound.inputs)
    shop = _shop(case)
    run = _memory_run(case, order, environment, shop)
    played = Played(order, run, shop)
    with _signals_kept():
        _execute(played, "apply")
        for move in case.moves:
            _make(played, move)
    return played


def _shop(case: Case) -> Shop:
    shop = Shop(facts=dict(case.things), takes_s=dict(case.takes_s), unreachable=set(case.unreachable))
    shop.services.update(case.services)
    for where, fates in case.meets.items():
        step, operation = where.split(":")
        shop.meets(step, operation, *fates)
    return shop


def _memory_run(case: Case, order: Order, environment: Environment, shop: Shop) -> MemoryRun:
    ended: set[str] = set()
    told = Condition()
    said = dict(case.stops)
    stopped = Event()
    shop.stop = lambda use_id, grace_s: stopped.set()  # type: ignore[method-assign]  # what a second interrupt ends

    def watch(_record: Record, event: events.Event) -> None:
        if isinstance(event, StepSucceeded | StepFailed | StepUnknown):
            with told:
                ended.add(event.step)
                told.notify_all()

    def before(operation: Operation, use: Use) -> None:
        where = f"{use.id.split('/')[0]}:{operation.name}"
        if (step := case.waits.get(where)) is not None:
            with told:
                assert told.wait_for(lambda: step in ended, 30), f"{step} did not end"
        count = said.pop(where, 0)
        for _ in range(count):
            signal.raise_signal(signal.SIGINT)
        assert count < 2 or stopped.wait(30)

    shop.seen = before
    return MemoryRun(
        steps=order.plan.steps,
        world=shop,
        inputs=order.inputs,
        live=case.live,
        parallel=case.parallel,
        plan=order.plan,
        environment=environment,
        actions=SHOP,
        on_record=watch,
    )


def _make(played: Played, move: Move) -> None:
    run = played.run
    run.after_kill()
    match move:
        case Resume(skip, one_by_one, stopped):
            run.parallel = 1 if one_by_one else run.parallel
            run.prepare_loop = Loop.stop if stopped else lambda loop: None
            _execute(played, " ".join(("resume", *(f"--skip {step}" for step in skip))), skip)
        case Resolve(step, outcome, outputs):
            run.resolve(step, outcome, **outputs)
            _look(played, f"resolve {step} --as {outcome}")
        case Answer(step, fields):
            run.tell(StepConfirmed(step, "ada", "", dict(fields)))
            _look(played, f"confirm {step}")
        case Approve(step, by):
            question = played.state.step(step).question
            assert question is not None
            run.tell(StepApproved(step, by, question.subject))
            _look(played, f"approve {step}")
        case Abandon():
            spent = round(played.shop.clock.seconds, 6)
            run.tell(RunFinished(RunStatus.ABANDONED.value, spent, 0, by="kim", reason="done by hand"))
            _look(played, "abandon")
        case Meanwhile(things, services, unreachable):
            played.shop.facts.update(things)
            played.shop.services.update(services)
            played.shop.unreachable = set(unreachable)
        case _:
            assert_never(move)


def _execute(played: Played, command: str, skip: tuple[str, ...] = ()) -> None:
    run = played.run
    before = len(run.events)
    try:
        code: int | None = int(
            run.apply() if command == "apply" else run.resume(dict.fromkeys(skip, "it is done by hand"))
        )
    except Crash:
        code = None
    begun = tuple(_begun(run.events[before:]))
    run.after_kill()
    _look(played, command, code, begun)


def _begun(told: list[events.Event]) -> Iterator[str]:
    """The steps that were begun or gone on with; an attempt after another one is the same."""
    retried: set[str] = set()
    for event in told:
        if isinstance(event, events.StepRetried):
            retried.add(event.step)
        elif isinstance(event, StepStarted) and event.step not in retried:
            yield event.step


def _look(played: Played, after: str, code: int | None = None, begun: tuple[str, ...] = ()) -> None:
    """What the next process finds, and `runbook show` says of it."""
    ledger, journal = played.run.opened(played.run.graph)
    journal.close()
    played.run.after_kill()
    played.run.state = state = ledger.run
    status = RunStatus.INTERRUPTED if state.status is RunStatus.RUNNING else state.status
    played.stops.append(Stop(after, code, state, status, show(played.order, state, status), begun))


def show(order: Order, state: Run, status: RunStatus) -> str:
    """The page of `runbook show`."""
    held = holds(RUN, order, state, SHOP, over=status.final)
    lines = as_lines(RUN, state, status, {}, results(RUN, order, state), held, known_of(order, state))
    return "".join(f"{str(line).rstrip()}\n" for line in lines)


def known_of(order: Order, state: Run) -> Known:
    """What the plan tells beside the run."""
    return known(order.plan, state, SHOP, holds=holds(RUN, order, state, SHOP, over=True))


@contextmanager
def _signals_kept() -> Iterator[None]:
    """A run that was told to stop leaves further signals ignored: its process is about to end, and this one isn't."""
    before: Mapping[signal.Signals, object] = {number: signal.getsignal(number) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what getsignal gave
