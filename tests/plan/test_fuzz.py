"""Mutated plans and environments: whatever the bytes, the answer is a plan or problems with places, and it comes quickly.

`python -m tests.plan.fuzz` tries as many mutations of the shipped plans as there is time for; a few hundred are tried here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from unittest.mock import ANY

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbook.errors import InvalidInput, Place
from runbook.plan.environment import load_environment
from runbook.plan.inputs import bind
from runbook.plan.load import load_plan
from runbook.plan.text import Text
from tests.plan.fuzz import Tried, folder, main, tried
from tests.plan.given import ENVIRONMENT, RESTORE, environment, reader
from tests.plan.mutations import ENVIRONMENTS, LARGEST_BYTES, PLANS, Case, case

CPU_S = 30.0
"""Only what doesn't end is too slow here: how fast it is, the command says."""
WORDS = "{{ }} {% [ ] { } : ' \" # ? null 010 12:30 .inf true *a __class__ steps. inputs. ../x.yaml needs é"
BREAKS = (
    ": ",
    "\n",
    "\n  ",
    "\t",
    "- ",
    "&a ",
    "!x ",
    "<<: ",
    "|\n",
    "%YAML 1.1\n",
    "---\n",
    "foreach: [a]",
    "\u202e",
    "\x00",
)
SPLINTERS = st.sampled_from((*WORDS.split(), *BREAKS))


@st.composite
def mutated(draw: st.DrawFn, original: str) -> bytes:
    text = original
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        text = text[:start] + draw(SPLINTERS | st.text(max_size=4)) + text[end:]
    raw = text.encode("utf-8", "surrogatepass")
    return raw[: draw(st.integers(0, len(raw)))] if draw(st.booleans()) else raw


@given(mutated(RESTORE))
@settings(max_examples=150, deadline=None)
def test_mutated_plans(raw: bytes) -> None:
    begun = time.process_time()
    try:
        bind(load_plan("plan.yaml", reader({"plan.yaml": raw})), environment(), {"tables": "a"})
    except InvalidInput as fault:
        assert fault.problems
        assert "Traceback" not in str(fault)
        assert all(problem.where or problem.code in ("E160", "E161", "E199") for problem in fault.problems)
    assert time.process_time() - begun < 60, "no few bytes make it work for long"


@given(mutated(ENVIRONMENT))
@settings(max_examples=80, deadline=None)
def test_mutated_environments(raw: bytes) -> None:
    try:
        load_environment("lab.yaml", reader({"lab.yaml": raw}))
    except InvalidInput as fault:
        assert fault.problems
        assert str(fault)


@given(st.binary(max_size=200))
@settings(max_examples=80, deadline=None)
def test_any_bytes(raw: bytes) -> None:
    try:
        load_plan("plan.yaml", reader({"plan.yaml": raw}))
    except InvalidInput as fault:
        assert str(fault)


FOUND = (2433, 5014, 9156, 11988, 36783)
"""Seeds that failed once: a terminal's escape in an action's name, a name too long for a file, a control character in an SVG, a
whole plan on one line with a fault in each step, and one with a forbidden character in each word of a long line."""


@pytest.mark.parametrize("seeds", [range(0, 80), range(80, 160), FOUND], ids=str)
def test_shipped_plans_with_something_changed(seeds: Sequence[int]) -> None:
    with folder() as place:
        results = {seed: tried(case(seed), place, most_cpu_s=CPU_S) for seed in seeds}
    assert {seed: one.faults for seed, one in results.items() if one.faults} == {}
    assert 3 in {one.code for one in results.values()}


def test_a_seed_is_the_same_case_twice() -> None:
    assert [case(seed) for seed in range(20)] == [case(seed) for seed in range(20)]
    assert len({case(seed).plan + case(seed).environment for seed in range(200)}) > 150
    assert max(len(case(seed).plan) for seed in range(200)) <= LARGEST_BYTES


def test_the_shipped_plans_themselves_hold() -> None:
    with folder() as place:
        whole = Case(PLANS["restore-db.yaml"], ENVIRONMENTS["contract-lucidity-production.yaml"], "")
        assert tried(whole, place, most_cpu_s=CPU_S) == Tried(0, (), ANY)


def test_what_must_not_come_out_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Case(PLANS["restore-db.yaml"], ENVIRONMENTS["contract-lucidity-production.yaml"], "")
    monkeypatch.setattr("runbook.cli.validate.examine_plan", lambda name, files: 1 / 0)
    with folder() as place:
        found = tried(whole, place, most_cpu_s=CPU_S)
    assert found.faults == ("exit code 1", "says 'E900'", "says 'bug in runbook'")


def test_a_fault_outside_of_its_file_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Case(b"runbook: 2\n", ENVIRONMENTS["contract-lucidity-production.yaml"], "")
    monkeypatch.setattr(Text, "place", lambda self, line, column, width=1: Place(self.name, line + 9, 1))
    with folder() as place:
        found = tried(whole, place, most_cpu_s=CPU_S)
    assert found.faults == ("E105 is outside of the file: plan.yaml:9:1",)


def test_the_command_tries_seeds_and_tells_one_again(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "0:30", "--workers", "1"]) == 0
    assert "30 cases in " in capfd.readouterr().out
    assert main(["--seed", "5014"]) == 0
    told = capfd.readouterr().out
    assert "seed 5014: " in told
    assert "error[E220]: unknown action 'aaaa" in told
    assert "held: exit code 3" in told
