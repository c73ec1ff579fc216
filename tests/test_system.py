"""The fields that systems and the inputs of actions share."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from runbook.system import DurationField


@pytest.mark.parametrize("written", ["0s", "90s", " 1h30m ", "250ms"])
def test_a_duration_stays_as_it_is_written(written: str) -> None:
    assert TypeAdapter(DurationField).validate_python(written) == written


@pytest.mark.parametrize("written", ["", "5", "soon", "1h 30m", "-5s"])
def test_what_is_no_duration_is_refused(written: str) -> None:
    with pytest.raises(ValidationError, match="expected a duration like 30s"):
        TypeAdapter(DurationField).validate_python(written)


def test_an_editor_is_told_that_a_duration_is_text() -> None:
    assert TypeAdapter(DurationField).json_schema() == {"type": "string"}
