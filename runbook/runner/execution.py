"""An execution: from a plan that is ready to the last record, the first time and after a crash.

Owns :func:`apply` and :func:`resume`. Promises: nothing is created before what can be foreseen was checked (confirmations,
targets); ``engine.lock`` is held throughout, the run and its targets are locked before step one; whatever ends the execution is
in the journal, or the journal itself is said to be at fault.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import cast

from runbook import __version__
from runbook.engine.events import RunCreated, RunInterrupted, RunResumed, RunWaiting, StepSkipped, parse
from runbook.engine.run import Run, begin, fold
from runbook.engine.transitions import RunStatus, Status
from runbook.errors import Busy, ExitCode, InvalidInput, JournalFault, Problem, UsageFault
from runbook.graph import Graph, build
from runbook.host import Host
from runbook.journal.clock import SystemClock, boot_id
from runbook.journal.faults import begin_fault
from runbook.journal.layout import RunDir, make_run, new_run_id
from runbook.journal.local import LocalJournal
from runbook.journal.locks import Lock, LockOwner, target_lock_path
from runbook.operation import Connection, Json
from runbook.plan.environment import Environment
from runbook.plan.inputs import bind
from runbook.plan.model import Plan
from runbook.runner.abreast import abreast
from runbook.runner.claim import Claim
from runbook.runner.ending import Ending, exit_code, measure, objectives_json
from runbook.runner.frozen import freeze, refuse_another, thaw
from runbook.runner.ledger import Ledger, Watch
from runbook.runner.loop import Loop
from runbook.runner.setting import AnyAction, Ask, Setting
from runbook.runner.targets import claims, compare, excused
from runbook.runner.watched import named_secrets
from runbook.secret import Redactor
from runbook.system import Postgres, Redis
from runbook.transports.outcome import Progress
from runbook.transports.world import World
from runbook.units import show_instant

GRACE_S = 10.0
"""Between TERM and KILL, after the second interrupt."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What an execution needs of whoever called it: state directory, catalogue, who is there, who watches.

    ``opened`` is told the run's id and graph before anything begins; ``stopping`` the number of signals that came so far,
    from the signal handler.
    """

    state: Path
    actions: Mapping[str, AnyAction]
    operator: str
    ask: Ask
    watch: Watch
    progress: Callable[[str, str, Progress], None]
    redactor: Redactor
    opened: Callable[[str, Graph], None]
    parallel: int = 4
    stopping: Callable[[int], None] = lambda _count: None


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run: a bound plan (``foreach`` expanded), its environment and its effective inputs.

    ``root`` is the directory that the names of the plan's files are relative to, where they came from files.
    """

    plan: Plan
    environment: Environment
    inputs: Mapping[str, Json]
    root: str = ""


def apply(order: Order, caller: Caller) -> Ending:
    """Run a plan from its beginning. Raises Refused, Busy, JournalFault, InvalidInput."""
    clock = SystemClock()
    now = clock.now()
    graph = build(order.plan.steps)
    caller.redactor.disclose(*public_texts(order))
    run = make_run(caller.state, new_run_id(order.plan.name, now=now, suffix=os.urandom(2).hex()))
    with _engine(run, clock) as world_at:
        world = world_at(caller.redactor, order.environment)
        try:
            world.watch_for(named_secrets(order.plan, order.environment))
            targets = claims(world.look, order.plan, caller.actions, order.environment.systems)
            caller.redactor.disclose(*public_identities(targets))
            _lock(world, run, targets, clock, order.environment)
            _freeze(run, order)
        except BaseException:
            world.close()
            _discard(run)
            raise
        header = RunCreated(
            plan=order.plan.name,
            digest=order.plan.digest,
            environment=order.environment.name,
            live=order.environment.live,
            operator=caller.operator,
            started_at=show_instant(now),
            inputs=dict(order.inputs),
            targets={claim.system: claim.identity for claim in targets},
            tool=__version__,
            objectives=objectives_json(order.plan.objectives),
        )
        with LocalJournal.create(run.path, run=run.run, clock=clock, boot=boot_id()) as journal:
            caller.opened(run.run, graph)
            ledger = Ledger(journal, begin(graph, header), caller.watch, redactor=caller.redactor, first=header)
            ledger.commit()
            setting = _setting(order, graph, caller, world, run, clock, header)
            with abreast(ledger):
                return carry_out(setting, ledger, world, Loop(setting, ledger))


def resume(run: RunDir, caller: Caller, skip: Mapping[str, str]) -> Ending:
    """Go on with a run from its journal. ``skip``: reason by step. Raises as :func:`apply`, and UsageFault for a finished run."""
    clock = SystemClock()
    with (
        _engine(run, clock) as world_at,
        LocalJournal.open(run.path, run=run.run, clock=clock, boot=boot_id()) as journal,
    ):
        events = [parse(cast(Mapping[str, Json], record.payload)) for record in journal.records]
        header = events[0] if events else None
        if not isinstance(header, RunCreated):
            raise JournalFault(_never_created(run))
        frozen = thaw(run)
        refuse_another(frozen, header.digest)
        bound = bind(frozen.plan, frozen.environment, header.inputs)
        order = Order(bound.plan, frozen.environment, bound.inputs)
        caller.redactor.disclose(*public_texts(order))
        graph = build(order.plan.steps)
        state = fold(graph, events)
        if state.status.final:
            raise UsageFault(
                Problem("E263", "the run is finished", f"{run.run} {state.status}", f"runbook show {run.run}")
            )
        _refuse_skips(state, skip)
        world = world_at(caller.redactor, order.environment)
        try:
            world.watch_for(named_secrets(order.plan, order.environment))
            now = claims(world.look, order.plan, caller.actions, order.environment.systems)
            caller.redactor.disclose(*public_identities(now))
            half_done = excused(state, order.plan, caller.actions, order.environment.systems)
            compare({**header.targets, **dict(state.rebound)}, now, half_done)
            _lock(world, run, now, clock, order.environment)
            caller.opened(run.run, graph)
            ledger = Ledger(journal, state, caller.watch, redactor=caller.redactor)
            ledger.commit(RunResumed(caller.operator, journal.writer.epoch))
            ledger.commit(*(StepSkipped(step, reason, caller.operator) for step, reason in skip.items()))
            setting = _setting(order, graph, caller, world, run, clock, header)
            world.was_on(_hosts(order.environment))
            with abreast(ledger):
                return carry_out(setting, ledger, world, Loop(setting, ledger))
        finally:
            world.close()


def _never_created(run: RunDir) -> Problem:
    return Problem(
        "E714",
        "the journal holds no record",
        f"{run.run} was stopped before its first record was durable: nothing of it ran.",
        "apply the plan again; `runbook runs` lists the runs that began",
    )


def public_texts(order: Order) -> tuple[str, ...]:
    """What stands in clear beside the journal, so that it can't be a secret."""
    sources = (*order.plan.sources, *order.environment.sources)
    return (*(source.text for source in sources), json.dumps(dict(order.inputs), ensure_ascii=False))


def public_identities(targets: Iterable[Claim]) -> tuple[str, ...]:
    """What the targets say of themselves: paths and names. A resume compares them: a password must not mask a part of one."""
    return tuple(json.dumps(claim.identity, ensure_ascii=False) for claim in targets)


def _refuse_skips(run: Run, skip: Mapping[str, str]) -> None:
    """Raise UsageFault for a step that isn't there, is done, or of which nobody knows how it ended."""
    absent = [step for step in skip if step not in run.graph.steps]
    if absent:
        raise UsageFault(
            Problem("E264", "the run has no such step", ", ".join(absent), f"its steps: {', '.join(run.graph.listed)}")
        )
    skippable = (Status.PENDING, Status.WAITING, Status.FAILED, Status.CANCELLED)
    for step in skip:
        status = run.step(step).status
        if status not in skippable:
            unsure = status in (Status.RUNNING, Status.UNKNOWN)
            fix = "`runbook resume`, then `runbook resolve` if it stays unknown" if unsure else "leave it out of --skip"
            raise UsageFault(Problem("E265", "the step can't be skipped", f"{step} is {status}", fix))


def carry_out(setting: Setting, ledger: Ledger, world: World, loop: Loop) -> Ending:
    """Go from where the ledger stands to the last record of this execution. Raises JournalFault, its stop recorded if it can be."""
    try:
        with _signals(loop, world, ledger, setting.stopping) as caught:
            status = loop.go()
            if status.final:
                world.sweep()  # before the last record: nobody goes on with a run that has it
            return _last_record(setting, ledger, status, caught)
    except JournalFault:
        _record_stop(ledger)
        raise
    finally:
        world.close()


def _last_record(setting: Setting, ledger: Ledger, status: RunStatus, caught: _Caught) -> Ending:
    missed = False
    if status is RunStatus.INTERRUPTED:
        ledger.commit(RunInterrupted(caught.name, caught.count > 1))
    elif status is RunStatus.WAITING:
        run = ledger.run  # as people are shown them: a set has an order of its own in every process
        ledger.commit(RunWaiting(tuple(step for step in run.graph.listed if step in run.waiting)))
    else:
        finished = measure(ledger.run, setting.plan, status, setting.clock.now())
        ledger.commit(finished)
        missed = finished.exit_code == ExitCode.MISSED
    return Ending(setting.run, status, exit_code(ledger.run, status, missed=missed), ledger.run)


def _record_stop(ledger: Ledger) -> None:
    """Say in the journal that it stopped, if the disk lets us; the fault itself is what is shown."""
    try:
        ledger.last(RunInterrupted("journal fault"))
    except JournalFault:
        return


@dataclass(slots=True)
class _Caught:
    name: str = ""
    count: int = 0


@contextmanager
def _signals(loop: Loop, world: World, ledger: Ledger, told: Callable[[int], None]) -> Iterator[_Caught]:
    """The first INT, TERM or HUP lets what runs finish; the second ends it.

    Whoever asked for a stop gets it: signals that come while the last words are said don't break them off.
    """
    caught = _Caught()

    def handle(number: int, _frame: FrameType | None) -> None:
        caught.name = signal.Signals(number).name
        caught.count += 1
        loop.stop()
        told(caught.count)
        if caught.count == 2:
            # not in the handler itself: the main thread may hold what stopping needs
            Thread(target=_stop_all, args=(world, tuple(ledger.run.active)), daemon=True).start()

    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in wanted}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if caught.count else handler)


def _stop_all(world: World, steps: tuple[str, ...]) -> None:
    for step in steps:
        world.stop(step, GRACE_S)


@contextmanager
def _engine(run: RunDir, clock: SystemClock) -> Iterator[Callable[[Redactor, Environment], World]]:
    """Hold ``engine.lock``; give a way to make the world once it is held."""
    owner = LockOwner.me(run=run.run, holds=f"the engine of run {run.run}", now=clock.now())
    with Lock.take(run.engine_lock, owner=owner):
        yield lambda redactor, environment: World(
            run.path, run=run.run, redactor=redactor, connections=_connections(environment)
        )


def _hosts(environment: Environment) -> tuple[Host, ...]:
    """Where an earlier engine of the run may have left something."""
    systems = environment.systems.values()
    return tuple(system.host for system in systems if isinstance(system, Postgres | Redis))


def _connections(environment: Environment) -> tuple[Connection, ...]:
    """Where a fence looks for backends that killed client programs left behind."""
    return tuple(_maintenance(system) for system in environment.systems.values() if isinstance(system, Postgres))


def _maintenance(cluster: Postgres) -> Connection:
    return cluster.connection(application="runbook", database="postgres")


def _lock(world: World, run: RunDir, targets: tuple[Claim, ...], clock: SystemClock, environment: Environment) -> None:
    """Lock the run and each target, under the supervisor, which outlives this engine."""
    now = clock.now()
    world.lock(run.run_lock, exclusive=True, owner=LockOwner.me(run=run.run, holds=f"the run {run.run}", now=now))
    for claim in targets:
        _lock_target(world, run, claim, clock, environment)


def _lock_target(
    world: World, run: RunDir, claim: Claim, clock: SystemClock, environment: Environment, *, anew: bool = False
) -> None:
    """On this machine by a file; a cluster in itself as well, for runs of other machines.

    ``anew``: in the middle of a run. Who is in the way of a cluster then is told by the next change, which does not begin.
    """
    owner = LockOwner.me(run=run.run, holds=f"the target {claim.system}", now=clock.now())
    world.lock(target_lock_path(claim.key), exclusive=claim.changed, owner=owner)
    system = environment.systems[claim.system]
    if isinstance(system, Postgres):
        with suppress(Busy) if anew else nullcontext():
            world.lock_cluster(_maintenance(system), exclusive=claim.changed, owner=owner, anew=anew)


def _freeze(run: RunDir, order: Order) -> None:
    try:
        freeze(run, order.plan, order.environment, root=order.root)
    except OSError as error:
        raise begin_fault(error, "freezing the plan", run.path) from error


def _discard(run: RunDir) -> None:
    """Take away the directory of a run that never began: it has no journal."""
    import shutil

    if not run.journal.exists():
        shutil.rmtree(run.path, ignore_errors=True)


def _setting(
    order: Order, graph: Graph, caller: Caller, world: World, run: RunDir, clock: SystemClock, header: RunCreated
) -> Setting:
    missing = [step.uses for step in order.plan.steps if step.uses not in caller.actions]
    if missing:
        raise InvalidInput(Problem("E220", f"unknown action '{missing[0]}'", fix="`runbook actions` lists them"))
    return Setting(
        plan=order.plan,
        graph=graph,
        environment=order.environment,
        inputs=order.inputs,
        actions=caller.actions,
        performer=world,
        look=world.look,
        clock=clock,
        sleep=time.sleep,
        directory=str(run.path),
        run=run.run,
        started_at=header.started_at,
        operator=caller.operator,
        ask=caller.ask,
        progress=caller.progress,
        parallel=caller.parallel,
        stopping=caller.stopping,
        rebind=lambda claim: _lock_target(world, run, claim, clock, order.environment, anew=True),
    )
