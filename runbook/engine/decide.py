"""What to do now: the engine's only answer.

Owns :func:`decide` and the closed union of decisions. Pure: from a run and its limits to one decision, in an order that is
the contract's (*What happens when not all goes well*): settle what is unknown, then the steps, then failure's steps, then
``finally``, then what is still held, then the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from rpds import Queue

from runbook.engine.run import Run, satisfied
from runbook.engine.transitions import RunStatus, Status
from runbook.plan.model import Section


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may run at once, and whether the operator asked to stop."""

    parallel: int = 4
    stopping: bool = False


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin these steps."""

    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settle:
    """Find out how these unknown steps ended, and go on with them."""

    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cancel:
    """These steps will not begin: ``because`` names what did not succeed."""

    steps: tuple[str, ...]
    because: str


@dataclass(frozen=True, slots=True)
class Await:
    """Something runs; its end is the next event."""


@dataclass(frozen=True, slots=True)
class End:
    """This execution ends with that status."""

    status: RunStatus


Decision: TypeAlias = Begin | Settle | Cancel | Await | End


def decide(run: Run, limits: Limits) -> Decision:
    """The next thing to do."""
    room = limits.parallel - len(run.active)
    busy = len(run.active) > 0
    if limits.stopping:
        return Await() if busy else End(RunStatus.INTERRUPTED)
    if run.unsettled and (decision := _unsettled(run, room)):
        return decision
    if run.unknown or run.settling:
        return Await() if busy else End(RunStatus.UNKNOWN)
    return _steps(run, room) or _aftermath(run, room) or (Await() if busy else End(_verdict(run)))


def _unsettled(run: Run, room: int) -> Decision | None:
    """What an earlier executor left: settled once all before it is done, so that holds are taken again first.

    None where that can't be: it stays unknown.
    """
    lacking = {step: _lacking(run, step) for step in run.graph.order if step in run.unsettled}
    free = [step for step, wanted in lacking.items() if not wanted]
    if free:
        return Settle(tuple(free[:room])) if room > 0 else Await()
    wanted = _with_lacking(run, frozenset(step for before in lacking.values() for step in before))
    ready = [step for step in _pending(run, Section.STEPS) if step in wanted]
    if ready:
        return Begin(tuple(ready[:room])) if room > 0 else Await()
    if run.active:
        return Await()
    return End(RunStatus.WAITING) if any(step in run.waiting for step in wanted) else None


def _lacking(run: Run, step: str) -> tuple[str, ...]:
    """What has to be done before an unsettled step goes on: what precedes it, and was put back.

    A release whose own hold was put back is ended first, within the holds that were taken before it: its own is taken after.
    A step of a run's end is ended at once: it stands inside no hold, and the whole end is gone through again.
    """
    if run.graph.steps[step].section is not Section.STEPS:
        return ()
    hold = run.graph.steps[step].releases
    if hold not in run.steps or satisfied(run, hold):
        return tuple(need for need in run.graph.before[step] if not satisfied(run, need)) if run.blocked[step] else ()
    later = run.graph.descendants(hold)
    return tuple(
        other
        for other, release in run.graph.releases().items()
        if other != hold
        and other not in later
        and not satisfied(run, other)
        and step in run.graph.inside(other, release)
    )


def _with_lacking(run: Run, steps: frozenset[str]) -> frozenset[str]:
    """These steps and all that has to be done before them."""
    found: set[str] = set()
    todo = list(steps)
    while todo:
        step = todo.pop()
        if step not in found:
            found.add(step)
            todo += [need for need in run.graph.before[step] if not satisfied(run, need)]
    return frozenset(found)


def _steps(run: Run, room: int) -> Decision | None:
    """The main section: None once nothing of it is left to do."""
    if not main_failures(run):
        if decision := _begin(run, Section.STEPS, room):
            return decision
        waiting = [step for step in run.waiting if run.graph.steps[step].section is Section.STEPS]
        if waiting:
            return Await() if run.active else End(RunStatus.WAITING)
    if any(run.graph.steps[step].section is Section.STEPS for step in run.active):
        return Await()
    kept = frozenset(release for hold, release in run.graph.releases().items() if _open(run, hold, release))
    left = tuple(step for step in _unbegun(run, Section.STEPS) if step not in kept)
    if left and run.active and not main_failures(run):
        # nothing failed: what was cut off of an earlier end is settled first, and a hold waits for its release
        return Await()
    return Cancel(left, _because(run)) if left else None


def _aftermath(run: Run, room: int) -> Decision | None:
    """Failure's own steps, then ``finally``, then holds that may be released."""
    if main_failures(run):
        decision = _in_order(run, Section.ON_FAILURE, room, failed=_failures(run, Section.ON_FAILURE))
        if decision:
            return decision
    elif left := tuple(_unbegun(run, Section.ON_FAILURE)):
        return Cancel(left, "nothing failed")
    return _in_order(run, Section.FINALLY, room, failed=False) or _holds(run, room)


def _in_order(run: Run, section: Section, room: int, *, failed: bool) -> Decision | None:
    waiting = any(run.graph.steps[step].section is section for step in run.waiting)
    if not failed and (decision := _begin(run, section, room)):
        return decision
    if any(run.graph.steps[step].section is section for step in run.active):
        return Await()
    if waiting:
        return End(RunStatus.WAITING)
    left = tuple(_unbegun(run, section))
    return Cancel(left, _because(run)) if left else None


def _holds(run: Run, room: int) -> Decision | None:
    for hold, release in run.graph.releases().items():
        if run.steps[release].status is not Status.PENDING:
            continue
        if releasable(run, hold, release):
            return Begin((release,)) if room > 0 else Await()
        return Cancel((release,), f"what {hold} holds stays held: a changing step inside it did not succeed")
    return None


def _open(run: Run, hold: str, release: str) -> bool:
    """Whether the hold is in force (taken wholly, in part or perhaps, in whichever execution) and its release has not begun."""
    return run.steps[hold].in_force and run.steps[release].status is Status.PENDING


def releasable(run: Run, hold: str, release: str) -> bool:
    """Whether every step inside the hold succeeded, was undone, was skipped or never began anything that changes."""
    return all(_harmless(run, step) for step in run.graph.inside(hold, release))


def _harmless(run: Run, step: str) -> bool:
    state = run.steps[step]
    if state.status in (Status.SUCCEEDED, Status.UNDONE, Status.SKIPPED):
        return True
    return state.status in (Status.PENDING, Status.CANCELLED, Status.FAILED) and not state.touched


def open_holds(run: Run) -> tuple[tuple[str, str], ...]:
    """Holds that are in force: (hold, release) with the hold taken, wholly or in part, and not released since.

    A hold that a resume put back and has not taken again yet is among them where it was not released before: what it stopped is
    stopped. So is one whose release was skipped by its ``when``.
    """
    return tuple((hold, release) for hold, release in run.graph.releases().items() if run.steps[hold].in_force)


def main_failures(run: Run) -> bool:
    """Whether a step of the main section failed definitely, and failure stops the run there."""
    return bool(run.failed) and _failures(run, Section.STEPS)


def _failures(run: Run, section: Section) -> bool:
    return any(run.graph.steps[step].section is section for step in run.failed)


def _begin(run: Run, section: Section, room: int) -> Decision | None:
    """Begin what is ready, as far as there is room; None where nothing is ready, room or not."""
    ready = tuple(step for _, step in zip(range(max(room, 1)), _pending(run, section), strict=False))
    if not ready:
        return None
    return Begin(ready) if room > 0 else Await()


def _pending(run: Run, section: Section) -> Iterator[str]:
    queue: Queue[str] = run.ready.get(section) or Queue()
    seen: set[str] = set()
    for step in queue:
        ready = run.steps[step].status is Status.PENDING and run.blocked[step] == 0
        if ready and step not in seen and not _being_released(run, step):
            seen.add(step)
            yield step


def _being_released(run: Run, step: str) -> bool:
    """Whether the step is a hold to be taken again whose release, begun earlier, has not come to its end."""
    if run.steps[step].attempt == 0:
        return False
    release = run.graph.releases().get(step)
    return release is not None and run.steps[release].status in (Status.RUNNING, Status.UNKNOWN)


def _unbegun(run: Run, section: Section) -> Iterator[str]:
    # the queue tells in constant time that nothing is left; only a failed or waiting run looks at each step
    if section is Section.STEPS and not run.failed and not run.continued and not run.waiting and not run.active:
        return
    for step in run.graph.order:
        stalled = run.steps[step].status in (Status.PENDING, Status.WAITING)
        if run.graph.steps[step].section is section and stalled:
            yield step


def _because(run: Run) -> str:
    failed = [step for step in run.graph.order if step in run.failed]
    return f"{failed[0]} failed" if failed else "the run is ending"


def _verdict(run: Run) -> RunStatus:
    if run.failed:
        return RunStatus.FAILED
    return RunStatus.COMPLETED_WITH_FAILURES if run.continued else RunStatus.SUCCEEDED
