"""Rows without their defence: which of them turn red, and why the others don't."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tests.matrix.checkout import copied
from tests.matrix.mutation import Mutation
from tests.matrix.plugin import POWER
from tests.matrix.row import Row
from tests.matrix.session import Broken, Session

WITHIN_S = 900.0
"""How long the tests of one row may take without its defence: what waits for something that never comes has a limit of its own."""


@dataclass(frozen=True)
class Without:
    """What came of a row's tests without its defence: whether they could be tried, whether one failed, and what they said."""

    tried: bool
    red: bool
    said: str


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
            session = replace(Session(checkout, python), within_s=WITHIN_S, flags=("-x",))
            over = [line for line in session.lines(row.red) if "test" in line]
        except (Broken, ValueError) as error:
            return Without(tried=False, red=False, said=str(error))
    said = "; ".join(f"{line['test']}: {line['why']}" for line in over if line["why"])
    red = any(line["failed"] for line in over)
    tried = red or any(line["held"] for line in over)
    return Without(tried=tried, red=red, said=said or "its tests hold without the defence")
