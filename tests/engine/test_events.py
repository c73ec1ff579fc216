"""Events and their JSON: there and back, and nothing foreign taken in."""

from __future__ import annotations

import json

import pytest

from runbook.engine import events
from runbook.engine.events import RUN_EVENTS, Event, parse, payload
from runbook.errors import JournalFault
from tests.engine.story import HEADER
from tests.engine.test_transitions import EXAMPLES

RUN_EXAMPLES: tuple[Event, ...] = (
    HEADER,
    events.RunResumed("kim", 2),
    events.RunWaiting(("a", "b")),
    events.RunInterrupted("SIGINT", forced=True),
    events.RunFinished("succeeded", 1.5, 0, {"target_s": 60, "actual_s": 1.5, "met": True}, None, ("old",)),
    events.TargetRebound("a", "db", {"cluster": "1"}),
)


def test_there_is_an_example_of_every_run_event() -> None:
    assert {type(event) for event in RUN_EXAMPLES} == set(RUN_EVENTS)


@pytest.mark.parametrize("event", [*EXAMPLES.values(), *RUN_EXAMPLES], ids=lambda event: event.event)
def test_an_event_comes_back_from_its_json(event: Event) -> None:
    assert parse(json.loads(json.dumps(payload(event)))) == event


def test_the_envelope_is_not_part_of_the_event() -> None:
    body = payload(events.StepUndone("a")) | {"seq": 7, "at": "…", "run": "r", "epoch": 1, "boot": "b", "mono": 0.1}
    assert parse(body) == events.StepUndone("a")


@pytest.mark.parametrize(
    "body", [{"event": "step.vanished", "step": "a"}, {"event": "step.undone"}, {"event": "step.undone", "x": 1}]
)
def test_an_event_of_another_version_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(JournalFault) as fault:
        parse(body)  # type: ignore[arg-type]
    assert fault.value.problems[0].code == "E710"
