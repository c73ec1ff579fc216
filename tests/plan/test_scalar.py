"""Plain scalars mean what YAML 1.2 says, and what readers differ about is refused."""

from __future__ import annotations

import pytest

from runbook.plan.scalar import Ambiguous, kind, resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("true", True), ("False", False), ("no", "no"), ("on", "on"), ("y", "y"),
        ("0", 0), ("-7", -7), ("+3", 3), ("0x1F", 31), ("0o17", 15), ("1.5", 1.5), ("-.5", -0.5), ("1e3", 1000.0),
        ("=", "="), ("-", "-"), (".", "."), ("1.2.3", "1.2.3"), ("2026-02-14", "2026-02-14"), ("5m", "5m"), ("1h30m", "1h30m"),
        ("0b1", "0b1"), ("1e", "1e"), ("+", "+"), ("s3://a", "s3://a"), ("0.5", 0.5), ("127.0.0.1", "127.0.0.1"),
    ],
)  # fmt: skip
def test_core_schema(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "010",
        "-007",
        "1_000",
        "0x1_F",
        "12:30",
        "1:00:00",
        ".inf",
        "-.Inf",
        ".nan",
        "1e999",
        "9" * 30,
        "9223372036854775808",
    ],
)
def test_what_readers_differ_about_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(Ambiguous) as caught:
        resolve(text)
    assert text not in str(caught.value)
    assert "quote it" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "null"), (True, "a truth value"), (1, "a number"), ("", "text"), ([], "a list"), ({}, "a mapping")],
)
def test_kinds_have_names(value: object, said: str) -> None:
    assert kind(value) == said


def test_a_long_scalar_costs_its_length_and_no_more() -> None:
    text = "1_" * 500_000 + "x"
    assert resolve(text) == text
