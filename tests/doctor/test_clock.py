"""Clocks: a plausible year, no step, no run in the future, and the servers' within two seconds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runbook.doctor import clock
from runbook.doctor.facts import Clock
from runbook.doctor.finding import Code, Mark
from tests.doctor.given import DB, NOW, SERVER


@pytest.mark.parametrize(
    ("found", "mark", "word"),
    [
        (Clock(NOW), Mark.GOOD, "2026-12-01 03:00:00Z"),
        (Clock(datetime(1970, 1, 1, tzinfo=UTC)), Mark.FAILS, "says 1970-01-01"),
        (Clock(datetime(2099, 1, 1, tzinfo=UTC)), Mark.FAILS, "says 2099"),
        (Clock(NOW, stepped_s=0.4), Mark.GOOD, "2026"),
        (Clock(NOW, stepped_s=-90.0), Mark.LOOK, "was set by 1m 30s"),
        (Clock(NOW, newest_run=NOW - timedelta(hours=1)), Mark.GOOD, "2026"),
        (Clock(NOW, newest_run=NOW + timedelta(hours=1)), Mark.LOOK, "the newest run began 1h 00m later"),
    ],
)
def test_this_machines_clock(found: Clock, mark: Mark, word: str) -> None:
    judged = clock.own(found)
    assert (judged.mark, judged.code) == (mark, None if mark is Mark.GOOD else Code.CLOCK)
    assert word in judged.says


@pytest.mark.parametrize(
    ("offset_s", "slack_s", "mark", "word"),
    [
        (0.0, 0.01, Mark.GOOD, "to 0.0s"),
        (1.9, 0.0, Mark.GOOD, "to 1.9s"),
        (-1.9, 0.0, Mark.GOOD, "to 1.9s"),
        (2.5, 0.0, Mark.LOOK, "ahead of"),
        (-300.0, 0.0, Mark.LOOK, "5m 00s behind"),
        (3.0, 1.5, Mark.GOOD, "to 3.0s"),  # the answer itself took three seconds
    ],
)
def test_a_servers_clock(offset_s: float, slack_s: float, mark: Mark, word: str) -> None:
    judged = clock.servers(DB, replace(SERVER, offset_s=offset_s, slack_s=slack_s))
    assert judged.mark is mark
    assert word in judged.says
