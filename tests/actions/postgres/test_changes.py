"""Summaries of WAL: lines as the summary prints them, and what they mean in words."""

from __future__ import annotations

import subprocess

import pytest

from runbook.actions.postgres.changes import FIRST_OWN, SUMMARY, parse

LINES = """\
999999999999999\t!read
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
        parse(LINES.replace("!read", "!failed"))


def test_a_summary_without_its_mark_was_cut_off_and_is_not_relied_on() -> None:
    for cut in ("", LINES.partition("\n")[2]):
        with pytest.raises(ValueError, match="to the end"):
            parse(cut)


def dumped(*lines: str) -> str:
    return "".join(
        f"rmgr: {kind:11} len (rec/tot):     54/    54, tx:        {xid}, lsn: {lsn}, prev 0/0, desc: {desc}\n"
        for kind, xid, lsn, desc in (line.split("|") for line in lines)
    )


def summed_up(text: str) -> str:
    given = [f"own={FIRST_OWN}", "only=", "since=2026-11-22 00:00:00", "until=2026-11-23 00:00:00"]
    argv = ["awk", *(word for one in given for word in ("-v", one)), SUMMARY]
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=True).stdout


DELETE = "DELETE off 1 flags 0x00 KEYS_UPDATED , blkref #0: rel 1663/5/16384 blk 0"
COMMIT = "COMMIT 2026-11-22 00:37:36.424492 UTC"


def test_records_that_are_read_twice_count_once_and_take_no_memory() -> None:
    first = [f"Heap|726|0/FFFFFFB8|{DELETE}", f"Heap|726|1/00000028|{DELETE}"]
    again = [*first, f"Heap|726|1/00000060|{DELETE}", f"Transaction|726|1/00000098|{COMMIT}"]
    mark, line = sorted(summed_up(dumped(*first, *again)).splitlines(), reverse=True)
    assert mark.endswith("\t!read")
    (found,) = parse(f"{mark}\n{line}\n")
    assert (found.xid, found.lsn, found.deleted) == (726, "1/00000098", 3)
    assert "seen[" not in SUMMARY, "a place for each record of an archive would fill the server's memory"


def test_a_dump_that_failed_says_so() -> None:
    assert summed_up(dumped(f"Heap|726|0/28|{DELETE}") + "!failed\n").endswith("\t!failed\n")
