"""Rows without their defence: which of them turn red, and why the others don't."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.matrix.checkout import copied
from tests.matrix.mutation import Mutation
from tests.matrix.plugin import POWER
from tests.matrix.row import Row
from tests.matrix.session import Broken, Session

WITHIN_S = 1800.0
"""How long a session without a defence may take: what waits for something that never comes has a limit of its own."""


@dataclass(frozen=True)
class Without:
    """What came of a row's tests without its defence: whether they could be tried, which failed, and what they said."""

    tried: bool
    said: str
    red: tuple[str, ...] = ()


def patched(rows: Sequence[Row]) -> Iterator[str]:
    """The names of those rows of which a test fails without a defence in its own process; one process runs them all."""
    able = [row for row in rows if row.takes_out is not None and not isinstance(row.takes_out, Mutation)]
    nodes = [node for row in able for node in row.red]
    for line in Session().lines(nodes, {POWER: ";".join(row.name for row in able)}):
        if "red" in line:
            yield line["red"]


def mutated(row: Row) -> Without:
    """A row in a copy of the checkout without its defence. What can't be run there, or breaks before its test, is not red."""
    assert isinstance(row.takes_out, Mutation)
    with copied() as (checkout, python):
        try:
            row.takes_out.apply(checkout)
            over = [line for line in _apart(checkout, python, "-x").lines(row.red) if "test" in line]
        except (Broken, ValueError) as error:
            return Without(tried=False, said=str(error))
    said = "; ".join(f"{line['test']}: {line['why']}" for line in over if line["why"])
    red = tuple(line["test"] for line in over if line["failed"])
    tried = bool(red) or any(line["held"] for line in over)
    return Without(tried, said or "its tests hold without the defence", red)


def spurious(tests: Sequence[str]) -> Mapping[str, str]:
    """Of tests that failed in a mutated copy those that don't hold in an untouched one, with why: they show nothing."""
    with copied() as (checkout, python):
        over = {line["test"]: line for line in _apart(checkout, python).lines(tests) if "test" in line}
    return {test: over[test]["why"] if test in over else "it was not tried" for test in tests if not _held(over, test)}


def _held(over: Mapping[str, Mapping[str, Any]], test: str) -> bool:
    return test in over and bool(over[test]["held"])


def _apart(checkout: Path, python: Path, *flags: str) -> Session:
    return Session(checkout, python, within_s=WITHIN_S, flags=flags)
