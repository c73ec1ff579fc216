"""Positions, histories, and who parted from whom: numbers and texts alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runbook.actions.postgres.following import parted
from runbook.actions.postgres.replication import Node, fork_of, known_lsn, parent_of, shown_lsn
from runbook.actions.postgres.standby_status import ASSUMED, status_of
from tests.actions.postgres.nodes import primary_node

HISTORY = "1\t0/3000148\tno recovery target specified\n\n2\t0/5000000\tno recovery target specified\n"


def control(timeline: int, checkpoint: str, state: str = "shut down", end: str = "0/0") -> dict[str, str]:
    return {
        "Latest checkpoint's TimeLineID": str(timeline),
        "Latest checkpoint location": checkpoint,
        "Database cluster state": state,
        "Minimum recovery ending location": end,
    }


@pytest.mark.parametrize("text", ["0/0", "0/3000148", "1A/FFFFFFFF", "FFFFFFFF/1"])
def test_a_position_is_a_number_and_back(text: str) -> None:
    number = known_lsn(text)
    assert number is not None
    assert shown_lsn(number) == text


@pytest.mark.parametrize("text", ["", "0", "0/", "/1", "0/g", "000000000/1", "0/1; DROP"])
def test_what_is_no_position(text: str) -> None:
    assert known_lsn(text) is None


def test_a_history_tells_where_timelines_part() -> None:
    assert shown_lsn(fork_of(HISTORY, 1)) == "0/3000148"
    assert shown_lsn(fork_of(HISTORY, 2)) == "0/5000000"
    assert fork_of(HISTORY, 3) is None
    assert shown_lsn(parent_of(HISTORY)) == "0/5000000"
    assert parent_of("") is None
    assert parent_of("1\t0/30001") == 0x30001
    assert (parent_of("1\t0/"), fork_of("1\t0/", 1)) == (None, None), "a text that was cut off tells nothing"


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (control(1, "0/30000D0"), ""),
        (control(2, "0/4FFFF00"), ""),
        (control(3, "0/6000000"), ""),
        (control(3, "0/6000000", "in archive recovery"), ""),
        (control(1, "0/30000D0", "shut down in recovery", end="0/3000148"), ""),
        (control(1, "0/30000D0", "shut down in recovery", end="0/3000149"), "WAL goes on"),
        (control(1, "0/3000148"), "WAL goes on"),
        (control(1, "0/30000D0", "in production"), "without a shutdown"),
        (control(3, "0/6000000", "in production"), "without a shutdown"),
        (control(4, "0/6000000"), "not in the history"),
        ({}, "can't be read"),
    ],
)
def test_who_can_follow_as_he_is(found: dict[str, str], why: str) -> None:
    said = parted(found, primary_node(timeline=3), HISTORY)
    assert why in said
    assert bool(said) == bool(why)


def test_the_lag_is_what_the_primary_has_and_the_standby_has_not() -> None:
    standby: Node = ASSUMED
    assert status_of(standby, None).estimate
    assert status_of(standby, None).meaning.endswith("what is lost can't be told.")
    assert "the commits of the last 1m 30s" in status_of(replace(standby, age_s=90.0), None).meaning
    found = status_of(standby, primary_node(flushed=5000))
    assert (found.behind_bytes, found.estimate) == (5000, False)
