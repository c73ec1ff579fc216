"""A run's life: what happens when not all goes well, people, holds, and being told to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from runbook.engine.events import StepApproved, StepConfirmed, StepSkipped, StepStarted
from runbook.engine.transitions import RunStatus, Status
from runbook.errors import ExitCode
from runbook.operation import Operation
from runbook.plan.file import FrozenReader
from runbook.plan.load import load_plan
from runbook.plan.model import OnFailure, Retry, Section
from runbook.runner.loop import Loop
from runbook.runner.setting import Reply
from runbook.transports.outcome import Use
from tests.fixtures.patience import PATIENCE_S, eventually
from tests.runner.memory_run import MemoryRun, step
from tests.runner.world import Crash, Fate

KIM = Reply("kim")
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """A run that was told to stop leaves further signals ignored: its process is about to end, and this one isn't."""
    before = {number: signal.getsignal(number) for number in STOPS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def crashed(run: MemoryRun) -> MemoryRun:
    """The run, killed where its world says, and ready for another process."""
    with pytest.raises(Crash):
        run.apply()
    run.after_kill()
    return run


def statuses(run: MemoryRun) -> dict[str, str]:
    """Where each step stands."""
    assert run.state is not None
    return {name: run.status(name).value for name in run.state.graph.order}


# --- order, conditions, failure ----------------------------------------------------------------------------------------------


def test_outputs_go_from_step_to_step() -> None:
    run = MemoryRun([step("a", thing="a", value="v"), step("b", "make", "a", thing="b", value="{{ steps.a.value }}w")])
    assert run.apply() is ExitCode.DONE
    assert run.world.facts == {"a": "v", "b": "vw"}


def test_a_step_whose_condition_is_false_is_skipped_and_satisfies_its_successors() -> None:
    run = MemoryRun([step("a", when="inputs.wanted"), step("b", "make", "a")], inputs={"wanted": False})
    assert run.apply() is ExitCode.DONE
    assert statuses(run) == {"a": "skipped", "b": "succeeded"}


def test_the_outputs_of_a_skipped_step_are_missing_but_for_a_default() -> None:
    skipped = step("a", when="inputs.wanted")
    needing = step("b", "make", "a", thing="b", value="{{ steps.a.value }}")
    run = MemoryRun([skipped, needing], inputs={"wanted": False})
    assert run.apply() is ExitCode.FAILED
    assert run.status("b") is Status.FAILED
    run = MemoryRun(
        [skipped, replace(needing, with_={"thing": "b", "value": "{{ steps.a.value | default('none') }}"})],
        inputs={"wanted": False},
    )
    assert run.apply() is ExitCode.DONE
    assert run.world.facts["b"] == "none"


def test_a_failure_cancels_what_follows_and_runs_its_own_steps_then_the_last_ones() -> None:
    steps = [
        step("a"),
        step("b", "make", "a"),
        step("tell", section=Section.ON_FAILURE, thing="tell"),
        step("tidy", section=Section.FINALLY, thing="tidy"),
    ]
    run = MemoryRun(steps)
    run.world.meets("a", "make", Fate.FAILS)
    assert run.apply() is ExitCode.FAILED
    assert statuses(run) == {"a": "failed", "b": "cancelled", "tell": "succeeded", "tidy": "succeeded"}
    run.after_kill()
    assert run.resume() is ExitCode.DONE
    assert statuses(run) == {"a": "succeeded", "b": "succeeded", "tell": "cancelled", "tidy": "succeeded"}


def test_the_last_steps_wait_while_a_step_is_unknown() -> None:
    run = MemoryRun([step("a", "once"), step("tidy", section=Section.FINALLY, thing="tidy")])
    run.world.meets("a", "part1", Fate.LOST_AFTER)
    assert run.apply() is ExitCode.WAITING
    assert "tidy" not in run.world.facts
    run.after_kill()
    run.resolve("a", "done", said="yes")
    run.after_kill()
    assert run.resume() is ExitCode.DONE
    assert run.world.facts["tidy"] == "new"


def test_a_failure_that_may_be_gone_on_from_ends_with_1_and_says_so() -> None:
    run = MemoryRun([step("a", on_failure=OnFailure.CONTINUE), step("b", "make", "a")])
    run.world.meets("a", "make", Fate.FAILS)
    assert run.apply() is ExitCode.FAILED
    assert run.state is not None
    assert run.state.status is RunStatus.COMPLETED_WITH_FAILURES
    assert statuses(run) == {"a": "failed", "b": "succeeded"}
    assert run.world.swept == 1, "no resume can follow"


def test_what_a_resume_may_need_elsewhere_stays() -> None:
    run = MemoryRun([step("a"), step("b", "make", "a")])
    run.world.meets("a", "make", Fate.FAILS)
    assert run.apply() is ExitCode.FAILED
    assert run.world.swept == 0


def test_an_unknown_step_lets_nothing_new_begin() -> None:
    run = MemoryRun([step("a", "once"), step("b")])
    run.world.meets("a", "part1", Fate.LOST_AFTER)
    assert run.apply() is ExitCode.WAITING
    assert run.names(StepStarted) == ["a"]


def test_a_condition_that_became_false_leaves_a_begun_step_unknown() -> None:
    run = MemoryRun([step("a", "once", when="inputs.wanted")], inputs={"wanted": True})
    run.world.meets("a", "part1", Fate.CRASH_AFTER)
    crashed(run).inputs = {"wanted": False}
    assert run.resume() is ExitCode.WAITING
    assert run.problem("a") == "E604"


def test_branches_run_at_once_within_the_limit() -> None:
    run = MemoryRun([*(step(name) for name in "abc"), step("end", "make", "a", "b", "c")], parallel=2)
    together: list[int] = []
    inside = threading.Semaphore(0)
    lock, met = threading.Lock(), threading.Event()

    def meet(operation: Operation, use: Use) -> None:
        with lock:
            inside.release()
            together.append(inside._value)
            if inside._value == 2:
                met.set()
        assert met.wait(PATIENCE_S), "nobody comes while the first one is here"
        threading.Event().wait(0.01)  # a third one would come now
        inside.acquire()

    run.world.seen = meet
    assert run.apply() is ExitCode.DONE
    assert max(together) == 2


def test_a_settled_step_of_the_end_cancels_nothing() -> None:
    """Two last steps are gone on with and fill all the room; the main steps, put back by the resume, wait for it."""
    steps = [step("a"), step("b", "make", "a")]
    steps += [step(name, section=Section.FINALLY, thing=name) for name in ("x", "y")]
    run = MemoryRun(steps, parallel=1)
    run.world.meets("a", "make", Fate.FAILS)
    run.world.meets("x", "make", Fate.CRASH_BEFORE)
    assert crashed(run).resume() is ExitCode.DONE
    assert statuses(run) == {"a": "succeeded", "b": "succeeded", "x": "succeeded", "y": "succeeded"}


# --- people ------------------------------------------------------------------------------------------------------------------


def test_a_confirmation_is_asked_for_before_anything_of_the_step() -> None:
    run = MemoryRun([step("a", confirm="Sure?"), step("b")])
    assert run.apply() is ExitCode.WAITING
    assert [(one.step, one.kind, one.instructions) for one in run.asked[:1]] == [("a", "confirm", "Sure?")]
    assert run.world.facts == {"b": "new"}, "an independent branch finishes"
    run.after_kill()
    run.replies["a:confirm"] = KIM
    assert run.resume() is ExitCode.DONE


def test_a_branch_goes_on_while_a_person_thinks() -> None:
    run = MemoryRun([step("a", confirm="Sure?"), step("b")], parallel=2)
    done = threading.Event()
    run.world.seen = lambda operation, use: done.set() if use.id == "b/1/1/commit" else None
    run.person = lambda name, question: KIM if done.wait(PATIENCE_S) else None
    assert run.apply() is ExitCode.DONE


def test_a_destructive_step_asks_by_name_in_a_live_environment_only() -> None:
    run = MemoryRun([step("a", "replace")], live=True)
    assert run.apply() is ExitCode.WAITING
    assert run.asked[0].target == "a"
    assert not run.world.ledger
    run = MemoryRun([step("a", "replace")])
    assert run.apply() is ExitCode.DONE


def test_a_confirmation_between_two_executions_counts() -> None:
    run = MemoryRun([step("a", confirm="Sure?")])
    assert run.apply() is ExitCode.WAITING
    run.after_kill()
    run.tell(StepConfirmed("a", "kim"))
    run.after_kill()
    assert run.resume() is ExitCode.DONE
    assert len(run.names(StepConfirmed)) == 1


def test_a_confirmation_is_not_taken_for_the_answer() -> None:
    run = MemoryRun([step("a", "manual", confirm="Sure?", instructions="Do it.")])
    run.replies["a:confirm"] = KIM
    assert run.apply() is ExitCode.WAITING
    assert [one.kind for one in run.asked][:2] == ["confirm", "manual"]
    run.after_kill()
    run.replies["a:manual"] = Reply("ada")
    assert run.resume() is ExitCode.DONE
    assert run.step("a").outputs == {"answers": {}, "by": "ada"}
    assert [one.kind for one in run.asked].count("confirm") == 1


def test_an_approval_wants_as_many_people_as_it_says() -> None:
    run = MemoryRun([step("a", "approval", subject="Go?", needed=2, confirm="Sure?")])
    run.replies = {"a:confirm": KIM, "a:approval": Reply("ada")}
    assert run.apply() is ExitCode.WAITING
    run.after_kill()
    assert run.resume() is ExitCode.WAITING, "the same person again is no second one"
    run.after_kill()
    question = run.step("a").question
    assert question is not None
    run.tell(StepApproved("a", "ben", "something else"))
    run.after_kill()
    assert run.resume() is ExitCode.WAITING, "another subject is not this one"
    run.after_kill()
    run.tell(StepApproved("a", "ben", question.subject))
    run.after_kill()
    assert run.resume() is ExitCode.DONE
    assert [one.kind for one in run.asked].count("confirm") == 1, "what was confirmed stays confirmed"


INNER = """\
runbook: 1
name: inner
inputs: {what: {type: string}}
steps:
  - {id: work, uses: make, with: {thing: "{{ inputs.what }}"}}
finally:
  - {id: tidy, uses: make, with: {thing: "tidy {{ inputs.what }}"}}
"""


@pytest.mark.parametrize("when", ["", "when: steps.find.value == 'new'"])
def test_the_end_of_an_included_plan_that_never_began_has_nothing_to_do(when: str) -> None:
    outer = f"""\
runbook: 1
name: outer
steps:
  - {{id: find, uses: make, with: {{thing: found}}}}
  - id: sub
    uses: ./inner.yaml
    with: {{what: "{{{{ steps.find.value }}}}"}}
    {when}
"""
    plan = load_plan("outer.yaml", FrozenReader({"outer.yaml": outer.encode(), "inner.yaml": INNER.encode()}))
    run = MemoryRun(plan.steps, plan=plan)
    run.world.meets("find", "make", Fate.FAILS)
    assert run.apply() is ExitCode.FAILED
    assert statuses(run) == {"find": "failed", "sub.work": "cancelled", "sub.tidy": "skipped"}
    assert run.step("sub.tidy").reason == "nothing of sub began"
    run.after_kill()
    run.steps = plan.steps
    assert run.resume() is ExitCode.DONE
    assert statuses(run) == {"find": "succeeded", "sub.work": "succeeded", "sub.tidy": "succeeded"}


def test_a_person_may_skip_a_step_with_a_reason() -> None:
    run = MemoryRun([step("a"), step("b", "make", "a")])
    run.world.meets("a", "make", Fate.FAILS, Fate.FAILS)
    assert run.apply() is ExitCode.FAILED
    run.after_kill()
    run.tell(StepSkipped("a", "by hand", "kim"))
    run.after_kill()
    assert run.resume() is ExitCode.DONE
    assert statuses(run) == {"a": "skipped", "b": "succeeded"}


# --- being told to stop ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_lets_what_runs_finish_and_starts_nothing(number: signal.Signals) -> None:
    steps = [step("a"), step("b", "make", "a"), step("tidy", section=Section.FINALLY, thing="tidy")]
    run = MemoryRun(steps)
    run.world.seen = lambda operation, use: os.kill(os.getpid(), number) if use.id == "a/1/1/make" else None
    assert run.apply() is ExitCode.INTERRUPTED
    assert run.world.facts == {"a": "new"}
    assert statuses(run) == {"a": "succeeded", "b": "pending", "tidy": "pending"}
    run.after_kill()
    run.world.seen = lambda operation, use: None
    assert run.resume() is ExitCode.DONE
    assert set(run.world.ledger.values()) == {1}


def test_the_second_signal_ends_what_runs() -> None:
    run = MemoryRun([step("a", "once"), step("b", "make", "a")])
    ended = threading.Event()
    run.world.stop = lambda use_id, grace_s: (run.world.stopped.append(use_id), ended.set())  # type: ignore[method-assign, assignment, func-returns-value]

    def twice(operation: Operation, use: Use) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        eventually(lambda: loops[0]._stopping)  # two that come before the first was heard are one
        os.kill(os.getpid(), signal.SIGINT)
        assert ended.wait(PATIENCE_S)

    loops: list[Loop] = []
    run.prepare_loop = loops.append
    run.world.seen = twice
    run.world.meets("a", "part1", Fate.LOST_BEFORE)
    assert run.apply() is ExitCode.INTERRUPTED
    assert run.world.stopped == ["a"]
    assert run.status("a") is Status.UNKNOWN
    assert [event.forced for event in run.events if event.event == "run.interrupted"] == [True]  # type: ignore[union-attr]


def test_a_stop_ends_the_pause_between_attempts() -> None:
    run = MemoryRun([step("a", retry=Retry(3, 300.0), thing="a")])
    run.world.meets("a", "make", Fate.FAILS)
    loops: list[Loop] = []
    run.prepare_loop = loops.append
    sleep = run.world.clock.sleep

    def interrupted(seconds: float) -> None:
        sleep(seconds)
        loops[0].stop()

    run.world.clock.sleep = interrupted  # type: ignore[method-assign]
    assert run.apply() is ExitCode.INTERRUPTED
    assert run.world.clock.seconds < 2
    assert run.step("a").attempt == 1, "no attempt is begun after the stop"
    assert run.status("a") is Status.FAILED
