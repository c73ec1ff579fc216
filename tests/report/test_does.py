"""What each command would do with a run, for a person who has to choose one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runbook.engine.run import Run
from runbook.engine.transitions import RunStatus
from runbook.graph import build
from runbook.operation import Json
from runbook.plan.model import Section
from runbook.report.does import explained
from runbook.report.held import Hold
from runbook.report.known import NOTHING, Known
from runbook.report.ways import Kind, Way, as_json, as_lines
from tests.engine.story import Story, chain, step


def ways(run: Run, status: RunStatus, known: Known = NOTHING) -> dict[tuple[Kind, str], Way]:
    """What is said, by kind and step."""
    return {(way.kind, way.step): way for way in explained("R", run, status, known)}


def does(
    run: Run, status: RunStatus, known: Known = NOTHING, *, kind: Kind = Kind.RESUME, step: str = ""
) -> tuple[str, ...]:
    """What one of them would do."""
    return ways(run, status, known)[kind, step].does


@pytest.mark.parametrize("status", [status for status in RunStatus if status.final])
def test_a_run_that_is_over_can_not_be_gone_on_with(status: RunStatus) -> None:
    assert explained("R", Story(chain("a")).done("a").run, status, NOTHING) == ()


def test_of_a_run_that_goes_on_there_is_only_its_log() -> None:
    [way] = explained("R", Story(chain("a")).started("a").run, RunStatus.RUNNING, NOTHING)
    assert (way.kind, way.command, way.does) == (Kind.FOLLOW, "runbook logs R -f", ())


def test_steps_are_told_with_what_they_need() -> None:
    run = Story(chain("a", "b", "c")).started("a").failed("a").run
    known = Known(asking=frozenset("b"), conditional=frozenset("c"))
    [told] = does(run, RunStatus.FAILED, known)
    assert told == "tries a again, begins b (asks a person), c (if its condition holds)"


def test_many_steps_are_counted() -> None:
    run = Story(chain("a", *(f"s{n}" for n in range(9)))).started("a").failed("a").run
    assert does(run, RunStatus.FAILED) == ("tries a again, begins s0, s1, s2, s3, s4, s5 and 3 more",)


def test_of_one_kind_of_command_two_are_told_and_the_others_named() -> None:
    story = Story(build([step(name) for name in "abcd"]))
    for name in "abcd":
        story.waiting(name)
    told = [way for way in explained("R", story.run, RunStatus.WAITING, NOTHING) if way.kind is Kind.ANSWER]
    assert [way.command for way in told] == ["runbook confirm R a", "runbook confirm R b"]
    assert told[1].why == "and so for 2 more: c, d"


def test_a_person_is_asked_only_after_what_can_be_looked_at() -> None:
    run = Story(chain("a", "b")).started("a").unknown("a").run
    first, *_ = explained("R", run, RunStatus.UNKNOWN, NOTHING)
    assert (first.kind, first.does) == (Kind.RESUME, ("looks how a ended and does what remains, begins b",))
    first, *_ = explained("R", run, RunStatus.UNKNOWN, Known(unseen=frozenset("a")))
    assert first.kind is Kind.RESOLVE
    assert first.does == (
        "done: it is verified, where that is possible; then a resume begins b",
        "not-done: then a resume tries a again, begins b",
    )


def test_a_step_is_skipped_only_where_the_others_can_do_without_it() -> None:
    run = Story(chain("a", "b")).started("a").failed("a").run
    assert (Kind.SKIP, "a") in ways(run, RunStatus.FAILED)
    assert (Kind.SKIP, "a") not in ways(run, RunStatus.FAILED, Known(needed={"a": ("b",)}))
    assert (Kind.SKIP, "a") not in ways(run, RunStatus.FAILED, Known(needed=None))


def test_a_hold_that_was_released_is_taken_again_and_one_in_force_looked_at() -> None:
    graph = build([step("stop"), step("check", "stop"), step("start", "check", releases="stop")])
    story = Story(graph).done("stop").started("check", touching=False).failed("check")
    kept = does(story.run, RunStatus.FAILED)
    assert kept == ("makes sure that stop still holds, tries check again, releases stop (start)",)
    assert does(story.run, RunStatus.FAILED, Known(blind=frozenset(("stop",))))[0].startswith("takes stop again, ")
    assert does(story.done("start").run, RunStatus.FAILED)[0].startswith("takes stop again, tries check again, ")


def test_abandoning_says_what_stays() -> None:
    graph = build(
        [
            step("stop"),
            step("work", "stop"),
            step("start", "work", releases="stop"),
            step("tidy", section=Section.FINALLY),
        ]
    )
    story = Story(graph).done("stop").started("work").failed("work")
    hold = Hold("stop", "Stop", "start", ("web", "worker"), "here", ("docker start web", "docker start worker"))
    told = does(story.run, RunStatus.FAILED, Known(holds=(hold,)), kind=Kind.ABANDON)
    assert told == (
        "web, worker stay stopped; by hand: docker start web && docker start worker",
        "stays as it is: half-way: work; not run any more: tidy",
        "another run may have its targets: no lock of it is left",
    )
    long = replace(hold, commands=("a\nb",))
    assert "told then" in does(story.run, RunStatus.FAILED, Known(holds=(long,)), kind=Kind.ABANDON)[0]
    many = does(story.run, RunStatus.FAILED, Known(holds=(hold,) * 4), kind=Kind.ABANDON)
    assert many[2] == "and 2 more holds stay"


def test_what_is_still_at_work_is_waited_for_and_keeps_the_run_from_its_end() -> None:
    run = Story(chain("a", "b")).started("a").run
    known = Known(alive=frozenset("a"))
    assert does(run, RunStatus.INTERRUPTED, known)[0] == "waits for what is still at work: a"
    told = does(run, RunStatus.INTERRUPTED, known, kind=Kind.ABANDON)
    assert told[0] == "not before what is still at work has ended (a): exit code 5"
    assert "free" not in "".join(told) and "no lock" not in "".join(told)


def test_what_a_resume_can_not_mend_offers_none() -> None:
    wrong: Json = {"code": "E224", "summary": "an input is wrong", "detail": "", "fix": ""}
    story = Story(chain("a")).started("a").failed("a")
    state = story.run.step("a")
    run = story.run._replace(steps=story.run.steps.insert("a", state._replace(problem=wrong)))
    assert [way.kind for way in explained("R", run, RunStatus.FAILED, NOTHING)] == [Kind.ABANDON]


def test_the_id_of_a_step_is_one_word_of_a_shell() -> None:
    run = Story(chain("copy[a]")).started("copy[a]").unknown("copy[a]").run
    assert ways(run, RunStatus.UNKNOWN)[Kind.RESOLVE, "copy[a]"].command.startswith("runbook resolve R 'copy[a]' --as ")


def test_a_way_is_a_line_with_others_below_and_an_object() -> None:
    way = Way(Kind.RESUME, "runbook resume R", "why", does=("begins a",))
    assert [str(line) for line in as_lines((way,))] == ["→ runbook resume R   (why)", "      begins a"]
    assert as_json(way) == {
        "kind": "resume",
        "step": None,
        "command": "runbook resume R",
        "why": "why",
        "does": ["begins a"],
    }
