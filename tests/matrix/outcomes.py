"""What happens when not all goes well (H6 and on): one row a group of the cases, and one for what ``show`` says of it."""

from __future__ import annotations

from tests.matrix import without_outcomes as without
from tests.matrix.row import Row

CASES = "tests/outcomes/test_cases.py"
CASE = f"{CASES}::test_a_case_ends_as_it_has_to"
DECIDE = "tests/engine/test_decide.py"

OUTCOMES = (
    Row(
        "H6",
        "steps are skipped, by a condition and by people, with what follows them and uses their outputs",
        "an output that may be missing is refused before anything runs",
        (CASE, f"{CASES}::test_a_plan_that_can_not_be_meant_is_refused"),
        without.missing_outputs,
        (f"{CASES}::test_a_plan_that_can_not_be_meant_is_refused",),
    ),
    Row(
        "H7",
        "steps fail, alone, together, beside others, in `on_failure_steps`",
        "after a failure nothing new starts, but for what is there for failures",
        (CASE,),
        without.stopping_at_a_failure,
        (f"{CASE}[failed-warned]",),
    ),
    Row(
        "H8",
        "steps become unknown, alone, beside others, and again",
        "what is unknown, or being found out, lets nothing new start",
        (CASE, f"{DECIDE}::test_while_an_unknown_step_is_looked_at_nothing_new_begins"),
        without.settling,
        (f"{DECIDE}::test_while_an_unknown_step_is_looked_at_nothing_new_begins",),
    ),
    Row(
        "H9",
        "steps are tried again: failed, refused, unknown",
        "only definite failures, and what may be done twice",
        (CASE,),
        without.only_failures_retried,
        (f"{CASE}[retried-unknown]", f"{CASE}[retried-refused]"),
    ),
    Row(
        "H10",
        "a resume ends, is stopped or fails before it has taken a hold again",
        "a hold is in force until it is released, whatever was put back",
        (CASE, f"{DECIDE}::test_a_hold_that_a_resume_put_back_and_did_not_take_again_is_in_force"),
        without.remembered_holds,
        (f"{CASE}[held-resume-stopped]", f"{CASE}[held-resume-failed-elsewhere]"),
    ),
    Row(
        "H11",
        "a run ends, is interrupted or stops at what is unknown, with a `finally`",
        "`finally` waits for the resume where the end isn't known yet",
        (CASE,),
        without.patient_end,
        (f"{CASE}[finally-not-while-unknown]", f"{CASE}[interrupted]"),
    ),
    Row(
        "H12",
        "people are waited for, answer, don't, and abandon",
        "what doesn't depend on a waiting step goes on",
        (CASE,),
        without.branches_beside_people,
        (f"{CASE}[waiting]",),
    ),
    Row(
        "H13",
        "a resume that goes well does what `show` had said of it",
        "the engine itself is asked, with nothing performed",
        (CASE,),
        without.asked_engine,
        (f"{CASE}[held-inside-failed]",),
    ),
)
