"""The one exception that a broken rule raises, apart from those who look."""

from __future__ import annotations


class Violation(AssertionError):
    """Something that has to hold does not."""
