"""Quoting: nothing ends its quotation, on a shell and in SQL."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql as psycopg_sql

from runbook.errors import InvalidInput
from runbook.operation import Name, Ref, sql
from runbook.quoting import identifier, literal, shell_word, sql_text, visible

ENCODABLE = st.characters(exclude_characters="\0", codec="utf-8")
TEXTS = st.text(ENCODABLE)


@given(TEXTS)
def test_a_literal_is_what_libpq_makes_of_it(value: str) -> None:
    assert literal(value) == psycopg_sql.Literal(value).as_string(None)


@given(st.text(ENCODABLE, min_size=1, max_size=15))
def test_an_identifier_is_what_libpq_makes_of_it(name: str) -> None:
    assert identifier(name) == psycopg_sql.Identifier(name).as_string(None)


@given(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_other_scalars_are_what_psycopg_makes_of_them(value: float | None) -> None:
    assert literal(value).replace(" ", "") == psycopg_sql.Literal(value).as_string(None).replace(" ", "")


def test_what_cannot_be_quoted_is_refused() -> None:
    for bad in ("", "a\0b", "x" * 64):
        with pytest.raises(InvalidInput, match="can't be rendered"):
            identifier(bad)
    with pytest.raises(InvalidInput):
        literal("a\0b")


def test_a_statement_has_its_parts_quoted_and_late_values_named_or_filled() -> None:
    statement = sql(
        "SELECT {{}} FROM {t} WHERE a = {v} AND b = {late}", t=Name('x"; DROP'), v="it's", late=Ref("o", "f")
    )
    assert sql_text(statement) == """SELECT {} FROM "x""; DROP" WHERE a = 'it''s' AND b = <o.f>"""
    assert sql_text(statement, {"o": {"f": -1}}).endswith("b =  -1")


@pytest.mark.parametrize("text", ["{missing}", "{v!r}", "{v:>9}", "{v.__class__}", "{}"])
def test_only_plain_known_parts_can_be_named(text: str) -> None:
    with pytest.raises(InvalidInput):
        sql_text(sql(text, v="x"))


@given(TEXTS)
def test_nothing_that_is_shown_acts_on_a_terminal(text: str) -> None:
    for shown in (visible(text), shell_word(text)):
        assert not any(ord(char) < 32 or char in "\x7f\x9b\u202e\u2066" for char in shown)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@settings(max_examples=60, deadline=None)
@given(st.text(ENCODABLE, max_size=30))
def test_bash_reads_back_the_very_word(text: str) -> None:
    ran = subprocess.run(
        ["bash", "-c", f"printf %s {shell_word(text)}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert ran.stdout.decode() == text
