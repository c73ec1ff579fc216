"""Mutated plans and environments: whatever the bytes, the answer is a plan or problems with places, and it comes quickly."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from runbook.errors import InvalidInput
from runbook.plan.environment import load_environment
from runbook.plan.inputs import bind
from runbook.plan.load import load_plan
from tests.plan.given import ENVIRONMENT, RESTORE, environment, reader

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
    begun = time.monotonic()
    try:
        bind(load_plan("plan.yaml", reader({"plan.yaml": raw})), environment(), {"tables": "a"})
    except InvalidInput as fault:
        assert fault.problems
        assert "Traceback" not in str(fault)
        assert all(problem.where or problem.code in ("E160", "E161", "E199") for problem in fault.problems)
    assert time.monotonic() - begun < 2


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
