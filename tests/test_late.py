"""Late values in arguments and documents."""

from __future__ import annotations

import pytest

from runbook.errors import Bug
from runbook.late import Results, document, resolve, text
from runbook.operation import Document, JsonText, Ref
from runbook.secret import FromEnv

RESULTS: Results = {"dump": {"snapshot": "00-1", "rows": '[{"n": 1}]', "count": 3, "ok": True}}


def test_a_value_is_itself_and_a_reference_is_what_it_names() -> None:
    assert resolve("x", {}) == "x"
    assert resolve(Ref("dump", "count"), RESULTS) == 3
    assert text(Ref("dump", "ok"), RESULTS) == "true"


@pytest.mark.parametrize("ref", [Ref("dump", "nothing"), Ref("never", "count")])
def test_a_reference_to_nothing_is_a_bug_and_says_which(ref: Ref) -> None:
    with pytest.raises(Bug, match="internal error") as caught:
        resolve(ref, RESULTS)
    assert str(ref) in str(caught.value)


def test_a_document_keeps_its_order_and_json_text_becomes_json() -> None:
    given = Document((("z", Ref("dump", "count")), ("a", (JsonText(Ref("dump", "rows")), None)), ("s", FromEnv("S"))))
    made = document(given, RESULTS, lambda ref: f"revealed {ref}")
    assert made == {"z": 3, "a": [[{"n": 1}], None], "s": "revealed $S"}
    assert list(made) == ["z", "a", "s"]


def test_json_text_that_is_not_json_is_a_bug() -> None:
    with pytest.raises(Bug):
        document(JsonText(Ref("dump", "snapshot")), RESULTS, str)
