"""A table and its copy: whether they are built the same, so that rows of the one can go into the other.

Owns the comparison of columns and the refusals E681 (built differently, or missing) and E682 (no key). Pure.
"""

from __future__ import annotations

from runbook.actions.postgres.tables import Table
from runbook.errors import Problem, Refused


def refuse_unfit(live: Table | None, copy: Table | None, asked: str) -> Table:
    """The live table, where it has a key and the copy is built the same; else exit 4, with what differs."""
    if live is None or copy is None:
        where = "the live database only" if copy is None else "the copy only"
        detail = f"{asked} is in {'neither database' if live is copy else where}."
        fix = "Check the name, with its schema: public.users. A table that was dropped comes back with pg_restore --table."
        raise Refused(Problem("E681", "a table can't be compared", detail, fix))
    differing = differences(live, copy)
    if differing:
        raise Refused(
            Problem(
                "E681",
                "a table can't be compared",
                f"{live.shown} is built differently in the copy: {'; '.join(differing)}.",
                "Change the copy, which is yours, until it is built as the live one is (run the migrations on it), and try again.",
            )
        )
    if not live.key:
        raise Refused(
            Problem(
                "E682",
                "a table has no key",
                f"{live.shown} has neither a primary key nor a unique index over columns that are never null: "
                "which of its rows are missing can't be told.",
                "Leave the table out, and look at it by hand.",
            )
        )
    return live


def differences(live: Table, copy: Table) -> tuple[str, ...]:
    """In words: columns that only one of the two has, or that are of another kind. Their order doesn't count."""
    here, there = ({column.name: column for column in table.columns} for table in (live, copy))
    found = [f"{name} is in the copy only" for name in there if name not in here]
    found += [f"{name} is in the live table only" for name in here if name not in there]
    for name in here:
        if name not in there:
            continue
        if here[name].type != there[name].type:
            found.append(f"{name} is {here[name].type}, in the copy {there[name].type}")
        elif here[name].generated != there[name].generated:
            found.append(f"{name} is computed in one of the two only")
    return tuple(found)
