"""Placeholders: they read as what they stand for, and can't be used as it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import pytest
from pydantic import BaseModel, Field, ValidationError

from runbook.placeholder import AHEAD, Foreseeable, Placeholder, mentions, stand_for, standing_in


class Typed(BaseModel):
    """A number with a bound, an instant, a text with a pattern, and a plain number."""

    size: Foreseeable[Annotated[int, Field(ge=0)]] = 0
    at: Foreseeable[datetime] = datetime(2026, 2, 14, tzinfo=UTC)
    hash: Foreseeable[Annotated[str, Field(pattern="^[0-9a-f]*$")]] = ""
    plain: int = 0


LATE = {"size": "<steps.a.size>", "at": "<steps.a.at>", "hash": "<steps.a.hash>"}


def test_it_reads_as_what_it_stands_for() -> None:
    size = stand_for("steps.dump.bytes")
    assert f"{size} bytes" == "<steps.dump.bytes> bytes"
    assert stand_for("steps.pick.artifact").below("name") == "<steps.pick.artifact.name>"


def test_whoever_reckons_with_it_gets_an_error_and_no_value() -> None:
    made = Typed(size=stand_for("a"), at=stand_for("b"))
    for reckon in (
        lambda: made.size + 1,
        lambda: 2 * made.size,
        lambda: made.size * 2,
        lambda: made.size // 10,
        lambda: made.size > 0,
        lambda: made.at - timedelta(1),
        lambda: made.at < datetime(2026, 2, 14, tzinfo=UTC),
        lambda: made.at.isoformat(),
    ):
        with pytest.raises((TypeError, AttributeError)):
            reckon()


def test_it_stands_where_a_reader_looks_ahead_and_nowhere_else() -> None:
    ahead = Typed.model_validate(LATE, context=AHEAD)
    assert all(isinstance(getattr(ahead, name), Placeholder) for name in LATE)
    for context in (None, {}, {"ahead": False}, {"other": True}):
        with pytest.raises(ValidationError) as refused:
            Typed.model_validate(LATE, context=context)
        assert {error["loc"] for error in refused.value.errors()} == {(name,) for name in LATE}
    with pytest.raises(ValidationError):
        Typed.model_validate({"plain": "<steps.a.plain>"}, context=AHEAD)


def test_it_goes_through_json_and_back() -> None:
    made = Typed.model_validate(LATE, context=AHEAD)
    assert made.model_dump(mode="json") == {**LATE, "plain": 0}
    assert Typed.model_validate_json(made.model_dump_json(), context=AHEAD) == made


def test_values_are_checked_as_ever() -> None:
    assert Typed.model_validate({"size": 3}, context=AHEAD).size == 3
    for wrong in ({"size": -1}, {"size": "many"}, {"hash": "xyz"}, {"at": "then"}):
        with pytest.raises(ValidationError):
            Typed.model_validate(wrong, context=AHEAD)
    bare = Typed.model_json_schema()["properties"]
    assert (bare["size"]["minimum"], bare["size"]["type"], bare["at"]["format"]) == (0, "integer", "date-time")
    assert Typed.model_json_schema(mode="serialization")["properties"]["size"]["type"] == "integer"


def test_those_in_a_value_are_found_and_other_brackets_are_none_of_them() -> None:
    value = {"artifact": {"sha256": "<sha256 of a, from dump>", "name": "a"}, "list": [stand_for("steps.a.b")], "n": 1}
    found = standing_in(value)
    assert found == {"<sha256 of a, from dump>", "<steps.a.b>"}
    assert mentions("'<steps.a.b>.dump' is no name", found)
    assert mentions("<steps.a.b.name> is no name", found)
    assert not mentions("<steps.a.bc> or <b> is no name", found)
