"""Defences taken out, one each: what the simulator has to notice, or its silence proves nothing.

Owns :data:`MUTATIONS`. Each changes the engine, the runner, the journal or the locks for as long as the patch lasts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from runbook.action import Interrupted
from runbook.engine import again
from runbook.engine import decide as decisions
from runbook.engine import run as fold
from runbook.engine.decide import Begin, Decision, Limits, decide
from runbook.engine.events import Event, OperationStarted, payload
from runbook.engine.run import Run, satisfied
from runbook.engine.transitions import RunStatus, Status
from runbook.errors import ExitCode
from runbook.journal.head import Head
from runbook.journal.local import LocalJournal
from runbook.journal.locks import Lock
from runbook.journal.tape import Tape
from runbook.plan.model import Section
from runbook.runner import execution, loop, step
from runbook.runner.ended import Broke
from runbook.runner.ending import exit_code
from runbook.runner.ledger import Ledger
from runbook.runner.step import StepLife
from runbook.transports.supervisor.locks import Locks

Patch = pytest.MonkeyPatch


def without_commits(patch: Patch) -> None:
    """What has to be durable is only noted."""
    patch.setattr(Ledger, "commit", Ledger.note)


def with_the_intent_after_the_effect(patch: Patch) -> None:
    """An operation's intent waits for the next record that is made durable."""

    def late(self: Ledger, *events: Event) -> None:
        tell = Ledger.note if any(isinstance(event, OperationStarted) for event in events) else commit
        tell(self, *events)

    commit = Ledger.commit
    patch.setattr(Ledger, "commit", late)


def without_the_sync_of_records(patch: Patch) -> None:
    """Records are written, and acknowledged before they are on stable storage."""

    def commit(self: Tape, lines: bytes, last: Head) -> None:
        self._disk.append(self._journal, lines)
        self.acknowledge(last)
        self._size += len(lines)

    patch.setattr(Tape, "commit", commit)


def without_the_head(patch: Patch) -> None:
    """Records count as acknowledged before their head is written."""
    patch.setattr(Tape, "acknowledge", lambda self, last: None)


def with_failed_syncs_retried(patch: Patch) -> None:
    """A sync that failed is tried once more, and then believed."""

    def again(self: Tape, lines: bytes, last: Head) -> None:
        try:
            commit(self, lines, last)
        except OSError:
            self._disk.fdatasync(self._journal)
            self.acknowledge(last)
            self._size += len(lines)

    commit = Tape.commit
    patch.setattr(Tape, "commit", again)


def with_a_given_up_tail_believed(patch: Patch) -> None:
    """A resume syncs what an earlier process wrote, and doesn't write again what a failed sync gave up."""
    patch.setattr(Tape, "write_again", lambda self, lines: None)


def with_an_unsynced_tail_believed(patch: Patch) -> None:
    """A resume relies on records that an earlier process may not have synced."""

    def recover(disk: Any, directory: Any, reading: Any) -> Tape:
        return Tape.open(disk, directory, size=reading.size, slot=reading.slots.next)

    patch.setattr("runbook.journal.local._recover", recover)


def without_the_poison(patch: Patch) -> None:
    """A journal that failed takes further records."""

    def append(self: LocalJournal, payloads: Any) -> Any:
        self._poison = ()
        return appended(self, payloads)

    def commit(self: Ledger, *events: Event) -> None:
        self._broken = None
        committed(self, *events)

    appended, committed = LocalJournal.append, Ledger.commit
    patch.setattr(LocalJournal, "append", append)
    patch.setattr(Ledger, "commit", commit)


def without_the_redactor(patch: Patch) -> None:
    """The last filter before the disk lets everything through."""
    patch.setattr(Ledger, "_clean", lambda self, event: payload(event))


def without_the_engine_lock(patch: Patch) -> None:
    """An engine opens the lock's file and does not lock it."""
    patch.setattr("runbook.journal.locks._locked", lambda file, mode: True)


def without_the_target_lock(patch: Patch) -> None:
    """A supervisor says that it holds what it does not hold."""
    patch.setattr(Locks, "_flock", lambda self, fd, mode, holder: True)


def with_locks_that_daemons_inherit(patch: Patch) -> None:
    """The descriptor of a lock isn't closed on exec."""

    def take(self: Locks, path: str, mode: str, holder: str) -> tuple[bool, str]:
        answer = taken(self, path, mode, holder)
        for descriptor, _ in self._held.values():
            os.set_inheritable(descriptor, True)
        return answer

    taken = Locks.take
    patch.setattr(Locks, "take", take)


def with_an_engine_lock_that_ends_early(patch: Patch) -> None:
    """The lock is given back while the engine works."""
    taken = Lock.take.__func__  # type: ignore[attr-defined]

    def take(cls: type[Lock], path: Any, /, **given: Any) -> Lock:
        lock: Lock = taken(cls, path, **given)
        lock.release()
        return lock

    patch.setattr(Lock, "take", classmethod(take))


def with_the_end_gone_through_twice(patch: Patch) -> None:
    """A step of the run's end that succeeded is put back once."""

    def ended_early(run: Run, name: str) -> bool:
        return run.graph.steps[name].section is not Section.STEPS and run.steps[name].attempt < 2

    patch.setattr(fold, "_ended_early", ended_early)


def with_anything_repeated(patch: Patch) -> None:
    """Every action is treated as if it could run twice."""
    patch.setattr(step, "Interrupted", SimpleNamespace(ASK=None, OBSERVE=Interrupted.OBSERVE))


def with_unknown_told_as_failed(patch: Patch) -> None:
    """The exit code of a run with an unknown step is that of a failed one."""

    def told(run: Run, status: RunStatus, *, missed: bool = False) -> ExitCode:
        return ExitCode.FAILED if status is RunStatus.UNKNOWN else exit_code(run, status, missed=missed)

    patch.setattr(execution, "exit_code", told)
    patch.setattr("runbook.runner.ending.exit_code", told)


def without_a_fence(patch: Patch) -> None:
    """A resume does not ask what came of what was begun."""
    patch.setattr(StepLife, "settle", lambda self: None)


def with_holds_left(patch: Patch) -> None:
    """A resume takes no hold again."""
    patch.setattr("runbook.engine.again._holds_again", lambda graph, steps: steps)


def with_holds_forgotten(patch: Patch) -> None:
    """A hold that a resume puts back counts as never taken."""
    wholly_again = again.wholly_again
    patch.setattr(again, "wholly_again", lambda state: wholly_again(state)._replace(in_force=False))


def with_results_forgotten(patch: Patch) -> None:
    """A new attempt begins with the first operation, whatever succeeded."""
    patch.setattr(fold, "_ended_well", lambda step: {})


def with_releases_in_any_case(patch: Patch) -> None:
    """The end of a run starts what was stopped, whatever is half done."""
    patch.setattr("runbook.engine.decide.releasable", lambda run, hold, release: True)


def with_unknown_steps_retried(patch: Patch) -> None:
    """What can't be known is taken for a definite failure."""
    patch.setattr(step, "Adrift", Broke)


def with_two_steps_too_many(patch: Patch) -> None:
    """Steps begin before what they need."""

    def hasty(run: Run, limits: Limits) -> Decision:
        decision = decide(run, limits)
        if isinstance(decision, Begin):
            later = [one for one in run.graph.after[decision.steps[0]] if run.steps[one].status == "pending"]
            return Begin((*decision.steps, *later[:1]))
        return decision

    patch.setattr(loop, "decide", hasty)


def with_the_skipped_letting_by(patch: Patch) -> None:
    """A step that a person skips ahead of its turn lets what follows it begin at once."""

    def hasty(state: Run, name: str, before: Status, after: Status) -> Run:
        ahead = after is Status.SKIPPED and state.blocked[name] > 0
        told = moved(state, name, before, after)
        return fold._satisfy(told, name) if ahead else told

    moved = fold._moved
    patch.setattr(fold, "_moved", hasty)


def with_ends_that_wait(patch: Patch) -> None:
    """A step of a run's end that was cut off waits for those before it, which are gone through again only after it."""

    def lacking(run: Run, step: str) -> tuple[str, ...]:
        if run.graph.steps[step].section is Section.STEPS:
            return settled_at_once(run, step)
        return tuple(need for need in run.graph.before[step] if not satisfied(run, need))

    settled_at_once = decisions._lacking
    patch.setattr(decisions, "_lacking", lacking)


MUTATIONS: tuple[Callable[[Patch], None], ...] = (
    without_commits,
    with_the_intent_after_the_effect,
    without_the_sync_of_records,
    without_the_head,
    with_failed_syncs_retried,
    with_a_given_up_tail_believed,
    with_an_unsynced_tail_believed,
    without_the_poison,
    without_the_redactor,
    without_the_engine_lock,
    without_the_target_lock,
    with_locks_that_daemons_inherit,
    with_an_engine_lock_that_ends_early,
    with_the_end_gone_through_twice,
    with_anything_repeated,
    with_unknown_told_as_failed,
    without_a_fence,
    with_holds_left,
    with_holds_forgotten,
    with_results_forgotten,
    with_releases_in_any_case,
    with_unknown_steps_retried,
    with_two_steps_too_many,
    with_the_skipped_letting_by,
    with_ends_that_wait,
)
"""All of them. Each has to be caught within the seeds that every test run carries out."""

SHOWN_BY: dict[Callable[[Patch], None], int] = {
    with_holds_forgotten: 209,
    with_results_forgotten: 147,
    with_releases_in_any_case: 181,
    with_holds_left: 38,
    with_the_skipped_letting_by: 139,
}
"""A seed to begin with where the first that shows it comes late: it is found sooner, and if no more by this one, by the others."""
