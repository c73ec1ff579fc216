"""A run as its directory tells it: the frozen plan, the fold of its records, and what is wrong with them.

Owns :func:`read_history`, which ``show``, ``logs`` and a person's word begin with. Reads only, takes no lock. Promises: a damaged
journal is folded as far as its chain holds, and its faults are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from runbook.engine.decide import open_holds
from runbook.engine.events import Event, RunCreated, parse
from runbook.engine.run import Run, fold
from runbook.engine.transitions import RunStatus
from runbook.errors import InvalidInput, JournalFault, Problem
from runbook.graph import Graph, build
from runbook.journal.layout import RunDir
from runbook.journal.local import read
from runbook.journal.locks import LockOwner, holder
from runbook.journal.record import Record
from runbook.operation import Json
from runbook.plan.inputs import bind
from runbook.plan.render import render_outputs
from runbook.plan.scope import Values
from runbook.report.held import Hold
from runbook.report.known import NOTHING, Known
from runbook.runner.execution import Order
from runbook.runner.frozen import thaw


@dataclass(frozen=True, slots=True)
class History:
    """What is known of a run. ``problems`` are the journal's; ``later`` are whole records after a damage.

    ``engine`` is the process that works on it now.
    """

    run: RunDir
    order: Order
    graph: Graph
    state: Run
    records: tuple[Record, ...]
    later: int
    problems: tuple[Problem, ...]
    engine: LockOwner | None

    @property
    def status(self) -> RunStatus:
        """The run's status; a run whose engine is gone is interrupted."""
        if self.engine is not None:
            return RunStatus.RUNNING
        return RunStatus.INTERRUPTED if self.state.status is RunStatus.RUNNING else self.state.status


def read_history(run: RunDir) -> History:
    """Read a run. :class:`JournalFault` where not even its beginning can be read."""
    engine = holder(run.engine_lock)
    reading = read(run.path)
    problems: tuple[Problem, ...] = ()
    try:
        reading.refuse_damage(run.run)
    except JournalFault as fault:
        problems = fault.problems
    if not reading.records:
        raise JournalFault(*problems or (_empty(run),))
    order, graph, state = told(run, reading.records)
    return History(run, order, graph, state, reading.records, len(reading.later), problems, engine)


def told(run: RunDir, records: tuple[Record, ...]) -> tuple[Order, Graph, Run]:
    """The run that these records tell, with its frozen plan bound as at its beginning."""
    events = [event_of(record) for record in records]
    header = events[0]
    if not isinstance(header, RunCreated):
        raise JournalFault(
            Problem(
                "E711", "the journal does not begin with the run's creation", str(run.journal), f"head -1 {run.journal}"
            )
        )
    try:
        frozen = thaw(run)
        bound = bind(frozen.plan, frozen.environment, header.inputs)
    except (OSError, ValueError, LookupError) as error:
        raise _not_thawed(run, f"{type(error).__name__}: {error}") from None
    except InvalidInput as error:
        raise _not_thawed(run, f"{error.problems[0].summary}: {error.problems[0].detail}") from None
    graph = build(bound.plan.steps)
    return Order(bound.plan, frozen.environment, bound.inputs), graph, fold(graph, events)


def results(run: str, order: Order, state: Run) -> dict[str, Json]:
    """The plan's outputs by now, null where no step gave them. A run that ended has ended: a fault in them is told among them."""
    header, environment = state.header, order.environment
    facts: dict[str, Json] = {"id": run, "started_at": header.started_at}
    values = Values(order.inputs, environment.public(), state.outputs, facts, environment.facts())
    try:
        return render_outputs(order.plan, values)
    except InvalidInput as fault:
        return {"outputs": f"{fault.problems[0].summary}: {fault.problems[0].detail}"}


def held(run: str, order: Order, state: Run, status: RunStatus) -> tuple[Hold, ...]:
    """What the run holds by now; with what its releases would do where it is over."""
    if not open_holds(state):
        return ()
    from runbook.catalogue import CATALOGUE
    from runbook.runner.by_hand import holds

    return holds(run, order, state, CATALOGUE, over=status.final)


def known(history: History) -> Known:
    """What the plan tells of the steps of a run that can be gone on with, and whether a program of it lives: what the effects of
    commands rest on.
    """
    if history.status.final or history.engine is not None:
        return NOTHING
    from runbook.catalogue import CATALOGUE
    from runbook.report import known as page
    from runbook.runner.by_hand import holds

    order, state = history.order, history.state
    left = holds(history.run.run, order, state, CATALOGUE, over=True) if open_holds(state) else ()
    return page.known(order.plan, state, CATALOGUE, holds=left, alive=_at_work(history.run))


def _at_work(run: RunDir) -> frozenset[str]:
    """The steps of which a program lives, as the supervisors' records and the processes of this moment show it."""
    from runbook.transports.supervisor.records import State, read_children

    try:
        children = read_children(run.path)
    except JournalFault:
        return frozenset()  # a resume says what is wrong with them
    running = (child.id for child in children.values() if child.state is State.RUNNING)
    return frozenset(operation.partition("/")[0].removesuffix("~back") for operation in running)


def event_of(record: Record) -> Event:
    """The event that a record carries."""
    return parse(cast(Mapping[str, Json], record.payload))


def _not_thawed(run: RunDir, why: str) -> JournalFault:
    detail = f"{run.frozen}: {why}\nThe journal itself can be read: {run.journal}"
    fix = "put the folder back from a copy, or look at the journal with jq"
    return JournalFault(Problem("E721", "the run's frozen plan can't be read", detail, fix))


def _empty(run: RunDir) -> Problem:
    detail = f"{run.path} was made, and its run never began: nothing was done."
    return Problem("E714", "the journal holds no record", detail, f"rm -r {run.path}")
