"""Failures of the world: servers, containers, networks, names, buckets, disks, memory, clocks, machines."""

from __future__ import annotations

from tests.matrix import elsewhere
from tests.matrix import without_world as without
from tests.matrix.row import Row

W, R, S, J = "tests/trouble", "tests/runner", "tests/transports/supervisor", "tests/journal"

OF_THE_WORLD = (
    Row(
        "F21",
        "the records' file system is read-only or over its quota, a process may open no more files",
        "the journal stops the run, and what the machine lacks is told as that",
        (
            f"{W}/test_machine.py::test_a_process_may_open_few_files",
            f"{W}/test_machine.py::test_the_records_can_not_be_written_any_more",
            f"{W}/test_machine.py::test_the_records_were_remounted_read_only",
            f"{J}/test_failing.py::test_any_operation_that_fails_ends_in_a_fault_with_a_text",
        ),
        without.told_as_the_machines,
        (f"{W}/test_machine.py::test_a_process_may_open_few_files",),
    ),
    Row(
        "F27",
        "the terminal is gone",
        "HUP is handled as INT is, and nothing that is shown can end a run",
        (
            f"{W}/test_ending.py::test_the_terminal_is_gone",
            f"{R}/test_kill.py::test_a_signal_lets_the_step_finish_and_starts_nothing",
        ),
        elsewhere.handled_signals,
        (f"{W}/test_ending.py::test_the_terminal_is_gone",),
    ),
    Row(
        "F28b",
        "a command that ignores TERM and hides its children in sessions of their own: its time is over, Ctrl-C twice",
        "TERM, ten seconds, KILL, for all that carries the run's mark",
        (f"{W}/test_ending.py::test_a_command_that_ignores_term_and_double_forks",),
        elsewhere.kill_after_grace,
        (f"{W}/test_ending.py::test_a_command_that_ignores_term_and_double_forks",),
    ),
    Row(
        "F36",
        "a bucket answers 500 and 503, hangs up in the middle, and after it has done what was asked",
        "it is asked again within bounds, and a name that is taken is compared",
        (
            f"{W}/test_bucket.py::test_a_service_that_is_busy_is_asked_again_within_bounds",
            f"{W}/test_bucket.py::test_a_service_that_stays_broken_is_told_and_nothing_is_archived",
        ),
        without.asked_again,
        (f"{W}/test_bucket.py::test_a_service_that_is_busy_is_asked_again_within_bounds",),
    ),
    Row(
        "F37",
        "an object is cut off or replaced while it is read",
        "the SHA-256 that was stored with it",
        (
            f"{W}/test_bucket.py::test_what_does_not_come_whole_is_not_taken",
            "tests/walstore/test_store.py::test_what_was_changed_in_the_bucket_is_not_fetched",
        ),
        without.hashed_on_the_way,
        (f"{W}/test_bucket.py::test_what_does_not_come_whole_is_not_taken",),
    ),
    Row(
        "F40",
        "PostgreSQL restarts, or goes, in the middle of a restore",
        "what is loaded is another database until it is marked as whole",
        (
            f"{W}/test_server.py",
            "tests/actions/postgres/test_restore_trouble_real.py::test_a_server_that_dies_in_the_middle",
        ),
        without.half_is_no_copy,
        (f"{W}/test_server.py::test_postgresql_is_restarted_in_the_middle_of_a_restore",),
    ),
    Row(
        "F41",
        "a backend is killed inside DROP DATABASE, at a file",
        "a connection that broke leaves a change unknown, and a half-dropped database is dropped again",
        (f"{W}/test_drop.py",),
        without.lost_is_unknown,
        (f"{W}/test_drop.py",),
    ),
    Row(
        "F43",
        "the disk is full: the server's, the store's, that of the records",
        "what could not be written is a failure, the live database is not touched before its successor is whole",
        (
            f"{W}/test_disk.py",
            "tests/actions/postgres/test_restore_trouble_real.py::test_a_full_disk_leaves_the_live_database_intact",
        ),
        without.failed_pump,
        (f"{W}/test_disk.py::test_the_stores_disk_runs_full_while_it_is_dumped_to",),
    ),
    Row(
        "F44",
        "the container is killed, the client of its exec is, the Docker Engine is away or restarted",
        "the records are in the container; what can't be asked there is not taken for ended",
        (f"{W}/test_containers.py", f"{W}/test_container_restore.py", f"{W}/test_engine.py"),
        without.asked_there,
        (f"{W}/test_containers.py::test_the_engine_is_away_for_a_while",),
    ),
    Row(
        "F44b",
        "a container whose records go with it is killed and started again; one that is replaced by another",
        "that there is no record of a start counts only in the container that it was begun in",
        (f"{W}/test_containers.py::test_the_container_is_killed",),
        without.another_container,
        (f"{W}/test_containers.py::test_the_container_is_killed",),
    ),
    Row("F45", "an SSH connection is half open", "keepalives", owed="hosts over SSH come later"),
    Row(
        "F46",
        "no such name, a name server that says nothing: before anything has begun, and in the middle",
        "before, it is a failure; after something has begun nobody knows until it can be asked",
        (f"{W}/test_names.py",),
        without.begun_is_touched,
        (f"{W}/test_names.py::test_a_name_that_goes_in_the_middle_of_a_restore",),
    ),
    Row(
        "F48",
        "a clock in the past: a certificate that is not valid yet, a run that ends before it began",
        "nothing but what is shown rests on the wall clock, and TLS says so",
        (
            f"{W}/test_clock.py",
            f"{R}/test_ending.py::test_a_clock_that_was_set_back_before_the_start_measures_nothing",
        ),
        without.named_clock,
        (f"{W}/test_clock.py",),
    ),
    Row(
        "F49",
        "the supervisor has no more memory, or is killed for it; so is the engine",
        "as when they are killed: what was going on is unknown, and its records are read",
        (
            f"{W}/test_machine.py::test_the_supervisor_may_have_no_more_memory",
            f"{R}/test_kill.py::test_a_killed_supervisor_leaves_its_child_and_nothing_runs_twice",
            f"{R}/test_kill.py::test_an_engine_that_is_killed_leaves_its_child_and_the_resume_attaches",
        ),
        without.lost_supervisor,
        (f"{R}/test_kill.py::test_a_killed_supervisor_leaves_its_child_and_nothing_runs_twice",),
    ),
    Row(
        "F50",
        "the machine is started anew in the middle of a step",
        "a record names its boot: of another one nothing lives, and how it ended is unknown",
        (
            f"{W}/test_machine.py::test_the_machine_was_started_anew_in_the_middle",
            f"{S}/test_crash.py::test_after_a_reboot_nothing_of_before_counts_as_running",
        ),
        without.other_boots,
        (f"{W}/test_machine.py::test_the_machine_was_started_anew_in_the_middle",),
    ),
)
