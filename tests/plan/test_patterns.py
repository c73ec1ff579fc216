"""A plan's own regular expressions: what they may be, what they fit, and that none runs for ever."""

from __future__ import annotations

import time

import pytest

from runbook.plan.patterns import check_pattern, fits


@pytest.mark.parametrize(
    ("pattern", "value", "whole"),
    [
        ("[a-z]+", "abc", True),
        ("[a-z]+", "abc1", False),
        ("[a-z]+", "abc\n", False),
        ("a|bc", "ac", False),
        ("a|bc", "bc", True),
        ("^ab$", "ab", True),
        (r"\d{4}-\d\d", "2026-02", True),
        ("(?i)abc", "ABC", True),
        ("(?P<name>x+)", "xx", True),
        (".*", "two\nlines", False),
        ("(?s).*", "two\nlines", True),
        ("é+", "éé", True),
        (".*", "\ud800", False),
    ],
)
def test_a_pattern_fits_the_whole_value(pattern: str, value: str, whole: bool) -> None:
    assert check_pattern(pattern) == pattern
    assert fits(pattern, value) is whole


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("[", "unclosed character class"),
        ("a)|(b", "unopened group"),
        ("(?x)a # b", "unclosed group"),
        ("(?=a)b", "look-around"),
        (r"(a)\1", "backreferences are not supported"),
        ("(a{1000}){1000}", "size limit"),
        ("(" * 400 + "a" + ")" * 400, "nest"),
    ],
)
def test_what_is_none_is_refused_with_the_reason(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"expected a regular expression.*{why}"):
        check_pattern(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+", "(.*a){20}", "(a?){60}a{60}"])
def test_no_match_takes_for_ever(pattern: str) -> None:
    began = time.process_time()
    fits(check_pattern(pattern), "a" * 20_000 + "!")
    assert time.process_time() - began < 30  # by backtracking it would be years
