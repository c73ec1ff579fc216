"""No secret is left anywhere by any end of a run, and nothing is open to others. All ends: `python -m tests.canary`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.canary.ends import ENDS, End, afterwards, house
from tests.fixtures.postgres import PostgresServer

MANY = {end.name for end in ENDS if end.name.startswith("killed at")} - {
    "killed at journal.after_write:5",
    "killed at supervisor.executed:1",
}
"""What the command alone goes through."""


@pytest.mark.parametrize("end", [end for end in ENDS if end.name not in MANY], ids=lambda end: end.name)
def test_no_secret_is_left(
    end: End, postgres_server: PostgresServer, record_property: Callable[[str, object], None]
) -> None:
    with house(postgres_server) as made:
        end.bring(made)
        if end.name == "failure":
            afterwards(made)
        evidence = made.search()
        record_property("cases", len(made.canaries))
    assert sorted(evidence.leaks) == []
    assert evidence.open_to_others == ()
    assert end.uses <= evidence.used, "a secret that nobody used is not found either"
    assert evidence.searched > 5
    assert made.watch.looks > 0
