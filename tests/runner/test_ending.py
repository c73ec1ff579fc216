"""How a run ended: exit codes, recovery time and point against their objectives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from runbook.engine.run import Run
from runbook.engine.transitions import RunStatus
from runbook.errors import ExitCode
from runbook.plan.model import Objectives
from runbook.runner.ending import exit_code, measure, recovery_point
from tests.engine.story import PROBLEM, Story, chain
from tests.runner.memory_run import MemoryRun, plan_of, step
from tests.runner.world import World

NOON = datetime(2026, 2, 14, 12, tzinfo=UTC)


def done(*points: str) -> Run:
    """A run whose steps succeeded, with these recovery points in their outputs."""
    story = Story(chain(*(f"s{number}" for number in range(len(points) or 1))))
    for name in story.run.graph.order:
        story.done(name)
    run = story.run
    for name, point in zip(run.graph.order, points, strict=False):
        run = run._replace(outputs=run.outputs.insert(name, {"recovery_point": point}))
    return run


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (RunStatus.SUCCEEDED, ExitCode.DONE),
        (RunStatus.COMPLETED_WITH_FAILURES, ExitCode.FAILED),
        (RunStatus.FAILED, ExitCode.FAILED),
        (RunStatus.UNKNOWN, ExitCode.WAITING),
        (RunStatus.WAITING, ExitCode.WAITING),
        (RunStatus.INTERRUPTED, ExitCode.INTERRUPTED),
        (RunStatus.RUNNING, ExitCode.INTERRUPTED),
        (RunStatus.ABANDONED, ExitCode.DONE),
    ],
)
def test_the_exit_code_tells_the_state(status: RunStatus, code: ExitCode) -> None:
    assert exit_code(done(), status) is code


def test_a_run_is_refused_only_if_nothing_else_failed() -> None:
    run = MemoryRun([step("a"), step("b", "check")], World(facts={"a": "forbidden"}), parallel=2)
    assert run.apply() is ExitCode.FAILED
    run = MemoryRun([step("a")], World(facts={"a": "forbidden"}))
    assert run.apply() is ExitCode.REFUSED


def test_a_recovery_point_that_cannot_be_read_is_none_and_the_run_ends() -> None:
    run = done("2026-02-14T11:00:00Z", "noon")
    assert recovery_point(run) is None
    finished = measure(run, plan_of([step("a")], Objectives(rpo_s=1.0)), RunStatus.SUCCEEDED, NOON)
    assert (finished.exit_code, finished.rpo) == (ExitCode.DONE, None)


@pytest.mark.parametrize(("rto", "code"), [(60.0, ExitCode.DONE), (59.0, ExitCode.MISSED), (None, ExitCode.DONE)])
def test_recovery_time_counts_from_the_runs_start(rto: float | None, code: ExitCode) -> None:
    plan = plan_of([step("a")], Objectives(rto_s=rto))
    finished = measure(done(), plan, RunStatus.SUCCEEDED, NOON + timedelta(seconds=60))
    assert finished.exit_code == code
    assert finished.rto == {"target_s": rto, "actual_s": 60.0, "met": None if rto is None else rto == 60.0}
    assert finished.duration_s == 60.0


def test_a_clock_that_was_set_back_before_the_start_measures_nothing() -> None:
    plan = plan_of([step("a")], Objectives(rto_s=60.0))
    finished = measure(done(), plan, RunStatus.SUCCEEDED, NOON - timedelta(hours=1))
    assert (finished.duration_s, finished.rto, finished.exit_code) == (0.0, None, ExitCode.DONE)


def test_the_recovery_point_is_the_oldest_that_a_step_recovered() -> None:
    run = done("2026-02-14T11:00:00Z", "2026-02-14T09:00:00Z")
    assert recovery_point(run) == datetime(2026, 2, 14, 9, tzinfo=UTC)
    finished = measure(run, plan_of([step("a")], Objectives(rpo_s=3600.0)), RunStatus.SUCCEEDED, NOON)
    assert finished.rpo == {"target_s": 3600.0, "actual_s": 10800.0, "met": False}
    assert finished.exit_code == ExitCode.MISSED


def test_a_point_after_the_start_lost_nothing() -> None:
    plan = plan_of([step("a")], Objectives(rpo_s=1.0))
    finished = measure(done("2026-02-14T12:00:05Z"), plan, RunStatus.SUCCEEDED, NOON)
    assert finished.rpo == {"target_s": 1.0, "actual_s": 0.0, "met": True}


def test_without_recovered_data_there_is_no_point() -> None:
    finished = measure(done(), plan_of([step("a")], Objectives(rpo_s=1.0)), RunStatus.SUCCEEDED, NOON)
    assert finished.rpo is None
    assert finished.exit_code == ExitCode.DONE


def test_a_run_that_failed_meets_nothing() -> None:
    story = Story(chain("a")).started("a")
    story.failed("a")
    assert story.run.step("a").problem == PROBLEM
    plan = plan_of([step("a")], Objectives(rto_s=1e9))
    finished = measure(story.run, plan, RunStatus.FAILED, NOON)
    assert (finished.rto, finished.rpo, finished.exit_code) == (None, None, ExitCode.FAILED)


def test_a_missed_objective_is_exit_8_of_the_whole_run() -> None:
    run = MemoryRun([step("a")], World(takes_s={"make": 90.0}), objectives=Objectives(rto_s=60.0))
    assert run.apply() is ExitCode.MISSED
    assert run.state is not None
    assert run.state.status is RunStatus.SUCCEEDED
