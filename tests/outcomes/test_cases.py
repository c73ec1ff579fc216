"""Every case ends as it has to; what `runbook show` says at each of its stops is compared word for word."""

from __future__ import annotations

from itertools import pairwise

import pytest

from runbook.engine.events import StepSkipped
from runbook.errors import InvalidInput
from runbook.report.does import explained
from runbook.report.forecast import forecast
from runbook.report.ways import Kind
from tests.outcomes.__main__ import GOLDEN, PAGE
from tests.outcomes.cases import CASES, GROUPS, REFUSALS
from tests.outcomes.page import once, page
from tests.outcomes.play import Played, Stop, known_of, load, play
from tests.runner.memory_run import RUN

MEANS: dict[str, set[int | None]] = {
    "succeeded": {0, 8},
    "failed": {1, 4},
    "completed_with_failures": {1},
    "unknown": {6},
    "waiting": {6},
    "interrupted": {130, None},
}
MOST_LINES = 14


@pytest.mark.parametrize("name", CASES)
def test_a_case_ends_as_it_has_to(name: str) -> None:
    case, played = CASES[name], play(CASES[name])
    assert ", ".join(f"{step} {status}" for step, status in played.ends.items()) == case.ends
    assert (played.stops[-1].status, played.codes) == (case.status, case.codes)
    assert (" ".join(played.held), " ".join(played.up)) == (case.held, case.up)
    assert played.pages == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
    for stop in played.stops:
        assert stop.status not in MEANS or not _executed(stop) or stop.code in MEANS[stop.status], stop.after
    _tells_what_can_be_done(played)
    _foretold(played)


def _executed(stop: Stop) -> bool:
    return stop.after.startswith(("apply", "resume"))


def _tells_what_can_be_done(played: Played) -> None:
    """Whatever is not final says what can be done, what of it is held and stopped, and in so few lines that they are read."""
    for stop in played.stops:
        ways = explained(RUN, stop.state, stop.status, known_of(played.order, stop.state))
        assert bool(ways) is not stop.status.final
        assert all(way.does for way in ways)
        assert sum(1 + len(way.does) for way in ways) <= MOST_LINES
        for name in played.shop.services if stop is played.stops[-1] and played.held else ():
            was_stopped = name not in played.up and name in ("web", "worker")
            assert not was_stopped or name in stop.page.partition("still holds")[2], (
                f"{name} is stopped, and nobody says so"
            )


def _foretold(played: Played) -> None:
    """What a resume that went well did is what `show` had said of it."""
    for before, after in pairwise(played.stops):
        if not after.after.startswith("resume") or after.code not in (0, 8):
            continue
        skipped = [word for word in after.after.split() if word not in ("resume", "--skip")]
        said = StepSkipped(skipped[0], "", "kim") if skipped else None
        told = forecast(before.state, known_of(played.order, before.state).unseen, said=said)
        if told.unseen:
            continue  # a record told what nobody could see
        order = list if played.run.parallel == 1 else sorted
        assert order(told.steps) == order(after.begun), after.after


@pytest.mark.parametrize("name", REFUSALS)
def test_a_plan_that_can_not_be_meant_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        load(REFUSALS[name])
    assert tuple(problem.code for problem in refused.value.problems) == REFUSALS[name].problems
    assert refused.value.exit_code == 3


def test_no_name_stands_twice_and_no_golden_file_is_left_over() -> None:
    assert len(CASES) + len(REFUSALS) == sum(len(group.cases) for group in GROUPS)
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(CASES)


def test_the_page_of_the_documentation_is_of_these_cases() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.outcomes writes it anew"


def test_every_kind_of_command_is_explained_somewhere() -> None:
    seen: set[Kind] = set()
    for name in CASES:
        played = once(name)
        for stop in played.stops:
            known = known_of(played.order, stop.state)
            seen |= {way.kind for way in explained(RUN, stop.state, stop.status, known)}
    assert seen == set(Kind) - {Kind.FOLLOW}
