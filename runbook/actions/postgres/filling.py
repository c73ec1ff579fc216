"""Filling several tables: in which order, and what else that would set off.

Owns :class:`Order`, and the refusals E683 (triggers that nobody decided about) and E684 (references in a circle). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from runbook.actions.postgres.tables import Table
from runbook.errors import Problem, Refused


def refuse_triggers(tables: Sequence[Table]) -> None:
    """Triggers of users that would fire, where nobody said whether they should: exit 4, named."""
    named = [trigger.shown for table in tables for trigger in table.triggers]
    if named:
        raise Refused(
            Problem(
                "E683",
                "whether triggers fire has to be said",
                f"Rows that come back would fire {', '.join(named)}. What a trigger did at the first time (a message sent, a row "
                "written elsewhere) it may do again.",
                "Write `triggers: fire` or `triggers: skip`; skipped ones are off within this one transaction.",
            )
        )


@dataclass(frozen=True, slots=True)
class Order:
    """In which order tables are filled. ``deferred``: their references go in a circle, and are checked at the end."""

    tables: tuple[Table, ...]
    deferred: bool = False


def in_order(tables: Sequence[Table]) -> Order:
    """Referenced tables before those that refer to them. Refuses (exit 4) a circle of references that can't be deferred."""
    try:
        return Order(_sorted(tables, deferrable=True))
    except CycleError:
        pass
    try:
        return Order(_sorted(tables, deferrable=False), deferred=True)
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        between = set(pairwise(circle))
        names = [f"{f.name} on {t.shown}" for t in tables for f in t.foreign_keys if (t.shown, f.table) in between]
        raise Refused(
            Problem(
                "E684",
                "tables refer to one another in a circle",
                f"{' → '.join(circle)}: none of them can be filled first, and {', '.join(sorted(names))} can't be deferred.",
                "ALTER TABLE … ALTER CONSTRAINT … DEFERRABLE for one of them, or bring the tables back one by one with `where`.",
            )
        ) from None


def _sorted(tables: Sequence[Table], *, deferrable: bool) -> tuple[Table, ...]:
    """By references among them, then as they were named; without the deferrable references if so asked."""
    by_name = {table.shown: table for table in tables}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for table in tables:
        before = (f.table for f in table.foreign_keys if deferrable or not f.deferrable)
        sorter.add(table.shown, *(name for name in before if name in by_name and name != table.shown))
    return tuple(by_name[name] for name in sorter.static_order())


def followers(tables: Sequence[Table]) -> tuple[str, ...]:
    """Tables that a deletion in these ones reached as well, and that aren't among them."""
    named = {table.shown for table in tables}
    return tuple(sorted({name for table in tables for name in table.followers} - named))
