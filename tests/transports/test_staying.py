"""A container counts as started once it has stayed up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from runbook.transports.staying import LONG_AGO_S, STAYS_S, Staying


class Clock:
    """Seconds that pass when the test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def running(since: datetime) -> dict[str, object]:
    return {"Status": "running", "StartedAt": since.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")}


def test_a_container_has_stayed_when_it_was_seen_so_long_with_one_start() -> None:
    clock, began = Clock(), datetime.now(UTC)
    seen = Staying(clock)
    assert not seen.look("a", running(began))
    clock.now += STAYS_S / 2
    assert not seen.look("a", running(began))
    assert not seen.look("b", running(began)), "each has a time of its own"
    clock.now += STAYS_S / 2
    assert seen.look("a", running(began))
    assert not seen.look("a", running(began + timedelta(seconds=1))), "it was started anew meanwhile"
    clock.now += STAYS_S
    assert not seen.look("b", {"Status": "exited"})


def test_one_that_runs_since_long_ago_needs_no_second_look() -> None:
    seen = Staying(Clock())
    assert seen.look("a", running(datetime.now(UTC) - timedelta(seconds=LONG_AGO_S + 5)))
    assert not seen.look("b", {"Status": "running", "StartedAt": "never"})
