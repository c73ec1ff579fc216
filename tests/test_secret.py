"""Secrets: masked by construction, found in every form in which they travel."""

from __future__ import annotations

import base64
import json
import pickle
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook.secret import MASK, Redactor, Secret

VALUE = 's3cr3t/with+signs &"quotes"'


def test_no_representation_holds_the_value() -> None:
    secret = Secret(VALUE)
    for shown in (str(secret), repr(secret), f"{secret}", f"{secret:>40}", repr([secret]), repr({"a": secret})):
        assert VALUE not in shown
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert secret.reveal() == VALUE


@pytest.mark.parametrize(
    "form",
    [
        VALUE,
        quote(VALUE, safe=""),
        json.dumps(VALUE),
        base64.b64encode(VALUE.encode()).decode(),
        base64.b64encode(b"x" + VALUE.encode() + b"yy").decode(),
        base64.b64encode(b"xy" + VALUE.encode()).decode(),
    ],
)
def test_every_form_is_masked(form: str) -> None:
    shown = Redactor((Secret(VALUE),))(f"before {form} after")
    assert MASK in shown
    assert "s3cr3t" not in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")


def test_short_values_are_left_alone() -> None:
    redactor = Redactor((Secret("abc"),))
    assert redactor("an abc of recovery") == "an abc of recovery"
    assert redactor.longest == 0


@given(st.text(min_size=8), st.text(), st.text())
def test_the_raw_value_never_passes(value: str, before: str, after: str) -> None:
    if value not in MASK:
        assert value not in Redactor((Secret(value),))(before + value + after).replace(MASK, "\0")


def test_json_that_keeps_letters_beyond_ascii_is_masked_too() -> None:
    value = 'köln "s3cr3t"'
    for keeps in (True, False):
        assert "s3cr3t" not in Redactor((Secret(value),))(json.dumps({"password": value}, ensure_ascii=not keeps))
