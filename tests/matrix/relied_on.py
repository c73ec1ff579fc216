"""What a run relies on: its backup, its plan, its version, answers, looks that only read, logins."""

from __future__ import annotations

from tests.matrix import elsewhere, without
from tests.matrix.row import Row

R, T, E, A = "tests/runner", "tests/transports", "tests/evidence", "tests/actions/postgres"

RELIED_ON = (
    Row(
        "F38",
        "a backup with a flipped bit, cut off, empty, changed beside its manifest",
        "a SHA-256 of every file, read in full before anything is stopped",
        ("tests/evidence/test_refused.py",),
        elsewhere.hash_compared,
        ("tests/evidence/test_refused.py::test_a_flipped_bit_in_data_that_is_not_compressed",),
    ),
    Row(
        "F39",
        "a backup of no bytes, of a newer server, of another database; a manifest that contradicts its archive",
        "the manifest and the archive's own head are compared with what is wanted before anything is begun",
        tuple(
            f"{E}/test_refused.py::{name}"
            for name in (
                "test_empty",
                "test_empty_with_a_manifest_that_says_it_was_so",
                "test_of_another_database",
                "test_of_another_database_with_a_manifest_that_names_this_one",
                "test_of_a_newer_server",
                "test_of_a_newer_server_with_a_manifest_that_says_otherwise",
            )
        ),
        elsewhere.archive_head,
        (f"{E}/test_refused.py::test_of_another_database_with_a_manifest_that_names_this_one",),
    ),
    Row(
        "F42",
        "the connection is cut during COMMIT",
        "the transaction's id is noted before, and asked after",
        (
            f"{T}/test_commit.py",
            f"{T}/test_fence.py::test_a_noted_transaction_is_settled_by_the_server",
            "tests/trouble/test_commit.py",
        ),
        without.asked_server,
        (f"{T}/test_commit.py::test_a_lost_answer_to_commit_is_settled_by_the_server_itself",),
    ),
    Row(
        "F51",
        "plan, template or inputs are edited before a resume",
        "the frozen plan goes on, and a changed one is refused",
        (f"{R}/test_frozen.py",),
        elsewhere.frozen_plan,
        (f"{R}/test_frozen.py::test_a_run_is_thawed_as_it_was_frozen",),
    ),
    Row(
        "F52",
        "another version of runbook goes on with a run",
        "an event that this version doesn't know, in name or keys, is refused with the version that does",
        ("tests/engine/test_events.py::test_an_event_of_another_version_is_refused",),
        elsewhere.known_events,
        ("tests/engine/test_events.py::test_an_event_of_another_version_is_refused",),
    ),
    Row(
        "F53",
        "killed at every record of a change of logins, with a service that uses them",
        "which of the two is made ready is pinned, and the former goes only when the new one works",
        (
            f"{A}/test_rotate_role_real.py::test_stopped_anywhere_and_resumed",
            f"{A}/test_rotate_role_real.py::test_killed_at_every_record_of_the_journal_there_is_no_gap",
        ),
        elsewhere.pinned_login,
        (
            f"{A}/test_rotate_role_real.py::test_stopped_anywhere_and_resumed",
            f"{A}/test_rotate_role_real.py::test_killed_at_every_record_of_the_journal_there_is_no_gap",
        ),
    ),
    Row(
        "F55",
        "a dry-run under strace, of every plan that ships",
        "a look that can only read, and a directory of its own that goes afterwards",
        ("tests/evidence/test_inert.py",),
        elsewhere.private_directory,
        ("tests/evidence/test_inert.py::test_a_dry_run_writes_nowhere",),
    ),
    Row(
        "F55b",
        "an observer that would write: SQL, a program that is not on the list of those that read",
        "every look is a read-only transaction, or a program of the list",
        (
            f"{T}/test_look.py::test_a_query_cannot_change_anything",
            f"{T}/test_look.py::test_programs_are_on_a_list",
            f"{T}/test_readonly.py",
        ),
        elsewhere.read_only,
        (f"{T}/test_look.py::test_a_query_cannot_change_anything",),
    ),
)
