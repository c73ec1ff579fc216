"""What a step makes or replaces is locked in the middle of a run; another run may have been quicker."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from runbook.errors import Busy, ExitCode, Problem
from runbook.host import Docker
from runbook.plan.model import Retry, Section
from runbook.runner.claim import Claim
from runbook.system import Machine
from tests.runner.memory_run import MemoryRun, environment_of, step

TAKEN = Problem("E501", "the target is held by another run", "one is held by the run of lee", "wait for it to end")


@dataclass
class Locks:
    """What was locked, and how often another run has the target *one* still."""

    busy: int = 0
    taken: list[Claim] = field(default_factory=list)

    def __call__(self, claim: Claim) -> None:
        if self.busy and claim.system == "one":
            self.busy -= 1
            raise Busy(TAKEN)
        self.taken.append(claim)


def test_a_step_whose_target_another_run_has_fails_before_it_begins() -> None:
    locks = Locks(busy=1)
    last = step("tidy", section=Section.FINALLY)
    run = MemoryRun([step("a", on="one"), step("b", "make", "a", on="one"), last], rebind=locks)
    assert run.apply() is ExitCode.FAILED
    assert run.problem("a") == "E501"
    assert run.world.facts == {"tidy": "new"}, "the run's end is run, as after any failure"
    run.after_kill()
    assert run.resume() is ExitCode.DONE
    assert [claim.system for claim in locks.taken] == ["one"], "what the run holds is not asked for again"


def test_it_is_tried_again_as_the_plan_says() -> None:
    run = MemoryRun([step("a", on="one", retry=Retry(attempts=3, delay_s=1))], rebind=Locks(busy=2))
    assert run.apply() is ExitCode.DONE
    assert run.step("a").attempt == 3


def test_what_a_step_put_in_its_target_s_place_and_another_run_has_stops_the_next_step_on_it() -> None:
    systems = dict(environment_of().systems)
    locks = Locks()

    def rebind(claim: Claim) -> None:
        locks(claim)
        if len(locks.taken) == 1:  # at its first use
            systems["one"] = Machine(
                type="host", key="one", at=Docker("new")
            )  # which is what it will be when the step is done
            locks.busy = 2

    reads = step("look", "check", "a", on="one", thing="a")
    other = step("c", "make", "a", on="two", thing="c")
    run = MemoryRun(
        [step("a", "replace", on="one"), reads, other, step("b", "make", "c", on="one")],
        environment=replace(environment_of(), systems=systems),
        rebind=rebind,
    )
    run.world.facts["a"] = "old"
    assert run.apply() is ExitCode.FAILED
    found = {name: run.status(name).value for name in run.graph.order}
    assert found == {"a": "succeeded", "look": "succeeded", "c": "succeeded", "b": "failed"}
    assert run.problem("b") == "E501"
    assert "b" not in run.world.facts
    run.after_kill()
    assert run.resume() is ExitCode.DONE


def test_two_steps_that_begin_at_once_on_one_target_ask_for_it_once() -> None:
    asking: list[str] = []
    taken: list[Claim] = []

    def rebind(claim: Claim) -> None:
        assert not asking, "the supervisor takes one request for a lock at a time"
        asking.append(claim.system)
        time.sleep(0.05)
        taken.append(claim)
        asking.remove(claim.system)

    steps = [step("a", on="one"), step("b", on="one"), step("c", on="one")]
    run = MemoryRun(steps, rebind=rebind, parallel=3)
    assert run.apply() is ExitCode.DONE
    assert [claim.system for claim in taken] == ["one"]
