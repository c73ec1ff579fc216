"""Steps that are tried again."""

from __future__ import annotations

from tests.outcomes.case import Case, Group, Resume
from tests.outcomes.steps import check, mail, restore, step
from tests.runner.world import Fate

THREE = {"attempts": 3, "delay": "6s"}
FAILS, LOST = Fate.FAILS, Fate.LOST_BEFORE

RETRIES = Group(
    "Tried again",
    (
        "`retry` is for definite failures.",
        "Unknown is tried again only where the action says that repeating is safe.",
        "What a guard refused is not tried again.",
    ),
    {
        "retried": Case(
            "A step fails twice and succeeds the third time",
            restore(retry=THREE) + step("answers"),
            "restore succeeded, answers succeeded",
            "succeeded",
            (0,),
            meets={"restore:make": (FAILS, FAILS)},
        ),
        "retried-in-vain": Case(
            "A step fails as often as it may be tried",
            restore(retry=THREE) + step("answers"),
            "restore failed, answers cancelled",
            "failed",
            (1,),
            meets={"restore:make": (FAILS, FAILS, FAILS)},
        ),
        "retried-by-a-resume": Case(
            "The same; a resume may try as often once more",
            restore(retry=THREE) + step("answers"),
            "restore succeeded, answers succeeded",
            "succeeded",
            (1, 0),
            (Resume(),),
            meets={"restore:make": (FAILS, FAILS, FAILS, FAILS, FAILS)},
        ),
        "retried-and-continued": Case(
            "The same with `on_failure: continue`",
            restore(on_failure="continue", retry=THREE) + step("answers"),
            "restore failed, answers succeeded",
            "completed_with_failures",
            (1,),
            meets={"restore:make": (FAILS, FAILS, FAILS)},
        ),
        "retried-read": Case(
            "A read is out of time once: a failure, so it is tried again",
            restore() + check(retry=THREE),
            "restore succeeded, check succeeded",
            "succeeded",
            (0,),
            meets={"check:test": (LOST,)},
        ),
        "retried-check": Case(
            "A check says no each time",
            check("other", retry=THREE),
            "check failed",
            "failed",
            (1,),
        ),
        "retried-unknown": Case(
            "A change with `retry` becomes unknown: it is not blindly tried again",
            restore(retry=THREE) + step("answers"),
            "restore unknown, answers pending",
            "unknown",
            (6,),
            meets={"restore:commit": (LOST,)},
        ),
        "retried-unseen": Case(
            "The same, of a change that nobody can see",
            mail(retry=THREE) + step("answers"),
            "mail unknown, answers pending",
            "unknown",
            (6,),
            meets={"mail:part1": (LOST,)},
        ),
        "retried-repeatable": Case(
            "The same, of a change that may be done twice: it is tried again",
            step("sync", "repeat", retry=THREE) + step("answers"),
            "sync succeeded, answers succeeded",
            "succeeded",
            (0,),
            meets={"sync:again": (LOST,)},
        ),
        "retried-repeatable-in-vain": Case(
            "The same, unknown each time",
            step("sync", "repeat", retry=THREE) + step("answers"),
            "sync unknown, answers pending",
            "unknown",
            (6,),
            meets={"sync:again": (LOST, LOST, LOST)},
        ),
        "retried-repeatable-once": Case(
            "A change that may be done twice, without `retry`, becomes unknown; the resume does it again",
            step("sync", "repeat") + step("answers"),
            "sync succeeded, answers succeeded",
            "succeeded",
            (6, 0),
            (Resume(),),
            meets={"sync:again": (LOST,)},
        ),
        "retried-refused": Case(
            "A guard refuses a step with `retry`: once is enough",
            restore(retry=THREE),
            "restore failed",
            "failed",
            (4,),
            things={"db": "forbidden"},
        ),
        "retried-then-unknown": Case(
            "A step fails, is tried again, and becomes unknown",
            restore(retry=THREE) + step("answers"),
            "restore unknown, answers pending",
            "unknown",
            (6,),
            meets={"restore:make": (FAILS,), "restore:commit": (LOST,)},
        ),
        "retried-and-stopped": Case(
            "The operator stops the run during the attempt that fails: it is not tried again",
            restore(retry=THREE) + step("answers"),
            "restore failed, answers pending",
            "interrupted",
            (130,),
            meets={"restore:make": (FAILS,)},
            stops={"restore:make": 1},
        ),
    },
)
