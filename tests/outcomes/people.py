"""Steps that a person answers, and runs that a person ends."""

from __future__ import annotations

from tests.outcomes.case import Abandon, Answer, Approve, Case, Group, Resume
from tests.outcomes.steps import ask, mail, restore, step
from tests.runner.world import Fate

FAILS = Fate.FAILS
AGREE = {"subject": "The newest hour is lost.", "needed": 2}
FIELDS = {
    "instructions": "Count the orders.",
    "fields": {"orders": {"type": "integer", "help": "How many there are"}},
}
REPORT = "finally:\n" + step("report")

PEOPLE = Group(
    "Waiting for a person, and ended by one",
    (
        "A waiting step lets independent branches finish; then the run ends with exit code 6.",
        "What was asked and answered is in the journal; a resume goes on with it.",
        "`runbook abandon` ends a run for good: nothing is undone, what is held stays held.",
    ),
    {
        "waiting": Case(
            "A manual step waits; what doesn't depend on it finishes",
            ask(needs=[])
            + restore(needs=[])
            + step("index", needs=["restore"])
            + step("answers", needs=["ask", "index"]),
            "ask waiting, restore succeeded, index succeeded, answers pending",
            "waiting",
            (6,),
        ),
        "waiting-not-answered": Case(
            "The run is resumed before anybody answered",
            ask() + step("answers"),
            "ask waiting, answers pending",
            "waiting",
            (6, 6),
            (Resume(),),
        ),
        "waiting-answered": Case(
            "A person answers with what was asked for",
            step("ask", "manual", with_=FIELDS)
            + step("index", with_={"thing": "index", "value": "{{ steps.ask.by }}"}),
            "ask waiting, index pending",
            "waiting",
            (6,),
        ),
        "waiting-answered-resumed": Case(
            "The same; they answer, and the run is resumed",
            step("ask", "manual", with_=FIELDS)
            + step("index", with_={"thing": "index", "value": "{{ steps.ask.by }}"}),
            "ask succeeded, index succeeded",
            "succeeded",
            (6, 0),
            (Answer("ask", {"orders": "747"}), Resume()),
        ),
        "waiting-skipped": Case(
            "A person skips the step that waits",
            ask() + step("answers"),
            "ask skipped, answers succeeded",
            "succeeded",
            (6, 0),
            (Resume(skip=("ask",)),),
        ),
        "waiting-and-failed": Case(
            "A step waits, and another one fails: nobody is waited for any more, and the run fails",
            ask(needs=[]) + restore(needs=[]) + REPORT,
            "ask cancelled, restore failed, report succeeded",
            "failed",
            (1,),
            meets={"restore:make": (FAILS,)},
        ),
        "waiting-and-failed-resumed": Case(
            "The same; the resume tries again what failed, and asks again",
            ask(needs=[]) + restore(needs=[]) + REPORT,
            "ask waiting, restore succeeded, report pending",
            "waiting",
            (1, 6),
            (Resume(),),
            meets={"restore:make": (FAILS,)},
        ),
        "waiting-and-unknown": Case(
            "A step waits, and another one becomes unknown",
            ask(needs=[]) + mail(needs=[]),
            "ask waiting, mail unknown",
            "unknown",
            (6,),
            meets={"mail:part1": (Fate.LOST_BEFORE,)},
        ),
        "waiting-to-begin": Case(
            "A step with `confirm:` waits for the word that it may begin",
            restore(confirm="The newest hour is lost.") + step("answers"),
            "restore waiting, answers pending",
            "waiting",
            (6,),
        ),
        "waiting-to-begin-answered": Case(
            "The same; a person confirms it",
            restore(confirm="The newest hour is lost.") + step("answers"),
            "restore succeeded, answers succeeded",
            "succeeded",
            (6, 0),
            (Answer("restore"), Resume()),
        ),
        "waiting-live": Case(
            "In a live environment a step that destroys waits for the name of what it replaces",
            restore() + step("answers"),
            "restore waiting, answers pending",
            "waiting",
            (6,),
            live=True,
        ),
        "waiting-for-two": Case(
            "An approval wants two people, and one has agreed",
            step("agree", "approval", with_=AGREE) + restore(),
            "agree waiting, restore pending",
            "waiting",
            (6, 6),
            (Approve("agree", "ada"), Resume()),
        ),
        "waiting-for-two-agreed": Case(
            "The same; the other one agrees too",
            step("agree", "approval", with_=AGREE) + restore(),
            "agree succeeded, restore succeeded",
            "succeeded",
            (6, 0),
            (Approve("agree", "ada"), Approve("agree", "grace"), Resume()),
        ),
        "abandoned-while-waiting": Case(
            "A run that waits is abandoned",
            restore() + ask() + REPORT,
            "restore succeeded, ask waiting, report pending",
            "abandoned",
            (6,),
            (Abandon(),),
        ),
        "abandoned-failed": Case(
            "A run that failed half-way is abandoned",
            restore() + step("answers"),
            "restore failed, answers cancelled",
            "abandoned",
            (1,),
            (Abandon(),),
            meets={"restore:commit": (FAILS,)},
        ),
        "abandoned-unknown": Case(
            "A run with an unknown step is abandoned",
            mail() + step("answers"),
            "mail unknown, answers pending",
            "abandoned",
            (6,),
            (Abandon(),),
            meets={"mail:part1": (Fate.LOST_BEFORE,)},
        ),
    },
)
