"""Holds in whole runs: taken, lost, taken again, released over nothing that is half done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runbook.engine.decide import open_holds
from runbook.engine.events import StepSkipped
from runbook.engine.transitions import Status
from runbook.errors import ExitCode
from runbook.operation import Operation
from runbook.plan.model import OnFailure, Section
from runbook.transports.outcome import Use
from tests.runner.memory_run import MemoryRun, step
from tests.runner.test_loop import crashed, statuses
from tests.runner.world import Crash, Fate, World


def hold_plan(uses: str = "make", **more: object) -> MemoryRun:
    """Services are stopped, work is done, they are started; ``web`` ran before, ``cron`` did not."""
    work = step("work", uses, "stop")
    steps = [
        step("stop", "pause", services=["web", "cron"]),
        work,
        step("start", "unpause", "work", releases="stop", services=["web", "cron"]),
        step("after", "make", "start"),
    ]
    return MemoryRun(steps, World(facts={"web": "running", "cron": "off"}))


def test_a_release_restores_what_ran_and_nothing_else() -> None:
    run = hold_plan()
    assert run.apply() is ExitCode.DONE
    assert run.world.facts["web"] == "running"
    assert run.world.facts["cron"] == "off"
    assert list(run.world.ledger) == [
        ("stop", "stop_web"),
        ("work", "make"),
        ("work", "commit"),
        ("start", "start_web"),
        ("after", "make"),
        ("after", "commit"),
    ]


def test_what_a_hold_restores_is_durable_before_it_acts() -> None:
    run = hold_plan()
    run.world.meets("stop", "stop_web", Fate.CRASH_AFTER)
    assert crashed(run).resume() is ExitCode.DONE
    assert run.world.facts["web"] == "running", "though it was stopped when the second executor looked"


def test_a_hold_stays_when_a_changing_step_inside_failed() -> None:
    run = hold_plan()
    run.world.meets("work", "commit", Fate.FAILS)
    assert run.apply() is ExitCode.FAILED
    assert run.world.facts["web"] == "stopped"
    assert run.state is not None
    assert open_holds(run.state) == (("stop", "start"),)
    run.after_kill()
    assert run.resume() is ExitCode.DONE
    assert run.world.facts["web"] == "running"


def test_a_hold_is_released_when_nothing_inside_was_changed() -> None:
    run = hold_plan("check")
    assert run.apply() is ExitCode.FAILED
    assert run.world.facts["web"] == "running"
    assert run.status("after") is Status.CANCELLED


def test_a_hold_that_was_taken_in_part_is_released_too() -> None:
    run = hold_plan()
    run.world.facts["cron"] = "running"
    run.world.meets("stop", "stop_cron", Fate.FAILS)
    assert run.apply() is ExitCode.FAILED
    assert run.world.facts == {"web": "running", "cron": "running"}


def test_a_hold_that_is_lost_is_taken_again_before_what_was_running_inside_goes_on() -> None:
    run = hold_plan()
    run.world.meets("work", "make", Fate.CRASH_BEFORE)
    crashed(run).world.facts["web"] = "running"  # the machine booted, and started what it always starts

    def look(operation: Operation, use: Use) -> None:
        assert not (use.id.startswith("work/") and run.world.facts["web"] == "running")

    run.world.seen = look
    assert run.resume() is ExitCode.DONE
    assert run.world.ledger["stop", "stop_web"] == 2
    assert run.world.facts["web"] == "running"


def test_what_runs_inside_a_hold_that_cannot_be_taken_again_stays_unknown() -> None:
    run = hold_plan()
    run.world.meets("work", "make", Fate.CRASH_BEFORE)
    run.world.meets("stop", "stop_web", Fate.WELL, Fate.FAILS)
    crashed(run).world.facts["web"] = "running"
    assert run.resume() is ExitCode.WAITING
    assert statuses(run)["work"] == "unknown"
    assert run.world.ledger["work", "make"] == 0


def test_a_release_that_was_cut_off_is_ended_first_and_done_once_more_in_the_end() -> None:
    """A read failed inside, the release began, the engine died; the resume needs the hold again, and has to release it again."""
    run = hold_plan("check")
    run.world.meets("start", "start_web", Fate.CRASH_LIVING)
    crashed(run)
    run.world.facts["work"] = "new"  # what the check wanted
    assert run.resume() is ExitCode.DONE
    assert run.world.facts["web"] == "running"
    assert run.world.ledger["stop", "stop_web"] == 2
    assert run.world.ledger["start", "start_web"] == 2
    assert statuses(run) == dict.fromkeys(("stop", "work", "start", "after"), "succeeded")


def test_a_hold_taken_again_may_stop_what_its_last_plan_left_alone() -> None:
    run = hold_plan()
    run.world.meets("work", "commit", Fate.FAILS, Fate.CRASH_BEFORE)
    assert run.apply() is ExitCode.FAILED
    run.after_kill()
    with pytest.raises(Crash):
        run.resume()  # here it was still in force, so there was nothing to do
    run.after_kill()
    run.world.facts["web"] = "running"
    assert run.resume() is ExitCode.DONE
    assert run.world.facts["web"] == "running"


def test_a_release_done_again_may_start_what_its_first_plan_found_running() -> None:
    """Somebody started the service by hand, so the first release had nothing to do; the hold is taken again all the same."""
    run = hold_plan("check")
    run.world.seen = lambda operation, use: run.world.facts.update(web="running") if operation.name == "test" else None
    assert run.apply() is ExitCode.FAILED
    assert run.status("start") is Status.SUCCEEDED
    run.after_kill()
    run.world.seen = lambda operation, use: None
    run.world.facts["work"] = "new"
    assert run.resume() is ExitCode.DONE
    assert run.world.ledger["stop", "stop_web"] == 2
    assert run.world.facts["web"] == "running"


def test_a_hold_whose_inside_only_continued_is_not_taken_again() -> None:
    run = hold_plan()
    run.steps = [replace(one, on_failure=OnFailure.CONTINUE) if one.id == "work" else one for one in run.steps]
    run.world.meets("work", "make", Fate.FAILS)
    run.world.meets("after", "make", Fate.FAILS)
    assert run.apply() is ExitCode.FAILED
    run.after_kill()
    assert run.resume() is ExitCode.FAILED
    assert run.status("after") is Status.SUCCEEDED
    assert run.world.ledger["stop", "stop_web"] == 1, "nobody's services are stopped for nothing"


def test_a_hold_that_a_person_skipped_stays_skipped() -> None:
    run = hold_plan()
    run.world.meets("stop", "stop_web", Fate.FAILS)
    run.world.meets("work", "make", Fate.FAILS)
    assert run.apply() is ExitCode.FAILED
    run.after_kill()
    run.tell(StepSkipped("stop", "they are down already", "kim"))
    run.after_kill()
    assert run.resume() is ExitCode.FAILED
    run.after_kill()
    assert run.resume() is ExitCode.DONE
    assert run.status("stop") is Status.SKIPPED
    assert run.world.ledger["stop", "stop_web"] == 0


def released_at_the_end(uses: str = "make", **more: object) -> MemoryRun:
    """The same with the release in ``finally``, where it is for every end; ``tell`` follows it there."""
    steps = [
        step("first", "make"),
        step("stop", "pause", "first", services=["web", "cron"]),
        step("work", uses, "stop"),
        step("start", "unpause", releases="stop", section=Section.FINALLY, services=["web", "cron"]),
        step("tell", "make", "start", section=Section.FINALLY),
    ]
    return MemoryRun(steps, World(facts={"web": "running", "cron": "off"}))


def test_a_release_in_finally_comes_at_every_end() -> None:
    run = released_at_the_end()
    assert run.apply() is ExitCode.DONE
    assert list(run.world.ledger)[-4:-2] == [("work", "commit"), ("start", "start_web")]
    run = released_at_the_end()
    run.world.meets("work", "commit", Fate.FAILS)
    assert run.apply() is ExitCode.FAILED
    assert run.world.facts["web"] == "running", "who writes it there wants it in any case"
    assert run.status("tell") is Status.SUCCEEDED


def test_a_release_in_finally_follows_a_hold_that_was_taken_in_part() -> None:
    run = released_at_the_end()
    run.world.facts["cron"] = "running"
    run.world.meets("stop", "stop_cron", Fate.FAILS)
    assert run.apply() is ExitCode.FAILED
    assert (run.world.facts["web"], run.world.facts["cron"]) == ("running", "running")
    assert run.status("start") is Status.SUCCEEDED


def test_a_release_in_finally_is_skipped_where_its_hold_never_began() -> None:
    run = released_at_the_end()
    run.world.meets("first", "make", Fate.FAILS)
    assert run.apply() is ExitCode.FAILED
    assert statuses(run) == {
        "first": "failed",
        "stop": "cancelled",
        "work": "cancelled",
        "start": "skipped",
        "tell": "succeeded",
    }
    assert run.state is not None
    assert "stop did not begin" in run.state.step("start").reason
    run.after_kill()
    assert run.resume() is ExitCode.DONE
    assert run.world.ledger["start", "start_web"] == 1, "what was skipped for want of a hold is done once there is one"
    assert run.world.facts["web"] == "running"


def test_a_hold_that_finally_released_is_taken_again_before_what_failed_inside_goes_on() -> None:
    run = released_at_the_end("check")
    assert run.apply() is ExitCode.FAILED
    assert run.world.facts["web"] == "running"
    run.after_kill()
    run.world.facts["work"] = "new"  # what the check wanted
    assert run.resume() is ExitCode.DONE
    assert run.world.ledger["stop", "stop_web"] == 2
    assert run.world.ledger["start", "start_web"] == 2
    assert run.world.facts["web"] == "running"


@pytest.mark.parametrize("fate", [Fate.CRASH_BEFORE, Fate.CRASH_AFTER, Fate.CRASH_LIVING])
@pytest.mark.parametrize("boundary", [("stop", "stop_web"), ("work", "make"), ("start", "start_web"), ("tell", "make")])
def test_killed_anywhere_a_release_in_finally_is_done(boundary: tuple[str, str], fate: Fate) -> None:
    run = released_at_the_end()
    run.world.meets(*boundary, fate)
    assert crashed(run).resume() is ExitCode.DONE
    assert run.world.facts["web"] == "running"
    assert set(statuses(run).values()) == {"succeeded"}


def test_the_end_of_a_run_that_was_cut_off_comes_again_after_what_failed() -> None:
    run = released_at_the_end("check")
    run.world.meets("tell", "make", Fate.CRASH_LIVING)
    crashed(run)
    run.world.facts["work"] = "new"
    seen = []
    run.world.seen = lambda operation, use: seen.append(use.id.split("/")[0])
    assert run.resume() is ExitCode.DONE
    assert seen.index("work") < len(seen) - 1 - seen[::-1].index("start"), "released after what was inside"
    assert set(statuses(run).values()) == {"succeeded"}
    assert run.state is not None and run.state.step("tell").attempt == 3, "settled, and done again at the end"


def test_a_release_that_failed_in_a_runs_end_starts_what_its_hold_has_stopped_since() -> None:
    run = released_at_the_end()
    run.world.facts["cron"] = "running"
    run.world.meets("stop", "stop_cron", Fate.FAILS)
    run.world.meets("start", "start_web", Fate.CRASH_BEFORE, Fate.FAILS)
    run.world.meets("tell", "make", Fate.CRASH_BEFORE)
    with pytest.raises(Crash):  # settling the release fails; then the hold is taken, whole by now, and the work is done
        crashed(run).resume()
    run.after_kill()
    assert run.resume() is ExitCode.DONE
    assert (run.world.facts["web"], run.world.facts["cron"]) == ("running", "running")


def test_a_hold_round_nothing_that_was_released_after_its_failure_is_released_again_after_it_is_taken() -> None:
    stop = step("stop", "pause", services=["web", "cron"])
    start = step("start", "unpause", "stop", releases="stop", services=["web", "cron"])
    run = MemoryRun([stop, start], World(facts={"web": "running", "cron": "running"}))
    run.world.meets("stop", "stop_cron", Fate.FAILS)
    assert run.apply() is ExitCode.FAILED
    assert run.world.facts["web"] == "running"
    run.after_kill()
    assert run.resume() is ExitCode.DONE
    assert (run.world.facts["web"], run.world.facts["cron"]) == ("running", "running")
