"""The table of a step's life, over the full product of statuses and events."""

from __future__ import annotations

import itertools

import pytest

from runbook.engine import events
from runbook.engine.events import STEP_EVENTS, StepEvent
from runbook.engine.run import advance
from runbook.engine.transitions import TRANSITIONS, Status
from runbook.errors import Bug
from tests.engine.story import PROBLEM, Story, chain

EXAMPLES: dict[type[StepEvent], StepEvent] = {
    events.StepStarted: events.StepStarted("a", 1),
    events.StepPlanned: events.StepPlanned("a", 1, ({"digest": "d", "name": "op"},)),
    events.OperationStarted: events.OperationStarted("a", "op", "a/1/1/op", True),
    events.OperationNoted: events.OperationNoted("a", "op", {"xid": "7"}),
    events.OperationFinished: events.OperationFinished("a", "op", "succeeded"),
    events.StepSucceeded: events.StepSucceeded("a", {}, 1.0),
    events.StepFailed: events.StepFailed("a", PROBLEM, 1.0),
    events.StepRetried: events.StepRetried("a", 2, 1.0, PROBLEM),
    events.StepSkipped: events.StepSkipped("a", "no"),
    events.StepCancelled: events.StepCancelled("a", "no"),
    events.StepWaiting: events.StepWaiting("a", "manual", "do it"),
    events.StepConfirmed: events.StepConfirmed("a", "kim"),
    events.StepApproved: events.StepApproved("a", "kim", "hash"),
    events.StepUnknown: events.StepUnknown("a", PROBLEM),
    events.StepResolved: events.StepResolved("a", "done", "kim", "seen"),
    events.StepUndone: events.StepUndone("a"),
}


def _in(status: Status) -> Story:
    story = Story(chain("a", "b"))
    match status:
        case Status.PENDING:
            return story
        case Status.RUNNING:
            return story.started("a")
        case Status.WAITING:
            return story.waiting("a")
        case Status.SUCCEEDED:
            return story.done("a")
        case Status.FAILED:
            return story.started("a").failed("a")
        case Status.UNKNOWN:
            return story.started("a").unknown("a")
        case Status.SKIPPED:
            return story.skipped("a")
        case Status.CANCELLED:
            return story.tell(events.StepCancelled("a", "x"))
        case Status.UNDONE:
            return story.done("a").tell(events.StepUndone("a"))


def test_there_is_an_example_of_every_event() -> None:
    assert set(EXAMPLES) == set(STEP_EVENTS)


@pytest.mark.parametrize(
    ("status", "kind"),
    list(itertools.product(Status, STEP_EVENTS)),
    ids=lambda value: value if isinstance(value, str) else value.event,
)
def test_every_event_in_every_status_moves_as_the_table_says_or_stops_the_run(
    status: Status, kind: type[StepEvent]
) -> None:
    story = _in(status)
    assert story.run.step("a").status is status
    wanted = TRANSITIONS.get((status, kind))
    if wanted is None:
        with pytest.raises(Bug):
            advance(story.run, EXAMPLES[kind])
        return
    after = advance(story.run, EXAMPLES[kind]).step("a").status
    assert after is wanted


def test_an_old_run_stays_what_it_was() -> None:
    story = Story(chain("a"))
    before = story.run
    story.done("a")
    assert before.step("a").status is Status.PENDING
    assert story.run.step("a").status is Status.SUCCEEDED


def test_operations_stand_in_the_order_in_which_they_were_begun_last() -> None:
    story = Story(chain("a")).started("a")
    for number, name in enumerate(("create", "load", "create")):
        story.tell(events.OperationStarted("a", name, f"a/1/{number}/{name}", True))
        story.tell(events.OperationFinished("a", name, "succeeded", {"number": number}))
    story.tell(events.OperationStarted("a", "load", "a/1/3/load", True))
    known = story.run.step("a").operations
    assert list(known) == ["op", "create", "load"]
    assert known["create"].finished and known["create"].finished.fields == {"number": 2}
    assert known["load"].finished is None, "begun again, so its earlier end says nothing"
