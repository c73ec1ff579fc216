"""The small parts that transports share: bounds, the registry of what runs, environments, numbers."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook.operation import Scalar
from runbook.transports.bound import Bound
from runbook.transports.docker import _stat
from runbook.transports.environment import allowed_environment
from runbook.transports.rows import number
from runbook.transports.running import Running


def test_a_bound_is_the_sooner_and_never_negative() -> None:
    now = [100.0]
    bound = Bound(lambda: now[0], 110.0)
    assert (bound.left_s(), bound.at_most(3), bound.at_most(30), bound.over) == (10.0, 3, 10.0, False)
    assert bound.within(5).at == 105.0
    assert bound.within(50).at == 110.0
    now[0] = 120.0
    assert (bound.left_s(), bound.over) == (0.0, True)
    assert (Bound(lambda: 0.0, None).left_s(), Bound(lambda: 0.0, None).within(5).at) == (None, 5.0)


def test_a_stop_finds_what_runs_below_an_id_and_what_begins_later() -> None:
    running, told = Running(), []
    with running.stoppable("step/1/1/a", lambda grace: told.append(("a", grace))):
        with running.stoppable("step2/1/1/b", lambda grace: told.append(("b", grace))):
            running.stop("step", 5.0)
        assert told == [("a", 5.0)]
    with running.stoppable("step/1/1/c", lambda grace: told.append(("c", grace))):
        assert told[1:] == [("c", 5.0)]
    assert running.stopped("step/9/9/z")
    assert not running.stopped("step2/1/1/b")


def test_a_childs_environment_is_what_is_on_the_list() -> None:
    given_ = {"PATH": "/bin", "LC_TIME": "C", "TZ": "UTC", "SECRET": "x", "LD_PRELOAD": "/x.so", "PGPASSWORD": "x"}
    assert allowed_environment(given_) == {"PATH": "/bin", "LC_TIME": "C", "TZ": "UTC", "HOME": "/"}
    assert "PATH" in allowed_environment({})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("7", 7),
        ("-12345678901234567890", -12345678901234567890),
        ("7.50", 7.5),
        ("1e-05", 1e-05),
        ("0.1234567890123456789", "0.1234567890123456789"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
    ],
)
def test_a_number_is_exact_or_text(text: str, wanted: Scalar) -> None:
    assert number(text) == wanted


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_comes_back(value: float) -> None:
    assert float(str(number(repr(value)))) == value


@pytest.mark.parametrize(
    "told", ["2026-07-01T12:00:00Z", "2026-07-01T14:00:00.123456789+02:00", "2026-07-01T07:00:00-05:00"]
)
def test_a_time_of_the_docker_engine_is_in_the_zone_that_it_says(told: str) -> None:
    """It says when a file was changed in the zone of the machine that it runs on."""
    header = base64.b64encode(json.dumps({"mode": 0o644, "size": 1, "mtime": told}).encode()).decode()
    assert _stat("/data/f", header).modified == datetime(2026, 7, 1, 12, tzinfo=UTC)
