"""Invented values: of their types, and two kinds of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import pytest
from pydantic import BaseModel

from runbook.catalogue import CATALOGUE
from runbook.operation import Question
from runbook.rehearse.invent import answer, invented


class Way(StrEnum):
    LEFT = "left"
    RIGHT = "right"


class Inner(BaseModel):
    count: int


class Given(BaseModel):
    yes: bool
    maybe: str | None
    way: Way
    word: Literal["a", "b"]
    many: tuple[Inner, ...]
    by_name: dict[str, int]
    taken_at: str
    text: str
    share: float


def test_truth_and_choices_turn_with_the_variant() -> None:
    even, odd = invented(Given, 0), invented(Given, 1)
    assert (even["yes"], odd["yes"]) == (True, False)
    assert (even["way"], odd["way"]) == ("left", "right")
    assert (even["word"], odd["word"]) == ("a", "b")
    assert (even["many"], odd["many"]) == ([{"count": 1}], [])
    assert (even["maybe"], odd["maybe"]) == ("rehearsed", None)
    for given in (even, odd):
        Given.model_validate(given)


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_action_s_outputs_can_be_invented(name: str) -> None:
    outputs = CATALOGUE[name].outputs_type
    assert invented(outputs, 0).keys() == outputs.model_fields.keys()


def test_answers_are_of_their_questions_types() -> None:
    assert answer(Question("way", choices=("left", "right", "none")), 4) == "right"
    assert answer(Question("sure", "boolean"), 1) is False
    assert answer(Question("count", "integer"), 0) == 1
    assert answer(Question("what"), 0) == "rehearsed"
