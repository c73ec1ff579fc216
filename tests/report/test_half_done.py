"""A step that stopped half-way says what it had done by then."""

from __future__ import annotations

from runbook.engine.events import OperationFinished, OperationStarted, StepPlanned, StepStarted
from runbook.graph import build
from runbook.operation import Write, canonical
from runbook.plan.model import Section
from runbook.report.state import ending
from tests.engine.story import Story, chain, step


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


def test_what_was_taken_back_is_told_apart() -> None:
    story = Story(chain("a"))
    story.tell(StepStarted("a", 1), StepPlanned("a", 1, ({"digest": "d", "name": "close"},)))
    for name, root in (("close", "a"), ("open", "a~back")):
        form = canonical(Write(name=name, path=f"/srv/{name}", content="x"))
        story.tell(OperationStarted("a", name, f"{root}/1/1/{name}", True, form))
        story.tell(OperationFinished("a", name, "succeeded"))
    texts = [line.text for line in ending(story.failed("a").run)]
    assert texts[0] == "a stopped half-way; done: close; taken back: open"
    assert "/srv/close" in texts[1]


def test_what_a_resume_put_back_and_did_not_come_to_is_left_as_it_was() -> None:
    story = Story(chain("a", "b"))
    story.tell(StepStarted("a", 1), StepPlanned("a", 1, ({"digest": "d", "name": "close"},)))
    form = canonical(Write(name="close", path="/srv/close", content="x"))
    story.tell(OperationStarted("a", "close", "a/1/1/close", True, form), OperationFinished("a", "close", "succeeded"))
    before = [line.text for line in ending(story.failed("a").run)]
    assert before[0] == "a stopped half-way; done and not undone: close"
    assert [line.text for line in ending(story.resumed().run)] == before


def test_a_step_that_changed_nothing_is_not_half_done() -> None:
    story = Story(chain("a")).started("a", touching=False).failed("a")
    assert [line.text for line in ending(story.run) if "half-way" in line.text] == []


def test_what_a_hold_had_taken_by_its_failure_and_was_given_back_is_not_left() -> None:
    story = Story(build([step("hold"), step("release", releases="hold", section=Section.FINALLY)]))
    story.tell(StepStarted("hold", 1), StepPlanned("hold", 1, ({"digest": "d", "name": "create"},)))
    form = canonical(Write(name="create", path="/srv/create", content="x"))
    story.tell(OperationStarted("hold", "create", "hold/1/1/create", True, form))
    story.tell(OperationFinished("hold", "create", "succeeded"))
    story.failed("hold")
    assert "half-way" in ending(story.run)[0].text
    story.started("release").succeeded("release")
    assert [line.text for line in ending(story.run) if "half-way" in line.text] == []
