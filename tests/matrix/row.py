"""A row of the matrix: something that is done to the program, the tests that do it, and the defence that makes it hold.

    Row(
        "F22",                                        # the name: once in the whole matrix
        "the log's disk is full",                     # what is done
        "a log is marked as cut off",                 # the defence
        (f"{S}/test_output.py::test_a_full_log",),    # the tests, as pytest names them: a test, a file or a folder
        elsewhere.logs_may_fail,                      # how the defence is taken out
        (f"{S}/test_output.py::test_a_full_log",),    # at least one of these fails then: few and quick ones
    )

A defence is taken out in one of two ways:

- `Patch`: a function of `pytest.MonkeyPatch` (`without.py`), for what works in the test's own process. Quick; runs in CI.
- `Mutation(file, text, instead)` (`elsewhere.py`), for what works in any other process: the program that a test starts, a
  supervisor, the worker's script, a container. The `red` tests run in a copy of the checkout in which `text`, which stands exactly
  once in `file`, is replaced. Nothing else is to be done: each process of such a test comes from the copy. CI looks whether the
  text is there and what is left compiles, and runs a few; all are run by `python -m tests.matrix`, one by `--only F22`.

A row of which nothing can be taken out, or that has no tests yet, says why in `owed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import pytest

from tests.matrix.mutation import Mutation

Patch: TypeAlias = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Row:
    """``tests`` are pytest's node ids; ``takes_out`` removes the defence, and then one of ``red`` fails."""

    name: str
    what: str
    defence: str
    tests: tuple[str, ...] = ()
    takes_out: Patch | Mutation | None = None
    red: tuple[str, ...] = ()
    owed: str = ""

    @property
    def nodes(self) -> tuple[str, ...]:
        """All that is run for it: a test that turns red without the defence has to hold with it."""
        return widest((*self.tests, *self.red))


def below(node: str, named: str) -> bool:
    """Whether a test is one of those that a node names: itself, a parameter of it, or one in that file or folder."""
    return node == named or node.startswith((f"{named}[", f"{named}::", f"{named}/"))


def widest(nodes: Iterable[str]) -> tuple[str, ...]:
    """The nodes, without those that another one names too: pytest would run what is named twice two times."""
    each = dict.fromkeys(nodes)
    return tuple(node for node in each if not any(node != other and below(node, other) for other in each))
