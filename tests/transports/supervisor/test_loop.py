"""The event loop of the supervisor."""

from __future__ import annotations

import os

import pytest

from runbook.transports.supervisor.loop import Loop


@pytest.mark.parametrize("timeout_s", [0.0, 5.0, 40 * 86_400.0, 3e9, None])
def test_a_turn_may_be_given_any_time(timeout_s: float | None) -> None:
    loop = Loop()
    reading, writing = os.pipe()
    heard: list[bytes] = []
    try:
        loop.watch(reading, lambda: heard.append(os.read(reading, 1)))
        os.write(writing, b"x")
        loop.turn(timeout_s)
    finally:
        os.close(reading)
        os.close(writing)
    assert heard == [b"x"]
