"""Summaries of WAL: lines as the summary prints them, and what they mean in words."""

from __future__ import annotations

import pytest

from runbook.actions.postgres.changes import parse

LINES = """\
200\t726\t0/152B940\t2026-11-22 00:37:36.424492\t200\t0\t0\t0\t1663/5/16384
1\t728\t0/152BB10\t2026-11-22 00:37:36.446848\t0\t0\t1\t1\t
2\t729\t0/152BE90\t2026-11-22 00:37:36.468396\t0\t0\t2\t0\t
1\t725\t0/152B000\t2026-11-22 00:37:30.5\t0\t1\t0\t0\t1663/5/16384
"""


def test_transactions_are_told_by_time() -> None:
    found = parse(LINES)
    assert [one.xid for one in found] == [725, 726, 728, 729]
    assert [one.did for one in found] == [
        "updated 1 row",
        "deleted 200 rows",
        "emptied or rewrote 1 file",
        "dropped 2 files",
    ]
    assert max(found, key=lambda one: one.weight).xid == 726


def test_what_could_not_be_read_to_the_end_is_not_relied_on() -> None:
    with pytest.raises(ValueError, match="to the end"):
        parse("999999999999999\t!failed\n" + LINES)
