"""The plans that come with runbook are found."""

from __future__ import annotations

import pytest

from runbook.cli.shipped import shipped_plan
from runbook.errors import Bug


def test_a_shipped_plan_is_found_by_its_name() -> None:
    assert "name: restore-db\n" in shipped_plan("restore-db").read_text()


def test_a_plan_that_did_not_come_along_is_our_fault() -> None:
    with pytest.raises(Bug) as fault:
        shipped_plan("restore-moon")
    assert "restore-moon" in fault.value.problems[0].detail
