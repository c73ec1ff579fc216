"""A step that stopped half-way says what it had done by then."""

from __future__ import annotations

from runbook.engine.events import OperationFinished, OperationStarted, StepPlanned, StepStarted
from runbook.operation import Write, canonical
from runbook.report.state import ending
from tests.engine.story import Story, chain


def test_what_was_done_is_named_and_the_last_of_it_shown() -> None:
    story = Story(chain("a"))
    story.tell(StepStarted("a", 1), StepPlanned("a", 1, ({"digest": "d", "name": "close"},)))
    for name in ("create", "close"):
        form = canonical(Write(name=name, path=f"/srv/{name}", content="x"))
        story.tell(OperationStarted("a", name, f"a/1/1/{name}", True, form), OperationFinished("a", name, "succeeded"))
    story.failed("a")
    texts = [line.text for line in ending(story.run)]
    assert texts[0] == "a stopped half-way; done and not undone: create, close"
    assert texts[1].startswith("last: ")
    assert "/srv/close" in texts[1]


def test_a_step_that_changed_nothing_is_not_half_done() -> None:
    story = Story(chain("a")).started("a", touching=False).failed("a")
    assert [line.text for line in ending(story.run) if "half-way" in line.text] == []
