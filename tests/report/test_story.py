"""A run's events as lines: which step is meant."""

from __future__ import annotations

from dataclasses import replace

from runbook.engine.events import StepStarted
from runbook.graph import build
from runbook.report.story import Teller, titled
from tests.runner.memory_run import step


def test_the_steps_of_a_foreach_are_told_apart_though_they_share_a_title() -> None:
    first, second = step("copy[a.b]", "make"), step("copy[c]", "make")
    teller = Teller(build([first, second]))
    told = [str(line) for name in (first, second) for line in teller.tell(StepStarted(name.id, 1))]
    assert len(set(told)) == len(told) == 2
    assert told[0].endswith("[a.b]")


def test_a_title_stands_for_itself_and_an_id_for_a_step_without_one() -> None:
    plain = step("copy", "make")
    assert titled(replace(plain, title="Copy it")) == "Copy it"
    assert titled(replace(plain, title="")) == "copy"
    assert titled(replace(plain, id="copy[a]", title="Copy it")) == "Copy it [a]"
    assert titled(replace(plain, id="copy[a]", title="")) == "copy[a]"
    assert titled(replace(plain, id="all.copy[a]", title="Copy it")) == "Copy it [a]"
