"""Kills, signals and timeouts: of the engine, the supervisor and their children, at every boundary."""

from __future__ import annotations

from tests.matrix import elsewhere, without
from tests.matrix.row import Row

R, S, T = "tests/runner", "tests/transports/supervisor", "tests/transports"

KILLS = (
    Row(
        "F2",
        "killed at each boundary of a step's life, each kind of step",
        "the fence, then the records, then the world",
        (f"{R}/test_step.py", f"{R}/test_kill.py", f"{S}/test_crash.py", "tests/rehearse/test_rehearsal.py"),
        without.fence,
        (f"{R}/test_step.py::test_the_fence_comes_before_the_first_look",),
    ),
    Row(
        "F4",
        "the supervisor alone is killed",
        "its records, and the mark of the run in every child's environment",
        (
            f"{R}/test_kill.py::test_a_killed_supervisor_leaves_its_child_and_nothing_runs_twice",
            f"{S}/test_crash.py::test_a_killed_supervisor_leaves_a_child_that_goes_on_and_then_can_not_be_known",
        ),
        elsewhere.begun_records,
        (f"{R}/test_kill.py::test_a_killed_supervisor_leaves_its_child_and_nothing_runs_twice",),
    ),
    Row(
        "F4b",
        "the supervisor is killed while a step starts a daemon",
        "what starts it executes nothing before its process id is on record",
        (
            f"{S}/test_crash.py::test_what_starts_a_daemon_executes_nothing_before_it_is_on_record",
            f"{S}/test_crash.py::test_a_daemon_is_not_taken_for_what_started_it",
            f"{S}/test_job.py",
        ),
        elsewhere.held_until_recorded,
        (f"{S}/test_crash.py::test_what_starts_a_daemon_executes_nothing_before_it_is_on_record",),
    ),
    Row(
        "F5",
        "the engine is killed, its child goes on, a resume attaches",
        "the fence waits for what lives",
        (
            f"{R}/test_kill.py::test_an_engine_that_is_killed_leaves_its_child_and_the_resume_attaches",
            f"{T}/test_fence.py::test_a_living_child_is_waited_for_and_its_result_is_adopted",
        ),
        without.fence,
        (f"{R}/test_step.py::test_records_settle_what_nobody_can_look_at",),
    ),
    Row(
        "F6",
        "engine, supervisor and child are killed",
        "unknown is not failed: a probe or a person decides",
        (
            f"{R}/test_kill.py::test_when_everything_is_killed_a_person_is_asked",
            f"{R}/test_kill.py::test_when_everything_is_killed_a_probe_decides",
        ),
        without.unknowns,
        (f"{R}/test_step.py::test_a_step_that_nobody_can_look_at_is_unknown_until_a_person_says",),
    ),
    Row(
        "F23",
        "one signal in the middle of a step",
        "what runs finishes, nothing more begins",
        (
            f"{R}/test_kill.py::test_a_signal_lets_the_step_finish_and_starts_nothing",
            f"{R}/test_loop.py::test_a_signal_lets_what_runs_finish_and_starts_nothing",
        ),
        elsewhere.first_signal,
        (f"{R}/test_kill.py::test_a_signal_lets_the_step_finish_and_starts_nothing",),
    ),
    Row(
        "F24",
        "a second signal, and a child that ignores TERM",
        "KILL after ten seconds; what ran is unknown",
        (f"{R}/test_kill.py::test_the_second_signal_ends_a_child_that_ignores_being_asked",),
        elsewhere.kill_after_grace,
        (f"{R}/test_kill.py::test_the_second_signal_ends_a_child_that_ignores_being_asked",),
    ),
    Row(
        "F24b",
        "the supervisor is stopped (SIGSTOP) while it supervises, and before a resume",
        "who hears nothing looks whether it stands still; what it supervises needs nobody to go on",
        (f"{S}/test_stopped.py",),
        without.looked_at,
        (f"{S}/test_stopped.py::test_whoever_waits_is_told_and_the_child_goes_on",),
    ),
    Row(
        "F25",
        "a storm of signals",
        "each of the three has a handler, which only counts",
        (f"{R}/test_kill.py::test_a_storm_of_signals_shows_no_traceback_and_loses_nothing",),
        elsewhere.handled_signals,
        (f"{R}/test_kill.py::test_a_storm_of_signals_shows_no_traceback_and_loses_nothing",),
    ),
    Row(
        "F28",
        "a timeout, and a child that double-forks into a session of its own",
        "the supervisor is the subreaper, and every child carries the run's mark",
        (
            f"{R}/test_kill.py::test_a_timeout_leaves_no_descendant",
            f"{S}/test_kill.py::test_a_timeout_leaves_no_descendant",
        ),
        elsewhere.subreaper,
        (f"{S}/test_kill.py::test_a_timeout_leaves_no_descendant",),
    ),
    Row(
        "F54",
        "killed, failed or unanswered while a failure takes back what it did",
        "what is taken back has a fence and a record of its own, and goes forward after it",
        (f"{R}/test_retreat.py", "tests/engine/test_transitions.py"),
        without.taking_back,
        (f"{R}/test_retreat.py::test_after_a_definite_failure_it_is_taken_back_and_the_next_go_begins_anew",),
    ),
    Row(
        "F56",
        "thousands of random plans, faults and crashes on a fake world",
        "the engine as a whole",
        ("tests/simulation",),
        without.retaken_holds,
        (f"{R}/test_holds.py",),
    ),
)
