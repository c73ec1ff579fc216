"""A run as the fold of its events.

Owns :class:`Run`, :class:`StepRun` and :func:`advance`. Promises: ``advance`` is pure and total (an event that can't follow
raises :class:`runbook.errors.Bug`, and the run stops); its cost does not grow with the number of steps, but for a resume, which
looks at each step once. Persistent maps come from rpds, so that an old run stays what it was.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, assert_never

from rpds import HashTrieMap, HashTrieSet, Queue

from runbook.engine.again import left_open, put_back, satisfies, wholly_again
from runbook.engine.events import (
    CONFIRM,
    Event,
    JsonObject,
    OperationFinished,
    OperationNoted,
    OperationStarted,
    RunCreated,
    RunFinished,
    RunInterrupted,
    RunResumed,
    RunWaiting,
    StepApproved,
    StepCancelled,
    StepConfirmed,
    StepEvent,
    StepFailed,
    StepPlanned,
    StepResolved,
    StepRetried,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepUndone,
    StepUnknown,
    StepWaiting,
    TargetRebound,
)
from runbook.engine.step_run import OperationRun, StepRun
from runbook.engine.transitions import TRANSITIONS, RunStatus, Status
from runbook.errors import Bug
from runbook.graph import Graph
from runbook.operation import Json
from runbook.plan.model import OnFailure, Section


class Run(NamedTuple):
    """The whole state of a run. ``blocked`` counts the predecessors that a step still waits for; ``ready`` is per section.

    ``unsettled`` are those of ``unknown`` that this execution has still to look at; ``settling`` those that the journal called
    unknown and of which it is being found out what remains.
    ``outputs`` are those of steps that gave any; ``rebound`` the identity of targets that a step replaced.
    """

    graph: Graph
    header: RunCreated
    steps: HashTrieMap[str, StepRun]
    blocked: HashTrieMap[str, int]
    ready: HashTrieMap[Section, Queue[str]]
    status: RunStatus = RunStatus.RUNNING
    active: HashTrieSet[str] = HashTrieSet()
    failed: HashTrieSet[str] = HashTrieSet()
    continued: HashTrieSet[str] = HashTrieSet()
    unknown: HashTrieSet[str] = HashTrieSet()
    unsettled: HashTrieSet[str] = HashTrieSet()
    settling: HashTrieSet[str] = HashTrieSet()
    waiting: HashTrieSet[str] = HashTrieSet()
    outputs: HashTrieMap[str, JsonObject] = HashTrieMap()
    rebound: HashTrieMap[str, Json] = HashTrieMap()
    finished: RunFinished | None = None
    epoch: int = 1

    def step(self, step: str) -> StepRun:
        """The state of a step by its id."""
        return self.steps[step]


def begin(graph: Graph, header: RunCreated) -> Run:
    """A run of which nothing has happened but its creation."""
    steps = HashTrieMap({step: StepRun() for step in graph.order})
    return _reckon(Run(graph, header, steps, HashTrieMap(), HashTrieMap()))


def fold(graph: Graph, events: list[Event]) -> Run:
    """The run that these events tell, the first of which creates it."""
    first = events[0] if events else None
    if not isinstance(first, RunCreated):
        raise Bug("a journal does not begin with run.created")
    run = begin(graph, first)
    for event in events[1:]:
        run = advance(run, event)
    return run


def advance(run: Run, event: Event) -> Run:
    """The run after ``event``."""
    match event:
        case RunCreated():
            raise Bug("run.created comes twice")
        case RunResumed():
            return _resume(run, event)
        case RunWaiting():
            return run._replace(status=RunStatus.WAITING)
        case RunInterrupted():
            return run._replace(status=RunStatus.INTERRUPTED)
        case RunFinished():
            return run._replace(status=RunStatus(event.status), finished=event)
        case TargetRebound():
            return run._replace(rebound=run.rebound.insert(event.system, event.identity))
        case _:
            return _advance_step(run, event)


def _advance_step(run: Run, event: StepEvent) -> Run:
    before = run.steps.get(event.step)
    if before is None:
        raise Bug(f"{event.event} names the step {event.step!r}, which the plan hasn't")
    status = TRANSITIONS.get((before.status, type(event)))
    if status is None:
        raise Bug(f"{event.event} can't follow: the step {event.step} is {before.status}")
    after = _told(before._replace(status=status), event)
    if after.status is Status.SUCCEEDED and (_released_early(run, event.step) or _ended_early(run, event.step)):
        after = wholly_again(after)
    run = _let_go(run._replace(steps=run.steps.insert(event.step, after)), event)
    if after.outputs is not None and after.outputs is not before.outputs:
        run = run._replace(outputs=run.outputs.insert(event.step, after.outputs))
    run = _settling(run, event, before)
    if before.status is not after.status:
        return _moved(run, event.step, before.status, after.status)
    if isinstance(event, StepUnknown):  # it was looked at, and is as unknown as before: not again in this execution
        return run._replace(unsettled=run.unsettled.discard(event.step))
    return run


def _settling(run: Run, event: StepEvent, before: StepRun) -> Run:
    """Which steps are as good as unknown, though they are gone on with: from the look at one until it is known what remains.

    What was cut off is not among them: it may still be at work, and others needn't wait for it.
    """
    if isinstance(event, StepStarted) and before.status is Status.UNKNOWN and before.problem is not None:
        return run._replace(settling=run.settling.insert(event.step))
    looking = isinstance(event, StepStarted | OperationNoted | OperationFinished)
    if event.step in run.settling and not looking:
        return run._replace(settling=run.settling.discard(event.step))
    return run


def _let_go(run: Run, event: StepEvent) -> Run:
    """The run with a hold no longer in force, where the event says that it was released: by its release, or by hand."""
    match event:
        case StepSucceeded() | StepResolved(outcome="done"):
            pass
        case StepSkipped() if event.by:
            pass
        case _:
            return run
    hold = run.graph.steps[event.step].releases
    if hold not in run.steps:
        return run
    return run._replace(steps=run.steps.insert(hold, run.steps[hold]._replace(in_force=False)))


def _released_early(run: Run, step: str) -> bool:
    """Whether the step releases a hold that has still to be taken again: then it has to release it once more, afterwards."""
    hold = run.graph.steps[step].releases
    return hold in run.steps and run.steps[hold].status is Status.PENDING


def _ended_early(run: Run, step: str) -> bool:
    """Whether the step is one of a run's end, settled by a resume that has still steps to do: then the end comes once more."""
    if run.graph.steps[step].section is Section.STEPS:
        return False
    releases = frozenset(run.graph.releases().values())  # one that waits until the end is known
    ahead = (name for name in run.graph.section(Section.STEPS) if name not in releases)
    return any(run.steps[name].status in (Status.PENDING, Status.UNKNOWN) for name in ahead)


def _told(step: StepRun, event: StepEvent) -> StepRun:
    """The step with what the event says of it; ``status`` is already the table's."""
    match event:
        case StepStarted():
            return _started(step, event)
        case StepPlanned():
            return _planned(step, event)
        case OperationStarted():
            others = {name: one for name, one in step.operations.items() if name != event.operation}
            operations = {**others, event.operation: OperationRun(event.id, event.form)}
            touched, in_force = step.touched or event.changes, step.in_force or event.changes
            return step._replace(operations=operations, touched=touched, in_force=in_force)
        case OperationNoted():
            noted = step.operations[event.operation]
            noted = replace(noted, notes=(*noted.notes, event.fields))
            return step._replace(operations={**step.operations, event.operation: noted})
        case OperationFinished():
            known = step.operations.get(event.operation, OperationRun(""))
            return step._replace(operations={**step.operations, event.operation: replace(known, finished=event)})
        case StepSucceeded():
            return step._replace(outputs=event.outputs, duration_s=event.duration_s, problem=None, in_force=True)
        case StepFailed():
            return step._replace(problem=event.problem, refused=event.refused, duration_s=event.duration_s)
        case StepRetried() | StepUnknown():
            return step._replace(problem=event.problem)
        case StepSkipped():
            return step._replace(reason=event.reason, skipped_by=event.by)
        case StepCancelled():
            return step._replace(reason=event.because)
        case StepWaiting():
            if event.kind == CONFIRM:
                return step._replace(question=event, consent=None)
            # a part of the step: the word that it may begin still holds
            return step._replace(question=event, answer=None)
        case StepConfirmed():
            consents = step.question is not None and step.question.kind == CONFIRM
            told = step._replace(consent=event) if consents else step._replace(answer=event)
            return told._replace(tries=0)
        case StepApproved():
            return _approved(step, event)
        case StepResolved():
            if event.outcome == "done":
                return step._replace(outputs=event.outputs, reason=event.reason, in_force=True)
            return step._replace(status=Status.PENDING, tries=0, operations=_ended_well(step), reason=event.reason)
        case StepUndone():
            return step._replace(in_force=False)
        case _:
            assert_never(event)


def _started(step: StepRun, event: StepStarted) -> StepRun:
    begun = step._replace(attempt=event.attempt, tries=step.tries + 1, round=0, problem=None)
    if event.resumed:
        return begun
    return begun._replace(operations=left_open(step), earlier={**step.earlier, **_ended_well(step)})


def _planned(step: StepRun, event: StepPlanned) -> StepRun:
    digests = frozenset(str(operation["digest"]) for operation in event.operations)
    approved = step.approved.get(event.round)
    if approved is None or step.renewed:
        approved = (approved or frozenset()) | digests
    return step._replace(
        round=event.round,
        approved={**step.approved, event.round: approved},
        pinned=step.pinned or event.pinned,
        guards=step.guards or event.guards,
        renewed=False,
    )


def _ended_well(step: StepRun) -> dict[str, OperationRun]:
    """The operations that succeeded: where nobody can see an effect, a new attempt need not repeat them."""
    known = step.operations.items()
    return {name: one for name, one in known if one.finished is not None and one.finished.outcome == "succeeded"}


def _approved(step: StepRun, event: StepApproved) -> StepRun:
    approvals = (*(given for given in step.approvals if given.by != event.by), event)
    question = step.question
    valid = [given for given in approvals if question and given.subject == question.subject]
    enough = question is not None and len(valid) >= question.needs
    return step._replace(approvals=approvals, status=Status.PENDING if enough else Status.WAITING)


def _moved(run: Run, step: str, before: Status, after: Status) -> Run:
    """The run's own books after a step went from one status to another."""
    run = _leave(run, step, before)
    match after:
        case Status.PENDING:
            return _enqueue(run, step) if run.blocked[step] == 0 else run
        case Status.RUNNING:
            run = run._replace(active=run.active.insert(step), unsettled=run.unsettled.discard(step))
            return run._replace(ready=_dequeued(run, step))
        case Status.WAITING:
            return run._replace(waiting=run.waiting.insert(step), ready=_dequeued(run, step))
        case Status.UNKNOWN:
            return run._replace(unknown=run.unknown.insert(step), unsettled=run.unsettled.discard(step))
        case Status.FAILED:
            run = run._replace(ready=_dequeued(run, step))
            if run.graph.steps[step].on_failure is OnFailure.CONTINUE:
                return _satisfy(run._replace(continued=run.continued.insert(step)), step)
            run = run._replace(failed=run.failed.insert(step))
            in_finally = run.graph.steps[step].section is Section.FINALLY
            return _satisfy(run, step) if in_finally else run
        case Status.SUCCEEDED:
            return _satisfy(run._replace(ready=_dequeued(run, step)), step)
        case Status.SKIPPED if before is Status.FAILED:
            return _reckon(run)  # its failure may have satisfied its successors already: not once more
        case Status.SKIPPED:
            run = run._replace(ready=_dequeued(run, step))
            return _satisfy(run, step) if run.blocked[step] == 0 else run
        case Status.CANCELLED:
            return run._replace(ready=_dequeued(run, step))
        case Status.UNDONE:
            return run
        case _:
            assert_never(after)


def _leave(run: Run, step: str, status: Status) -> Run:
    match status:
        case Status.RUNNING:
            return run._replace(active=run.active.discard(step))
        case Status.WAITING:
            return run._replace(waiting=run.waiting.discard(step))
        case Status.UNKNOWN:
            return run._replace(unknown=run.unknown.discard(step), unsettled=run.unsettled.discard(step))
        case Status.FAILED:
            return run._replace(failed=run.failed.discard(step), continued=run.continued.discard(step))
        case _:
            return run


def _enqueue(run: Run, step: str) -> Run:
    section = run.graph.steps[step].section
    queue = run.ready.get(section) or Queue()
    return run._replace(ready=run.ready.insert(section, queue.enqueue(step)))


def _dequeued(run: Run, step: str) -> HashTrieMap[Section, Queue[str]]:
    """Take what no longer waits to begin from the front of the queue; entries further back are passed over later."""
    section = run.graph.steps[step].section
    queue = run.ready.get(section) or Queue()
    while len(queue) and run.steps[next(iter(queue))].status is not Status.PENDING:
        queue = queue.dequeue()  # type: ignore[call-arg]  # the stub of rpds asks for a value that dequeue doesn't take
    return run.ready.insert(section, queue)


def _satisfy(run: Run, step: str) -> Run:
    todo = [step]
    while todo:
        for follower in run.graph.after[todo.pop()]:
            left = run.blocked[follower] - 1
            run = run._replace(blocked=run.blocked.insert(follower, left))
            if left:
                continue
            if run.steps[follower].status is Status.PENDING:
                run = _enqueue(run, follower)
            elif run.steps[follower].status is Status.SKIPPED:  # ahead of its turn, which comes now
                todo.append(follower)
    return run


def satisfied(run: Run, step: str) -> bool:
    """Whether the step's successors may begin, as far as it is concerned.

    One that a person skipped ahead of its turn stands between what precedes and what follows it: it doesn't let the latter by.
    """
    ahead = run.steps[step].status is Status.SKIPPED and run.blocked[step] > 0
    return not ahead and satisfies(run.graph, run.steps, step)


def _resume(run: Run, event: RunResumed) -> Run:
    steps = put_back(run.graph, run.steps)
    return _reckon(run._replace(steps=steps, status=RunStatus.RUNNING, epoch=event.at_epoch, finished=None))


def _reckon(run: Run) -> Run:
    """The books of a run, from its steps alone."""
    blank: HashTrieSet[str] = HashTrieSet()
    by_status: dict[Status, list[str]] = {status: [] for status in Status}
    for step in run.graph.order:
        by_status[run.steps[step].status].append(step)
    continues = [step for step in by_status[Status.FAILED] if satisfies(run.graph, run.steps, step)]
    blocked = _blocked(run)
    queues: dict[Section, list[str]] = {section: [] for section in Section}
    for step in by_status[Status.PENDING]:
        if blocked[step] == 0:
            queues[run.graph.steps[step].section].append(step)
    return run._replace(
        blocked=HashTrieMap(blocked),
        ready=HashTrieMap({section: Queue(steps) for section, steps in queues.items()}),
        active=blank.update(by_status[Status.RUNNING]),
        unknown=blank.update(by_status[Status.UNKNOWN]),
        unsettled=blank.update(by_status[Status.UNKNOWN]),
        settling=blank,
        waiting=blank.update(by_status[Status.WAITING]),
        continued=blank.update(continues),
        failed=blank.update(step for step in by_status[Status.FAILED] if step not in continues),
    )


def _blocked(run: Run) -> dict[str, int]:
    """How many of its predecessors each step waits for; what was skipped ahead of its turn lets nobody by before that."""
    blocked: dict[str, int] = {}
    open_: set[str] = set()
    for step in run.graph.order:
        blocked[step] = sum(need in open_ for need in run.graph.before[step])
        ahead = run.steps[step].status is Status.SKIPPED and blocked[step] > 0
        if ahead or not satisfies(run.graph, run.steps, step):
            open_.add(step)
    return blocked
