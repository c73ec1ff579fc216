"""A row of the matrix: something that is done to the program, the tests that do it, and the defence that makes it hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

Takes = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Row:
    """``tests`` are pytest's node ids; ``takes_out`` removes the defence, in the test's own process, and then ``red`` must fail.

    ``owed`` says why a row has no tests yet, or none that its defence can be taken out of.
    """

    name: str
    what: str
    defence: str
    tests: tuple[str, ...] = ()
    takes_out: Takes | None = None
    red: tuple[str, ...] = ()
    owed: str = ""


def below(node: str, named: str) -> bool:
    """Whether a test is one of those that a node names: itself, a parameter of it, or one in that file or folder."""
    return node == named or node.startswith((f"{named}[", f"{named}::", f"{named}/"))
