"""Values on their way into a command: a pattern keeps a value from being an option only if nothing that it fits is one."""

from __future__ import annotations

import pytest

from runbook.plan.patterns import fits
from tests.check.given import HEAD, codes, faults_of

STEP = '- {id: a, uses: shell.run, with: {argv: [rm, "{{ inputs.name }}"]}}\n'


def flagged(pattern: str) -> bool:
    """Whether a word that is an input of that pattern is said to be taken for an option."""
    return "E223" in codes(faults_of(STEP, head=HEAD.replace("[a-z]+", pattern.replace("\\", "\\\\"))))


@pytest.mark.parametrize(
    ("pattern", "option"),
    [
        (".*", "-rf"),
        (".rf", "-rf"),
        ("[a-z]*-rf", "-rf"),
        ("a?-rf", "-rf"),
        ("a{0}-rf", "-rf"),
        ("a|-rf", "-rf"),
        ("[a-z]+|-rf", "-rf"),
        ("(a|-r)f", "-rf"),
        ("[!-~]+", "-rf"),
        ("[+-/]rf", "-rf"),
        (r"[\W]rf", "-rf"),
        (r"\Srf", "-rf"),
        ("[^a]rf", "-rf"),
        ("[a-z-]+", "-rf"),
        ("a+*-rf", "-rf"),
        ("[a-z]{1}*.*", "-rf"),
        ("a+{0}.*", "-rf"),
        ("a{1}{0}.*", "-rf"),
        ("a[(]x|-.*[)]", "-rf)"),
        (r"\w+[(]?|-.*[)]?", "-rf"),
    ],
)
def test_a_pattern_that_fits_an_option_keeps_none_out(pattern: str, option: str) -> None:
    assert fits(pattern, option)
    assert flagged(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "[a-z]+",
        "^[A-Za-z0-9_.]+$",
        r"\w+",
        r"[\w./]+",
        "a(b|-c)+",
        "[a-z]{1,9}-x",
        "/.*",
        "[a-z]{3}[.-]+",
        r"a[(]x(b|[)|])\|-",
    ],
)
def test_one_that_fits_none_lets_the_value_stand_alone(pattern: str) -> None:
    assert not fits(pattern, "-rf")
    assert not flagged(pattern)
