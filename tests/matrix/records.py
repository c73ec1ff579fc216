"""Faults of the disk and the records: kills and power cuts at every call, torn and altered bytes, full and lying disks."""

from __future__ import annotations

from tests.matrix import elsewhere, without
from tests.matrix.row import Row

J, R, S = "tests/journal", "tests/runner", "tests/transports/supervisor"

RECORDS = (
    Row(
        "F1",
        "killed at every write, sync and rename of the journal, and of a real restore",
        "a record is synced before it is relied on",
        (f"{J}/test_power.py::test_killed_at_each_point_nothing_promised_is_lost", "tests/sweep/test_syncs.py"),
        without.intents,
        (f"{R}/test_step.py::test_the_intent_is_durable_before_the_effect",),
    ),
    Row(
        "F3",
        "killed while it goes on, three deep",
        "what an earlier process wrote is synced again before it is relied on",
        (
            f"{J}/test_power.py::test_killed_three_times_while_recovering",
            f"{J}/test_power.py::test_the_power_is_cut_at_every_operation_and_again_while_recovering",
            f"{R}/test_kill.py::test_killed_three_times_in_a_row_while_going_on",
        ),
        without.writing_again,
        (f"{J}/test_power.py::test_what_a_failed_sync_gave_up_is_written_again_before_it_is_relied_on",),
    ),
    Row(
        "F7",
        "unsynced bytes are lost at a power cut, after each operation",
        "a sync before every acknowledgement",
        (f"{J}/test_power.py::test_the_power_is_cut_at_every_operation_and_again_while_recovering",),
        without.syncs,
        (f"{J}/test_power.py::test_the_power_is_cut_at_every_operation_and_again_while_recovering",),
    ),
    Row(
        "F8",
        "a record is torn",
        "a torn tail is set aside, then cut",
        (
            f"{J}/test_local.py::test_a_torn_tail_is_set_aside_and_cut",
            f"{J}/test_local.py::test_each_torn_tail_is_kept",
        ),
        without.setting_aside,
        (f"{J}/test_local.py::test_each_torn_tail_is_kept",),
    ),
    Row(
        "F9",
        "the power goes, and with it what was not synced of a child's start: its bytes, or the name of its file",
        "the start record and every name on the way to it are on the disk before the child executes",
        (
            f"{S}/test_ledger.py",
            f"{S}/test_client.py::test_the_start_record_is_there_before_the_child_executes",
            f"{S}/test_crash.py::test_every_kill_point",
            f"{S}/test_crash.py::test_after_a_reboot_nothing_of_before_counts_as_running",
            f"{S}/test_worker.py::test_the_record_and_every_name_on_the_way_to_it_are_synced_before_it_executes",
        ),
        elsewhere.synced_names,
        (f"{S}/test_ledger.py::test_the_files_name_is_on_the_disk_before_anything_starts",),
    ),
    Row(
        "F9b",
        "the same in a container or on another machine",
        "the worker's script syncs its record and the names of its folders before the child executes",
        (
            f"{S}/test_worker.py::test_the_record_and_every_name_on_the_way_to_it_are_synced_before_it_executes",
            f"{S}/test_worker.py::test_the_start_record_is_there_before_it_executes_and_names_it",
            f"{S}/test_worker.py::test_a_killed_worker_leaves_a_child_whose_end_is_unknown",
        ),
        elsewhere.synced_there,
        (f"{S}/test_worker.py::test_the_record_and_every_name_on_the_way_to_it_are_synced_before_it_executes",),
    ),
    Row(
        "F10",
        "a disk whose sync lies",
        "the head says what was acknowledged: the loss is seen",
        (f"{J}/test_power.py::test_a_disk_whose_sync_lies_loses_records_and_is_caught",),
        without.head,
        (f"{J}/test_power.py::test_a_disk_whose_sync_lies_loses_records_and_is_caught",),
    ),
    Row(
        "F11",
        "the journal is truncated at every byte",
        "the head says what was acknowledged",
        (
            f"{J}/test_reading.py::test_truncated_at_every_byte_with_a_complete_head",
            f"{J}/test_reading.py::test_truncated_at_every_byte_with_a_head_of_three",
            f"{J}/test_local.py::test_a_truncated_journal_is_refused_at_every_byte",
        ),
        without.head,
        (f"{J}/test_reading.py::test_truncated_at_every_byte_with_a_complete_head",),
    ),
    Row(
        "F12",
        "every bit is flipped",
        "each record has its hash",
        (
            f"{J}/test_reading.py::test_no_flipped_bit_is_accepted",
            f"{J}/test_record.py::test_every_flipped_bit_of_a_line_is_seen",
        ),
        without.hashes,
        (f"{J}/test_record.py::test_every_flipped_bit_of_a_line_is_seen",),
    ),
    Row(
        "F13",
        "records are dropped, doubled, swapped, rewritten",
        "each record names the one before it",
        (
            f"{J}/test_reading.py::test_a_dropped_record_is_named",
            f"{J}/test_reading.py::test_a_doubled_record_is_named",
            f"{J}/test_reading.py::test_swapped_records_are_named",
            f"{J}/test_reading.py::test_a_rewritten_middle_breaks_the_chain",
            f"{J}/test_reading.py::test_a_rewritten_end_disagrees_with_the_head",
        ),
        without.chain,
        (f"{J}/test_reading.py::test_a_dropped_record_is_named",),
    ),
    Row(
        "F15",
        "a slot of the head is torn or missing, or both are",
        "two slots, written in turns",
        (
            f"{J}/test_head.py",
            f"{J}/test_local.py::test_one_torn_slot_of_the_head_is_written_again",
            f"{J}/test_local.py::test_without_a_head_nothing_goes_on_but_everything_is_shown",
        ),
        without.both_slots,
        (f"{J}/test_local.py::test_one_torn_slot_of_the_head_is_written_again",),
    ),
    Row(
        "F17",
        "the disk runs full, at any size",
        "a reserve for the stop's own record",
        (
            f"{J}/test_failing.py::test_a_real_file_system_that_runs_full",
            f"{J}/test_failing.py::test_on_a_full_disk_the_stop_is_recorded_from_the_reserve",
            f"{J}/test_failing.py::test_a_file_system_too_small_to_begin_on",
        ),
        without.poison,
        (f"{J}/test_failing.py::test_a_full_disk_that_the_reserve_does_not_help",),
    ),
    Row(
        "F18",
        "writes take fewer bytes than they were given",
        "the rest is written, or it is a fault",
        (
            f"{J}/test_failing.py::test_short_writes_are_completed",
            f"{J}/test_failing.py::test_a_write_that_takes_nothing_is_a_fault",
        ),
        without.syncs,
        (f"{J}/test_failing.py::test_short_writes_are_completed",),
    ),
    Row(
        "F19",
        "a write, a sync or a close fails, each in turn",
        "a failed sync is never tried again",
        (
            f"{J}/test_failing.py::test_any_operation_that_fails_ends_in_a_fault_with_a_text",
            f"{J}/test_failing.py::test_a_failed_write_or_sync_is_never_tried_again",
        ),
        without.poison,
        (f"{J}/test_failing.py::test_a_failed_write_or_sync_is_never_tried_again",),
    ),
    Row(
        "F20",
        "a sync fails once, and the next would succeed",
        "the journal stays poisoned",
        (
            f"{J}/test_failing.py::test_a_failed_write_or_sync_is_never_tried_again",
            f"{J}/test_threads.py::test_one_failed_sync_fails_every_thread_that_waited_for_it",
        ),
        without.poison,
        (f"{J}/test_failing.py::test_a_failed_write_or_sync_is_never_tried_again",),
    ),
    Row(
        "F22",
        "the log's disk is full, the journal's is not",
        "a log is marked as cut off, and the step goes on",
        (
            f"{S}/test_output.py::test_a_log_that_can_not_be_written_is_marked",
            f"{S}/test_output.py::test_a_full_disk_under_the_log_leaves_the_child_alone",
        ),
        elsewhere.logs_may_fail,
        (f"{S}/test_output.py::test_a_full_disk_under_the_log_leaves_the_child_alone",),
    ),
)
