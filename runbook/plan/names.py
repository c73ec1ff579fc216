"""Names: what may name an input, a system, a step or a plan.

Owns the two patterns. Promises: a name is safe as a file name, an SQL identifier and a variable of a template; a refusal
names the character that looks like another.
"""

from __future__ import annotations

import re

from runbook.plan.text import describe

IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
PLAN_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


class InvalidName(ValueError):
    """A name that doesn't match; the text says what is expected."""


def check_identifier(text: str) -> str:
    """The text, if it may name an input, a system or a step."""
    return _checked(text, IDENTIFIER)


def check_plan_name(text: str) -> str:
    """The text, if it may name a plan or an environment."""
    return _checked(text, PLAN_NAME)


def _checked(text: str, pattern: re.Pattern[str]) -> str:
    if pattern.fullmatch(text):
        return text
    strange = [character for character in text if not character.isascii()]
    if strange:
        raise InvalidName(f"{describe(strange[0])} isn't a letter from a to z; expected {pattern.pattern}")
    if len(text) > 63:
        raise InvalidName(f"it has {len(text)} characters, at most 63 are allowed; expected {pattern.pattern}")
    raise InvalidName(f"expected {pattern.pattern}")
