"""Secrets: masked by construction, found in every form in which they travel."""

from __future__ import annotations

import base64
import html
import json
import pickle
import shlex
import threading
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
        base64.urlsafe_b64encode(b"you:" + VALUE.encode()).decode(),
        quote(VALUE),
        quote(VALUE, safe="").replace("%2F", "%2f").replace("%2B", "%2b"),
        json.dumps(json.dumps({"password": VALUE})),
        repr(VALUE),
        html.escape(VALUE),
        shlex.quote(VALUE),
        VALUE.encode().hex(),
        VALUE.encode().hex().upper(),
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


@pytest.mark.parametrize(
    "quoted",
    [
        "'it'\\''s my s3cr3t\\x:'",
        "E'it''s my s3cr3t\\\\x:'",
        "password='it\\'s my s3cr3t\\\\x:'",
        "host:port:*:user:it's my s3cr3t\\\\x\\:",
        'b"it\'s my s3cr3t\\\\x:"',
    ],
)
def test_what_shells_and_servers_quote_is_masked(quoted: str) -> None:
    assert "s3cr3t" not in Redactor((Secret("it's my s3cr3t\\x:"),))(quoted)


def test_each_long_line_of_a_key_is_masked_however_it_is_indented() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n  9w0BAQEFAASCBKcwggSj\nshort\n-----END KEY-----"
    shown = Redactor((Secret(key),))("\n".join(f"\t| {line}" for line in key.split("\n")))
    assert "MIIE" not in shown
    assert "9w0B" not in shown
    assert "short" in shown


def test_what_stands_in_the_open_is_not_masked_nor_a_line_of_it() -> None:
    redactor = Redactor()
    redactor.disclose("database: warehouse_production")
    redactor.learn(Secret("warehouse_production\nand-a-line-of-its-own"))
    assert redactor("warehouse_production") == "warehouse_production"
    assert redactor("and-a-line-of-its-own") == MASK


def test_what_turns_out_to_stand_in_the_open_is_not_masked_any_more() -> None:
    redactor = Redactor((Secret("postgresql"), Secret("correct-horse")))
    redactor.disclose("/var/lib/postgresql/15/main")
    assert redactor("/var/lib/postgresql correct-horse") == f"/var/lib/postgresql {MASK}"


def test_what_several_threads_learn_at_once_is_all_known() -> None:
    redactor = Redactor()
    values = [f"correct-horse-{number:04}" for number in range(400)]

    def learn(some: list[str]) -> None:
        for value in some:
            redactor.learn(Secret(value))

    threads = [threading.Thread(target=learn, args=(values[number::4],)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert redactor(" ".join(values)) == " ".join([MASK] * 400)
