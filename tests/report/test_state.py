"""The page of a run, as a program reads it."""

from __future__ import annotations

from runbook.engine.events import RunFinished, StepStarted, StepSucceeded
from runbook.engine.transitions import RunStatus
from runbook.report.state import as_json
from tests.engine.story import Story, chain


def test_what_was_kept_is_told_with_its_step() -> None:
    story = Story(chain("look", "restore")).done("look")
    story.tell(StepStarted("restore", 1), StepSucceeded("restore", {"kept_as": "documents_before"}, 1.0))
    story.tell(RunFinished("succeeded", 2.5, 8, None, {"target_s": 60.0, "actual_s": 90.0, "met": False}))
    told = as_json("r", story.run, RunStatus.SUCCEEDED)
    assert told["kept"] == [{"name": "documents_before", "step": "restore"}]
    assert (told["duration_s"], told["exit_code"], told["rto"]) == (2.5, 8, None)
    assert told["rpo"] == {"target_s": 60.0, "actual_s": 90.0, "met": False}


def test_of_a_run_without_an_end_none_is_told() -> None:
    told = as_json("r", Story(chain("a")).started("a").run, RunStatus.RUNNING)
    assert (told["duration_s"], told["exit_code"], told["rto"], told["rpo"], told["kept"]) == (
        None,
        None,
        None,
        None,
        [],
    )
