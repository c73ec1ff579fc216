"""Holds, guards and codes (H): what stays stopped, what is refused, and what the end tells."""

from __future__ import annotations

from tests.matrix import without
from tests.matrix.row import Row

R = "tests/runner"

GUARDS = (
    Row(
        "H1",
        "holds, skips, failures: what stays stopped and what is started",
        "a hold is released only over what is whole",
        (f"{R}/test_holds.py", f"{R}/test_ending.py"),
        without.kept_holds,
        (f"{R}/test_holds.py::test_a_hold_stays_when_a_changing_step_inside_failed",),
    ),
    Row(
        "H2",
        "the exit code tells the state",
        "one table of statuses and codes",
        (f"{R}/test_ending.py::test_the_exit_code_tells_the_state",),
        without.exit_codes,
        (f"{R}/test_loop.py::test_a_failure_that_may_be_gone_on_from_ends_with_1_and_says_so",),
    ),
    Row(
        "H3",
        "a guard fact is another one than at the beginning",
        "guards are journalled and compared",
        (f"{R}/test_step.py::test_a_guard_that_differs_is_refused",),
        without.guards,
        (f"{R}/test_step.py::test_a_guard_that_differs_is_refused",),
    ),
    Row(
        "H4",
        "a resume that would do something that nobody approved",
        "the digests of what was shown",
        (
            f"{R}/test_step.py::test_only_what_was_approved_goes_on",
            f"{R}/test_step.py::test_a_resume_may_add_its_recovery_and_owned_clean_up",
        ),
        without.approved_only,
        (f"{R}/test_step.py::test_only_what_was_approved_goes_on",),
    ),
    Row(
        "H5",
        "an action that says it is done, and isn't",
        "the closing round",
        (f"{R}/test_step.py::test_the_closing_round_finds_a_wrong_observer",),
        without.closing_round,
        (f"{R}/test_step.py::test_the_closing_round_finds_a_wrong_observer",),
    ),
)
