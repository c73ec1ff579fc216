"""``finally``, interrupts and objectives: how a run comes to its end."""

from __future__ import annotations

from tests.outcomes.case import Answer, Case, Group, Refusal, Resume
from tests.outcomes.steps import ask, check, mail, restore, step
from tests.runner.world import Fate

FAILS, LOST = Fate.FAILS, Fate.LOST_BEFORE
TIDY = "finally:\n" + step("tidy") + step("report")
USES = {"thing": "report", "value": "{{ steps.restore.kept_as }}"}
TELLS = {"thing": "report", "value": "{{ run.outcome }}"}

ENDINGS = Group(
    "At the end: `finally`, interrupts, objectives",
    (
        "`finally` runs after success, definite failure or cancellation; not while a step is unknown or waiting, and not on an"
        " interrupt: then the resume runs it.",
        "Its steps use no outputs of `steps`. One that fails doesn't keep the others from running.",
        "The first interrupt lets what runs finish and starts nothing; the second one ends what runs. Exit code 130.",
        "An objective (`rto`, `rpo`) that was missed by a run that succeeded is exit code 8.",
    ),
    {
        "finally-after-success": Case(
            "All goes well",
            restore() + TIDY,
            "restore succeeded, tidy succeeded, report succeeded",
            "succeeded",
            (0,),
        ),
        "finally-after-failure": Case(
            "A step fails; `finally` may say how the run ends",
            restore() + "finally:\n" + step("report", with_=TELLS),
            "restore failed, report succeeded",
            "failed",
            (1,),
            meets={"restore:make": (FAILS,)},
        ),
        "finally-failed": Case(
            "All goes well, and a step of `finally` fails: the others of it run, and the run failed",
            restore() + TIDY,
            "restore succeeded, tidy failed, report succeeded",
            "failed",
            (1,),
            meets={"tidy:make": (FAILS,)},
        ),
        "finally-failed-resumed": Case(
            "The same; the resume goes through the whole of `finally` again, and through nothing else",
            restore() + TIDY,
            "restore succeeded, tidy succeeded, report succeeded",
            "succeeded",
            (1, 0),
            (Resume(),),
            meets={"tidy:make": (FAILS,)},
        ),
        "finally-failed-and-continued": Case(
            "A step of `finally` with `on_failure: continue` fails",
            restore() + "finally:\n" + step("tidy", on_failure="continue") + step("report"),
            "restore succeeded, tidy failed, report succeeded",
            "completed_with_failures",
            (1,),
            meets={"tidy:make": (FAILS,)},
        ),
        "finally-unknown": Case(
            "A step of `finally` becomes unknown",
            restore() + TIDY,
            "restore succeeded, tidy unknown, report pending",
            "unknown",
            (6,),
            meets={"tidy:commit": (LOST,)},
        ),
        "finally-unknown-resumed": Case(
            "The same; the resume looks, and goes through the rest of `finally`",
            restore() + TIDY,
            "restore succeeded, tidy succeeded, report succeeded",
            "succeeded",
            (6, 0),
            (Resume(),),
            meets={"tidy:commit": (LOST,)},
        ),
        "finally-not-while-unknown": Case(
            "A step is unknown: `finally` waits for the resume",
            mail() + TIDY,
            "mail unknown, tidy pending, report pending",
            "unknown",
            (6,),
            meets={"mail:part1": (LOST,)},
        ),
        "finally-not-while-waiting": Case(
            "A step waits for a person: `finally` waits for the resume",
            restore() + ask() + TIDY,
            "restore succeeded, ask waiting, tidy pending, report pending",
            "waiting",
            (6,),
        ),
        "finally-after-waiting": Case(
            "The same; the person answers, and the run is resumed",
            restore() + ask() + TIDY,
            "restore succeeded, ask succeeded, tidy succeeded, report succeeded",
            "succeeded",
            (6, 0),
            (Answer("ask"), Resume()),
        ),
        "finally-waits": Case(
            "A step of `finally` waits for a person",
            restore() + "finally:\n" + ask() + step("report"),
            "restore succeeded, ask waiting, report pending",
            "waiting",
            (6,),
        ),
        "finally-uses-outputs": Refusal(
            "A step of `finally` uses an output of `steps`",
            restore() + "finally:\n" + step("report", with_=USES),
            ("E147",),
        ),
        "warned-unknown": Case(
            "A step of `on_failure_steps` becomes unknown",
            restore() + "on_failure_steps:\n" + mail() + TIDY,
            "restore failed, mail unknown, tidy pending, report pending",
            "unknown",
            (6,),
            meets={"restore:make": (FAILS,), "mail:part1": (LOST,)},
        ),
        "interrupted": Case(
            "The operator stops the run: what runs finishes, `finally` is not run",
            restore() + step("answers") + TIDY,
            "restore succeeded, answers pending, tidy pending, report pending",
            "interrupted",
            (130,),
            stops={"restore:make": 1},
        ),
        "interrupted-resumed": Case(
            "The same; the resume goes on, and runs `finally`",
            restore() + step("answers") + TIDY,
            "restore succeeded, answers succeeded, tidy succeeded, report succeeded",
            "succeeded",
            (130, 0),
            (Resume(),),
            stops={"restore:make": 1},
        ),
        "interrupted-twice": Case(
            "The operator says it twice: what runs is ended, and unknown",
            restore() + step("answers") + TIDY,
            "restore unknown, answers pending, tidy pending, report pending",
            "interrupted",
            (130,),
            meets={"restore:make": (LOST,)},
            stops={"restore:make": 2},
        ),
        "interrupted-twice-resumed": Case(
            "The same; the resume looks, and does what remains",
            restore() + step("answers") + TIDY,
            "restore succeeded, answers succeeded, tidy succeeded, report succeeded",
            "succeeded",
            (130, 0),
            (Resume(),),
            meets={"restore:make": (LOST,)},
            stops={"restore:make": 2},
        ),
        "interrupted-in-finally": Case(
            "The operator stops the run in `finally`",
            restore() + TIDY,
            "restore succeeded, tidy succeeded, report pending",
            "interrupted",
            (130,),
            stops={"tidy:make": 1},
        ),
        "objectives-met": Case(
            "Both objectives are met",
            restore() + "objectives: {rto: 1h, rpo: 2h}\n",
            "restore succeeded",
            "succeeded",
            (0,),
        ),
        "objective-time-missed": Case(
            "The recovery takes longer than its objective",
            restore() + check() + "objectives: {rto: 1m}\n",
            "restore succeeded, check succeeded",
            "succeeded",
            (8,),
            takes_s={"make": 90.0},
        ),
        "objective-point-missed": Case(
            "What was recovered is older than its objective",
            restore() + "objectives: {rto: 1h, rpo: 30m}\n",
            "restore succeeded",
            "succeeded",
            (8,),
        ),
        "objective-missed-and-failed": Case(
            "The run fails: nothing was recovered yet, so nothing is said to be met or missed",
            restore() + check("other") + "objectives: {rto: 1m}\n",
            "restore succeeded, check failed",
            "failed",
            (1,),
            takes_s={"make": 90.0},
        ),
        "objective-missed-and-continued": Case(
            "A failure was gone on from, and the recovery took too long: the failure is what the exit code says",
            step("dump", on_failure="continue") + restore() + "objectives: {rto: 1m}\n",
            "dump failed, restore succeeded",
            "completed_with_failures",
            (1,),
            meets={"dump:make": (FAILS,)},
            takes_s={"make": 90.0},
        ),
    },
)
