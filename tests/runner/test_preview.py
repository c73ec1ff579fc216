"""The dry-run: it performs nothing, what it calls exact is what runs, and the rest it calls a forecast."""

from __future__ import annotations

import pytest

from runbook.action import Effect
from runbook.errors import ExitCode
from runbook.operation import digest
from runbook.plan.model import OnFailure, Section
from runbook.runner.preview import Sight
from tests.runner.memory_run import MemoryRun, step
from tests.runner.world import World


def listed(run: MemoryRun, sight: Sight = Sight.LOOK) -> dict[str, list[str]]:
    """The names of the operations that are shown, by step."""
    return {name: [one.name for one in shown.operations] for name, shown in run.preview(sight).items()}


def known(run: MemoryRun, sight: Sight = Sight.LOOK) -> dict[str, str]:
    """How well each step is known."""
    return {name: shown.known for name, shown in run.preview(sight).items()}


def test_nothing_is_performed_and_nothing_is_written() -> None:
    run = MemoryRun([step("a"), step("b", "once", "a"), step("c", "check", "b", thing="a")])
    run.preview()
    assert run.world.performed == []
    assert run.world.facts == {}
    assert run.disk.calls == []


def test_what_is_called_exact_is_what_runs() -> None:
    run = MemoryRun([step("a"), step("b"), step("c", "once", "b", parts=3)], World(facts={"a": "new", "b": "old"}))
    shown = run.preview()
    assert {one.known for one in shown.values()} == {"exact"}
    assert run.apply() is ExitCode.DONE
    assert [digest(one) for one in run.world.performed] == [digest(one) for s in shown.values() for one in s.operations]
    assert listed(MemoryRun(run.steps, World(facts={"a": "new"})))["a"] == []


def test_facts_that_an_earlier_step_changes_are_assumed() -> None:
    run = MemoryRun([step("a", "replace", on="one", thing="x"), step("b", "make", "a", on="one", thing="x", value="v")])
    assert known(run) == {"a": "exact", "b": "after:a"}
    run = MemoryRun([step("a", "replace", on="one"), step("b", "make", "a", on="two")])
    assert known(run) == {"a": "exact", "b": "exact"}


def test_what_is_created_somewhere_changes_what_a_later_step_sees_there() -> None:
    run = MemoryRun([step("a", on="one"), step("b", "make", "a", on="one")])
    assert known(run) == {"a": "exact", "b": "after:a"}


def test_reads_change_nothing() -> None:
    run = MemoryRun(
        [step("a", "check", on="one", thing="a"), step("b", "make", "a", on="one")], World(facts={"a": "new"})
    )
    assert known(run)["b"] == "exact"


def test_changes_reach_along_the_whole_chain_and_the_nearest_is_named() -> None:
    steps = [
        step("a", "replace", on="one"),
        step("b", "replace", "a", on="one"),
        step("c", "check", "b", on="two", thing="a"),
        step("d", "make", "c", on="one"),
    ]
    assert known(MemoryRun(steps))["d"] == "after:b"


def test_an_output_that_is_known_beforehand_is_used() -> None:
    run = MemoryRun([step("a", thing="a", value="v"), step("b", "make", "a", thing="b", value="{{ steps.a.value }}")])
    shown = run.preview()
    assert shown["b"].known == "exact"
    assert [one.name for one in shown["b"].operations] == ["make", "commit"]


def test_an_output_that_is_not_known_beforehand_is_said_to_be() -> None:
    run = MemoryRun([step("a", "once"), step("b", "make", "a", thing="b", value="{{ steps.a.said }}")])
    assert known(run) == {"a": "exact", "b": "after:a"}
    assert listed(run)["b"] == ["make", "commit"]


def test_a_release_is_a_forecast_of_what_its_hold_stops() -> None:
    steps = [
        step("stop", "pause", services=["web", "cron"]),
        step("work", "make", "stop"),
        step("start", "unpause", "work", releases="stop", services=["web", "cron"]),
    ]
    run = MemoryRun(steps, World(facts={"web": "running", "cron": "off"}))
    assert known(run)["start"] == "after:stop"
    assert listed(run)["start"] == ["start_web"]
    assert run.apply() is ExitCode.DONE
    assert [one.name for one in run.world.performed if one.name.startswith("start")] == ["start_web"]


@pytest.mark.parametrize("section", [Section.FINALLY, Section.ON_FAILURE])
def test_what_follows_the_steps_is_a_forecast_after_the_last_that_changes_its_system(section: Section) -> None:
    steps = [
        step("last", on="one", section=section, thing="last"),
        step("other", on="two", section=section, thing="other"),
        step("a", "replace", on="one"),
        step("b", "replace", "a", on="one"),
    ]
    shown = MemoryRun(steps).preview()
    assert list(shown) == ["a", "b", "last", "other"], "section by section"
    assert shown["last"].known == "after:b"
    assert shown["other"].known == "exact"


def test_a_skipped_step_is_shown_as_such_and_gives_nothing() -> None:
    steps = [step("a", when="inputs.no"), step("b", "make", "a", thing="b", value="{{ steps.a.value | default('d') }}")]
    shown = MemoryRun(steps, inputs={"no": False}).preview()
    assert shown["a"].skipped == "its condition is false: inputs.no"
    assert shown["b"].known == "exact"


def test_what_would_stop_a_step_now_is_told_and_the_rest_is_shown() -> None:
    steps = [step("a"), step("b"), step("c"), step("d", "check"), step("e")]
    facts = {"a": "forbidden", "b": "muddled"}
    shown = MemoryRun(steps, World(facts=facts, unreachable={"c"})).preview()
    told = {name: one.problem.code if one.problem else "" for name, one in shown.items()}
    assert told == {"a": "E450", "b": "E650", "c": "E302", "d": "", "e": ""}
    assert shown["a"].refused
    assert not shown["c"].refused


def test_a_destructive_step_says_what_it_replaces() -> None:
    shown = MemoryRun([step("a", "replace")]).preview()
    assert shown["a"].effect is Effect.DESTROYS
    assert shown["a"].replaces == "a"


def test_offline_nothing_is_looked_at_and_every_step_shows_its_whole_list() -> None:
    looked: list[str] = []
    run = MemoryRun([step("a"), step("b", "grow", "a")], World(facts={"a": "new"}, turn=looked.append))
    assert listed(run, Sight.OFFLINE) == {"a": ["make", "commit"], "b": ["grow1"]}
    assert set(known(run, Sight.OFFLINE).values()) == {"undetermined"}
    assert looked == []


def test_a_failure_that_continues_changes_nothing_in_what_is_shown() -> None:
    run = MemoryRun([step("a", on_failure=OnFailure.CONTINUE), step("b", "make", "a")])
    assert known(run) == {"a": "exact", "b": "exact"}
