"""Two at once: resumes of one run, plans on one target, holders that were killed or stopped."""

from __future__ import annotations

from tests.matrix import without
from tests.matrix.row import Row

J, R = "tests/journal", "tests/runner"

EXCLUDING = (
    Row(
        "F26",
        "the engine is stopped past its time, and another takes over",
        "fencing",
        owed="waits for the shared state",
    ),
    Row(
        "F30",
        "many resumes of one run at once",
        "engine.lock",
        (
            f"{R}/test_kill.py::test_of_many_resumes_one_goes_on",
            f"{J}/test_locks.py::test_of_twenty_processes_one_wins_and_the_others_name_it",
        ),
        without.flocks,
        (f"{J}/test_locks.py::test_the_second_is_told_who_since_when_and_what_to_do",),
    ),
    Row(
        "F31",
        "two plans on one target; a lock file that was taken away; a lock after its holder was killed",
        "a lock by the target's own identity, held by an open file",
        (
            f"{R}/test_kill.py::test_two_plans_on_one_target_exclude_each_other",
            f"{J}/test_locks.py::test_a_lock_file_that_was_taken_away_does_not_make_two_winners_of_one_name",
            f"{J}/test_locks.py::test_a_killed_holder_leaves_no_lock_and_no_name",
            f"{J}/test_locks.py::test_a_target_has_one_lock_whoever_asks_and_from_wherever",
        ),
        without.named_locks,
        (f"{J}/test_locks.py::test_a_name_that_goes_between_opening_and_locking_is_not_the_lock",),
    ),
    Row(
        "F33-F35",
        "the lock's backend is killed, its answers are lost, two races",
        "fencing",
        owed="waits for the shared state",
    ),
)
