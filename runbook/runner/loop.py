"""The run's life: decide, launch, wait, decide again, until the engine says that it ends.

Owns :class:`Loop`. Promises: it begins nothing that the engine did not decide; a journal that fails stops everything, and
nothing more is started; a chain runs in the calling thread, branches in threads of their own.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import assert_never

from runbook.action import Effect, Interrupted
from runbook.engine.decide import Await, Begin, Cancel, End, Limits, Settle, decide
from runbook.engine.events import (
    CONFIRM,
    StepApproved,
    StepCancelled,
    StepConfirmed,
    StepFailed,
    StepRetried,
    StepSkipped,
    StepStarted,
    StepUnknown,
    StepWaiting,
    problem_json,
)
from runbook.engine.outcome import outcome
from runbook.engine.transitions import RunStatus, Status
from runbook.errors import Busy, InvalidInput, Problem
from runbook.journal.layout import RunDir
from runbook.operation import Json
from runbook.plan.model import Section, Step
from runbook.plan.origin import inputs_behind
from runbook.plan.render import MissingOutput
from runbook.quoting import shell_word
from runbook.runner.claim import Claim
from runbook.runner.ended import Adrift, Broke, Ended, Won
from runbook.runner.faults import frozen_with, no_longer_needed, settle_by_hand, without_its_giver
from runbook.runner.frozen import applied_from
from runbook.runner.ledger import Ledger
from runbook.runner.prepare import NotNeeded, Prepared, WrongInput, prepare, values
from runbook.runner.setting import Setting
from runbook.runner.step import StepLife
from runbook.runner.targets import named_systems, rebound

LONGEST_SLEEP_S = 0.5
"""How late a stop may be noticed between two attempts."""


class Loop:
    """Carries a run to its end in this execution. Made once per execution."""

    def __init__(self, setting: Setting, ledger: Ledger) -> None:
        self._setting = setting
        self._ledger = ledger
        self._stopping = False
        self._ended: SimpleQueue[Future[None]] = SimpleQueue()
        self._pool: ThreadPoolExecutor | None = None
        self._flying = 0
        self._declined: list[StepWaiting] = []
        self._unlocked: dict[str, Claim] = {}
        self._binding = Lock()

    def stop(self) -> None:
        """Ask the loop to begin nothing more. Safe from a signal handler."""
        self._stopping = True

    def go(self) -> RunStatus:
        """Run until the engine ends it. Raises JournalFault when the journal does."""
        try:
            while True:
                limits = Limits(self._setting.parallel, self._stopping)
                decision = decide(self._ledger.run, limits)
                match decision:
                    case Begin(steps):
                        self._launch(steps)
                    case Settle(steps):
                        self._launch(steps)
                    case Cancel(steps, because):
                        self._ledger.commit(*(StepCancelled(step, because) for step in steps))
                    case Await():
                        self._one_ended()
                    case End(RunStatus.WAITING) if self._answered():
                        pass
                    case End(status):
                        return status
                    case _:
                        assert_never(decision)
        finally:
            if self._pool:
                self._pool.shutdown(wait=True)

    def _launch(self, steps: tuple[str, ...]) -> None:
        """Begin what is ready, and only then put questions: other branches go on while a person thinks."""
        prepared = [(step, self._prepare(step)) for step in steps]
        questions = [one for _, one in prepared if isinstance(one, StepWaiting)]
        ready = [(step, one) for step, one in prepared if isinstance(one, Prepared)]
        alone = len(ready) == 1 and self._flying == 0 and not questions
        for step, one in ready:
            self._begin(step)
            if alone and (self._setting.parallel == 1 or not self._more_ready()):
                self._live(one)
            else:
                self._submit(one)
        for question in questions:
            self._reply(question.step, question)

    def _more_ready(self) -> bool:
        follow_up = decide(self._ledger.run, Limits(self._setting.parallel, self._stopping))
        return isinstance(follow_up, Begin | Settle)

    def _submit(self, prepared: Prepared) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._setting.parallel, thread_name_prefix="step")
        self._flying += 1
        self._pool.submit(self._live, prepared).add_done_callback(self._ended.put)

    def _one_ended(self) -> None:
        future = self._ended.get()
        self._flying -= 1
        future.result()

    def _prepare(self, step_id: str) -> Prepared | StepWaiting | None:
        """The step ready to run, the question that it waits for, or None where the journal got another word: skipped, failed."""
        step = self._setting.graph.steps[step_id]
        state = self._ledger.run.step(step_id)
        resumed = state.attempt > 0
        if self._nothing_to_release(step):
            self._ledger.commit(StepSkipped(step_id, f"there is nothing to release: {step.releases} did not begin"))
            return None
        try:
            given = values(self._setting, self._ledger.run.outputs, ended=self._ended_as(step))
            prepared = prepare(self._setting, step, given, held=self._held(step.releases), resumed=resumed)
        except (MissingOutput, InvalidInput) as error:
            problem = error.problems[0]
            if state.status is Status.UNKNOWN:
                problem = settle_by_hand(problem, run=self._setting.run, step=step_id)
                self._ledger.commit(StepUnknown(step_id, problem_json(problem)))
            elif isinstance(error, MissingOutput) and self._never_came_to(step):
                self._ledger.commit(StepSkipped(step_id, f"nothing of {step.frame.rstrip('.')} began"))
            else:
                self._ledger.commit(StepFailed(step_id, problem_json(self._lasting(step, error)), 0.0))
            return None
        if isinstance(prepared, NotNeeded):
            if state.status is Status.UNKNOWN:
                self._ledger.commit(
                    StepUnknown(step_id, problem_json(no_longer_needed(self._setting.run, step_id, prepared.why)))
                )
            else:
                self._ledger.commit(StepSkipped(step_id, prepared.why))
            return None
        question = self.question(prepared) if state.status is Status.PENDING and state.consent is None else None
        if question is not None:
            self._ledger.commit(question)
            return question
        return prepared

    def _lasting(self, step: Step, error: MissingOutput | InvalidInput) -> Problem:
        """The problem of an input that is wrong, as whoever reads of a failed run needs it."""
        plan, problem = self._setting.plan, error.problems[0]
        if isinstance(error, MissingOutput):
            given_by = self._ledger.run.steps.get(error.step)
            if given_by is None or not given_by.skipped_by:
                return problem  # the step that gives it may yet do so
            return without_its_giver(problem, run=self._setting.run, step=step.id)
        source = applied_from(RunDir(Path(self._setting.directory))) or plan.name
        fields = error.fields if isinstance(error, WrongInput) else ()
        inputs = inputs_behind(plan, step, fields)
        return frozen_with(problem, run=self._setting.run, plan=shell_word(source), inputs=inputs)

    def question(self, prepared: Prepared) -> StepWaiting | None:
        """What a person has to confirm before the step may begin, or None."""
        step = prepared.step
        destroys = prepared.effect is Effect.DESTROYS and prepared.scope.live
        if not destroys and not step.confirm:
            return None
        action, system, inputs = prepared.action, prepared.system, prepared.inputs
        target = action.replaces(system, inputs) if destroys else ""
        text = step.confirm or f"{step.title or step.id} {action.verb} {target}."
        along = ""
        if prepared.effect is Effect.DESTROYS:
            along = action.along(self._setting.look, system, inputs, prepared.scope)
        told = "\n".join(part for part in (text, along, action.tells(inputs)) if part)
        return StepWaiting(step=step.id, kind=CONFIRM, instructions=told, target=target)

    def _begin(self, step: str) -> None:
        state = self._ledger.run.step(step)
        # told before it is settled, too: the engine must not send a second one after it
        self._ledger.note(StepStarted(step, state.attempt + 1, resumed=state.status is Status.UNKNOWN))

    def _live(self, prepared: Prepared) -> None:
        """A step from its start to its end, with its retries."""
        step = prepared.step.id
        while True:
            life = StepLife(self._setting, self._ledger, prepared)
            # what was begun and left may still move, after a crash and after a lost answer alike: the fence comes first
            ended = life.settle() or self._taken(prepared) or life.attempt()
            problem = self._retries(prepared, ended)
            if problem is None:
                if isinstance(ended, Won):
                    with self._binding:
                        self._bind(prepared, first_use=False)
                life.close(ended)
                return
            state = self._ledger.run.step(step)
            pause = prepared.step.retry.pause_s(state.tries)
            self._ledger.commit(StepRetried(step, state.attempt + 1, pause, problem_json(problem)))
            self._pause(pause)
            if self._stopping:
                life.close(ended)
                return
            self._ledger.note(StepStarted(step, state.attempt + 1, resumed=isinstance(ended, Adrift)))
            prepared = replace(prepared, scope=replace(prepared.scope, resumed=True))

    def _taken(self, prepared: Prepared) -> Broke | None:
        """Lock what a step changes and the run doesn't hold yet, before it begins to; or how it fails: another run has that."""
        with self._binding:
            for name in self._names(prepared):
                if name in self._unlocked:
                    try:
                        self._setting.rebind(self._unlocked[name])
                    except Busy as error:
                        return Broke(error.problems[0])
                    del self._unlocked[name]
            return self._bind(prepared, first_use=True)

    def _bind(self, prepared: Prepared, *, first_use: bool) -> Broke | None:
        """Lock and journal what the targets of a step that changes something are, where the run doesn't know it yet.

        What a step has replaced and another run has locked meanwhile fails no step that is done, but the next one on it. One step
        at a time: two that begin on one target would both ask for its lock.
        """
        setting, run = self._setting, self._ledger.run
        # only what replaces a target may end on another one; under any other step it was changed by somebody else
        only_new = first_use or prepared.effect is not Effect.DESTROYS
        names, systems = self._names(prepared), setting.environment.systems
        for found in rebound(setting.look, run, prepared.step, names, systems, first_use=only_new):
            claim = Claim(found.system, found.identity, changed=True)
            try:
                setting.rebind(claim)
            except Busy as error:
                if first_use:
                    return Broke(error.problems[0])
                self._unlocked[found.system] = claim
            self._ledger.note(found)
        return None

    def _names(self, prepared: Prepared) -> tuple[str, ...]:
        """The systems of a step that changes something."""
        if prepared.effect is Effect.READS:
            return ()
        systems = self._setting.environment.systems
        return named_systems(self._setting.plan, prepared.step, prepared.action, systems)

    def _pause(self, seconds: float) -> None:
        """Wait between two attempts; a stop that is asked for ends it."""
        end = self._setting.clock.monotonic() + seconds
        while not self._stopping and (left := end - self._setting.clock.monotonic()) > 0:
            self._setting.sleep(min(left, LONGEST_SLEEP_S))

    def _retries(self, prepared: Prepared, ended: Ended) -> Problem | None:
        """The problem that is worth another attempt, or None."""
        state = self._ledger.run.step(prepared.step.id)
        if self._stopping or state.tries >= prepared.step.retry.attempts:
            return None
        match ended:
            case Broke(problem, refused) if not refused:
                return problem
            case Adrift(problem) if prepared.action.interrupted_of(prepared.inputs) is Interrupted.REPEATABLE:
                return problem
            case _:
                return None

    def _answered(self) -> bool:
        """Whether somebody who is there answered a question, or asked to stop meanwhile: there is another decision to take."""
        return any(self._reply(step, question) or self._stopping for step, question in self._open_questions())

    def _open_questions(self) -> list[tuple[str, StepWaiting]]:
        run = self._ledger.run
        states = [(step, run.step(step).question) for step in run.graph.order if step in run.waiting]
        return [(step, question) for step, question in states if question is not None]

    def _reply(self, step: str, question: StepWaiting) -> bool:
        """Put the question to whoever is there; once an execution, since who left it open once means it."""
        if question in self._declined:
            return False
        reply = self._setting.ask(step, question)
        if reply is None:
            self._declined.append(question)
            return False
        if question.kind == "approval":
            before = self._ledger.run.step(step).approvals
            self._ledger.commit(StepApproved(step, reply.by, question.subject, reply.claimed, host=reply.host))
            return len(self._ledger.run.step(step).approvals) > len(before)
        self._ledger.commit(StepConfirmed(step, reply.by, reply.claimed, dict(reply.fields)))
        return True

    def _ended_as(self, step: Step) -> dict[str, Json] | None:
        """For a step of the run's end, how it ends; what failed may have said a secret."""
        if step.section is Section.STEPS:
            return None
        return {key: self._ledger.masked(value) for key, value in outcome(self._ledger.run).items()}

    def _nothing_to_release(self, step: Step) -> bool:
        """Whether the step is a release in a later section than its hold's, which begins however that one ended."""
        graph, hold = self._setting.graph, step.releases
        if hold not in graph.steps or graph.steps[hold].section is step.section:
            return False
        return self._ledger.run.step(hold).attempt == 0

    def _never_came_to(self, step: Step) -> bool:
        """Whether the step is one of the end of an included plan of which nothing began: what that was to be given isn't there."""
        if step.section is Section.STEPS or not step.frame:
            return False
        within = [one.id for one in self._setting.plan.section(Section.STEPS) if one.id.startswith(step.frame)]
        return bool(within) and all(self._ledger.run.step(one).attempt == 0 for one in within)

    def _held(self, hold: str) -> dict[str, Json] | None:
        return dict(self._ledger.run.step(hold).pinned) if hold else None
