"""Holds that fail themselves, releases that fail, two holds, and releases in ``finally``: a part of the group of holds."""

from __future__ import annotations

from tests.outcomes.case import Case, Meanwhile, Resume
from tests.outcomes.steps import HELD, check, restore, start, step, stop
from tests.runner.world import Fate

FAILS, LOST = Fate.FAILS, Fate.LOST_BEFORE
BOOTED = Meanwhile(services={"web": "running", "worker": "running"})
WORKER = {"services": ["worker"], "timeout_s": 10}
NESTED = (
    stop("stop")
    + step("isolate", "compose.stop", with_={"services": ["beat"], "timeout_s": 10}, on="app")
    + restore()
    + start("rejoin", "isolate")
    + check("db")
    + start("start", "stop")
)
SIDE_BY_SIDE = (
    step("stop", "compose.stop", needs=[], with_={"services": ["web"], "timeout_s": 10}, on="app")
    + step("load", needs=["stop"])
    + start(needs=["load"])
    + step("isolate", "compose.stop", needs=["stop"], with_=WORKER, on="app")
    + restore(needs=["isolate"])
    + start("rejoin", "isolate", needs=["restore"])
)
AT_THE_END = stop() + restore() + "finally:\n" + start()

RELEASES = {
    "held-in-part": Case(
        "The hold itself fails half-way: what it had stopped is started again",
        HELD,
        "stop failed, restore cancelled, start succeeded, answers cancelled",
        "failed",
        (1,),
        meets={"stop:stop_worker_1": (FAILS,)},
    ),
    "held-in-part-resumed": Case(
        "The same; the resume takes the hold again, and goes through all of it",
        HELD,
        "stop succeeded, restore succeeded, start succeeded, answers succeeded",
        "succeeded",
        (1, 0),
        (Resume(),),
        meets={"stop:stop_worker_1": (FAILS,)},
    ),
    "held-perhaps": Case(
        "The hold itself becomes unknown: nothing new starts, and what it stopped stays stopped",
        HELD,
        "stop unknown, restore pending, start pending, answers pending",
        "unknown",
        (6,),
        meets={"stop:stop_worker_1": (Fate.LOST_AFTER,)},
        held="stop",
        up="",
    ),
    "held-never": Case(
        "A step before the hold fails: nothing is held, and nothing is released",
        step("load") + HELD,
        "load failed, stop cancelled, restore cancelled, start cancelled, answers cancelled",
        "failed",
        (1,),
        meets={"load:make": (FAILS,)},
    ),
    "held-release-failed": Case(
        "The release fails: the services stay stopped, and `show` says so",
        HELD,
        "stop succeeded, restore succeeded, start failed, answers cancelled",
        "failed",
        (1,),
        meets={"start:start_web_1": (FAILS,)},
        held="stop",
        up="",
    ),
    "held-release-failed-resumed": Case(
        "The same; the resume tries the release again, and no other step",
        HELD,
        "stop succeeded, restore succeeded, start succeeded, answers succeeded",
        "succeeded",
        (1, 0),
        (Resume(),),
        meets={"start:start_web_1": (FAILS,)},
    ),
    "held-release-unknown": Case(
        "The release becomes unknown",
        HELD,
        "stop succeeded, restore succeeded, start unknown, answers pending",
        "unknown",
        (6,),
        meets={"start:start_worker_1": (LOST,)},
        held="stop",
        up="web",
    ),
    "held-release-unknown-resumed": Case(
        "The same; the resume sees what runs, and starts the rest",
        HELD,
        "stop succeeded, restore succeeded, start succeeded, answers succeeded",
        "succeeded",
        (6, 0),
        (Resume(),),
        meets={"start:start_worker_1": (LOST,)},
    ),
    "held-after-release-failed": Case(
        "A step after the release fails: the services run",
        HELD,
        "stop succeeded, restore succeeded, start succeeded, answers failed",
        "failed",
        (1,),
        meets={"answers:make": (FAILS,)},
    ),
    "held-beside-a-failure": Case(
        "A step beside the hold fails before the release is reached: all inside succeeded, so the services are started",
        stop(needs=[]) + restore(needs=["stop"]) + step("load", needs=[]) + start(needs=["restore", "load"]),
        "stop succeeded, load failed, restore succeeded, start succeeded",
        "failed",
        (1,),
        meets={"load:make": (FAILS,)},
        waits={"load:make": "restore"},
        takes_s={"make": 0.0, "commit": 0.0, "stop_web_1": 0.0, "stop_worker_1": 0.0, "start_web_1": 0.0},
        parallel=2,
    ),
    "held-nested-failed": Case(
        "Two holds, one within the other; a changing step inside both fails: both stay",
        NESTED,
        "stop succeeded, isolate succeeded, restore failed, rejoin cancelled, check cancelled, start cancelled",
        "failed",
        (1,),
        services={"beat": "running"},
        meets={"restore:commit": (FAILS,)},
        held="isolate stop",
        up="",
    ),
    "held-nested-outer-read": Case(
        "The same; after the inner one's release a read fails: the outer one is released too",
        NESTED.replace('"thing": "db"}}\n  - {"id": "start"', '"thing": "other"}}\n  - {"id": "start"'),
        "stop succeeded, isolate succeeded, restore succeeded, rejoin succeeded, check failed, start succeeded",
        "failed",
        (1,),
    ),
    "held-nested-resumed": Case(
        "Two holds, one within the other, are both lost; the resume takes both again, the outer one first",
        NESTED,
        "stop succeeded, isolate succeeded, restore succeeded, rejoin succeeded, check succeeded, start succeeded",
        "succeeded",
        (6, 0),
        (BOOTED, Resume()),
        meets={"restore:commit": (LOST,)},
    ),
    "held-two": Case(
        "Two holds beside each other; inside one of them a changing step fails: that one stays, the other one is released",
        SIDE_BY_SIDE,
        "stop succeeded, load succeeded, isolate succeeded, start succeeded, restore failed, rejoin cancelled",
        "failed",
        (1,),
        meets={"restore:commit": (FAILS,)},
        held="isolate",
        up="web",
    ),
    "held-until-finally": Case(
        "The release stands in `finally`; a changing step inside fails: it comes all the same",
        AT_THE_END,
        "stop succeeded, restore failed, start succeeded",
        "failed",
        (1,),
        meets={"restore:commit": (FAILS,)},
    ),
    "held-until-finally-unknown": Case(
        "The release stands in `finally`; a step inside becomes unknown: it does not come yet",
        AT_THE_END,
        "stop succeeded, restore unknown, start pending",
        "unknown",
        (6,),
        meets={"restore:commit": (LOST,)},
        held="stop",
        up="",
    ),
    "held-until-finally-never": Case(
        "The release stands in `finally`; the hold was never taken",
        step("load") + AT_THE_END,
        "load failed, stop cancelled, restore cancelled, start skipped",
        "failed",
        (1,),
        meets={"load:make": (FAILS,)},
    ),
}
