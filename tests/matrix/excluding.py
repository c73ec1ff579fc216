"""Two at once: resumes of one run, plans on one target, holders that were killed or stopped."""

from __future__ import annotations

from tests.matrix import elsewhere, without
from tests.matrix.row import Row

J, R = "tests/journal", "tests/runner"
CLUSTER = "tests/transports/test_cluster_locks.py"

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
        "F31b",
        "two plans on one cluster, from two machines; the first one's engine is killed",
        "a lock in the cluster itself, and a look at who works there",
        ("tests/trouble/test_two_machines.py", CLUSTER),
        elsewhere.asked_cluster,
        ("tests/trouble/test_two_machines.py",),
    ),
    Row(
        "F33",
        "the backend that holds the cluster's lock is killed, and another run takes it",
        "before each change the lock is looked at: what was lost is taken again, or nothing more is changed",
        (
            f"{CLUSTER}::test_a_run_that_lost_its_cluster_to_another_changes_nothing_more",
            f"{CLUSTER}::test_a_lock_that_was_lost_is_taken_again",
        ),
        without.kept_clusters,
        (f"{CLUSTER}::test_a_run_that_lost_its_cluster_to_another_changes_nothing_more",),
    ),
    Row(
        "F33b",
        "another run locks first what a step makes or puts in its target's place",
        "what isn't locked yet is locked before a step changes it",
        ("tests/runner/test_taken.py",),
        without.taken,
        ("tests/runner/test_taken.py",),
    ),
    Row(
        "F34-F35",
        "the answers of a lock in a bucket are lost, two races",
        "fencing",
        owed="waits for the shared state",
    ),
)
