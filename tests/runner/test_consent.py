"""Consent that can be foreseen is asked for before step one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runbook.actions.backup.select import Select
from runbook.engine.events import StepWaiting
from runbook.errors import ExitCode, Refused
from runbook.plan.model import Section, Step
from runbook.runner.consent import questions, refuse_ahead, refuse_unforeseen
from runbook.runner.execution import Order
from runbook.runner.faults import cannot_know, no_longer_needed, settle_by_hand
from runbook.runner.setting import Reply
from tests.runner.acts import ACTS, WRONG
from tests.runner.memory_run import MemoryRun, environment_of, plan_of, step

GIVEN = Reply("kim")


def order(*steps: Step, live: bool = False) -> Order:
    """An order of these steps."""
    return Order(plan_of(steps), environment_of(live=live), {})


def foreseen(*given: str) -> object:
    """Answers to the questions that name these, "" for those that name nothing."""

    def answer(question: StepWaiting) -> Reply | None:
        return GIVEN if question.target in given else None

    return answer


def test_what_asks_for_nothing_begins() -> None:
    refuse_unforeseen(order(step("a"), step("b", "replace")), ACTS, lambda question: None)


def test_a_confirmation_that_nobody_gave_is_refused_with_every_place_and_what_to_add() -> None:
    steps = [step("a", confirm="Sure of a?"), step("b", "replace", thing="db"), step("c", confirm="Sure of c?")]
    with pytest.raises(Refused) as refused:
        refuse_unforeseen(order(*steps, live=True), ACTS, lambda question: None)
    (problem,) = refused.value.problems
    assert problem.code == "E410"
    assert problem.detail.splitlines() == ["a: Sure of a?", "b: Do b replaces db.", "c: Sure of c?"]
    assert "--yes" in problem.fix
    assert "--confirm db" in problem.fix


def test_what_is_to_be_added_can_be_pasted() -> None:
    with pytest.raises(Refused) as refused:
        refuse_unforeseen(order(step("a", "replace", thing="my db; ls"), live=True), ACTS, lambda question: None)
    assert refused.value.problems[0].fix.endswith("add --confirm 'my db; ls'")


def test_a_command_for_one_of_many_steps_can_be_pasted() -> None:
    assert "`runbook resolve r1 'copy[a]' --as" in cannot_know("r1", "copy[a]", "work").fix
    assert "`runbook resolve r1 'copy[a]' --as" in no_longer_needed("r1", "copy[a]", "").fix
    assert "`runbook resolve r1 'copy[a]' --as" in settle_by_hand(WRONG, run="r1", step="copy[a]").fix


def test_destroying_is_asked_for_where_it_is_live() -> None:
    plan = (step("a", "replace", thing="db"),)
    assert list(questions(order(*plan), ACTS)) == []
    (question,) = questions(order(*plan, live=True), ACTS)
    assert (question.step, question.kind, question.target) == ("a", "confirm", "db")


def test_given_beforehand_it_begins() -> None:
    steps = (step("a", confirm="Sure?"), step("b", "replace", thing="db"))
    refuse_unforeseen(order(*steps, live=True), ACTS, foreseen("", "db"))  # type: ignore[arg-type]
    with pytest.raises(Refused, match="confirmation is missing"):
        refuse_unforeseen(order(*steps, live=True), ACTS, foreseen("", "another"))  # type: ignore[arg-type]


def test_what_is_foreseen_is_what_is_asked_in_the_run() -> None:

    steps = [step("a", "replace", thing="db"), step("b", "make", "a", confirm="Sure?")]
    run = MemoryRun(steps, live=True)
    run.replies = {"a:confirm": GIVEN, "b:confirm": GIVEN}
    assert run.apply() is ExitCode.DONE
    assert run.asked == list(questions(order(*steps, live=True), ACTS))


def test_inputs_that_are_given_before_the_run_are_known() -> None:
    steps = (
        step("a", "make", thing="x"),
        step("b", "replace", "a", thing="{{ inputs.db }}", value="{{ steps.a.value }}"),
        step("c", "replace", "a", when="inputs.no", thing="other"),
    )
    plan = Order(plan_of(steps), environment_of(live=True), {"db": "shop", "no": False})
    assert [(one.step, one.target) for one in questions(plan, ACTS)] == [("b", "shop")]


def test_what_a_runs_ends_will_ask_is_foreseen_too() -> None:
    steps = (step("a"), step("b", section=Section.FINALLY, confirm="Sure?", thing="b"))
    assert [one.step for one in questions(order(*steps), ACTS)] == ["b"]


NOW = datetime(2026, 2, 14, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "refused"),
    [
        ("2026-02-14T11:59:00Z", False),
        ("2026-02-14T12:00:30Z", False),
        ("2026-02-14T13:00:00+01:00", False),
        ("2026-02-14T13:00:00Z", True),
        ("2026-02-14T12:30:00-01:00", True),
    ],
)
def test_an_accident_that_is_still_to_come_is_refused_before_step_one(moment: str, refused: bool) -> None:
    steps = (
        step("stop"),
        step("pick", "select", "stop", before="{{ inputs.accident }}"),
        step("again", "select", before="{{ inputs.accident }}"),
    )
    acts = {**ACTS, "select": Select()}
    given = Order(plan_of(steps), environment_of(), {"accident": moment})
    if not refused:
        refuse_ahead(given, acts, NOW)
        return
    with pytest.raises(Refused) as caught:
        refuse_ahead(given, acts, NOW)
    (problem,) = caught.value.problems
    assert caught.value.exit_code == ExitCode.REFUSED
    assert "accident is 2026-02-14T13" in problem.detail and "2026-02-14T12:00:00Z" in problem.detail
    assert "-i accident=…" in problem.fix


def test_a_moment_that_nobody_gave_or_that_is_not_known_yet_is_none() -> None:
    acts = {**ACTS, "select": Select()}
    with_ = ["{{ inputs.none }}", "{{ steps.stop.made }}", "{{ run.started_at }}", "no moment"]
    steps = (step("stop"), *(step(f"s{n}", "select", "stop", before=text) for n, text in enumerate(with_)))
    refuse_ahead(Order(plan_of(steps), environment_of(), {"none": None}), acts, NOW)
