"""Every bad input gives its message, word for word; ``GOLDEN=write`` writes them anew for review."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runbook.errors import InvalidInput
from runbook.plan.environment import load_environment
from runbook.plan.load import load_plan
from tests.plan.bad_inputs import ENVIRONMENTS, PLANS
from tests.plan.given import reader

GOLDEN = Path(__file__).parent / "golden"
SECRETS = ("hunter2hunter2", "12345678", "AKIAABCDEFGHIJKLMNOP")


def _compare(name: str, said: str) -> None:
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(said, encoding="utf-8")
    assert said == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PLANS)
def test_a_bad_plan_says_what_is_wrong(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_plan("plan.yaml", reader(PLANS[name]))
    said = f"{caught.value}\n"
    assert not any(secret in said for secret in SECRETS)
    _compare(name, said)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_bad_environment_says_what_is_wrong_and_shows_no_secret(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_environment("lab.yaml", reader(ENVIRONMENTS[name]))
    said = f"{caught.value}\n"
    assert not any(secret in said for secret in SECRETS)
    assert not any(secret in repr(caught.value.problems) for secret in SECRETS)
    _compare(f"environment-{name}", said)


def test_there_is_no_golden_file_without_its_case() -> None:
    named = {*PLANS, *(f"environment-{name}" for name in ENVIRONMENTS)}
    assert {path.stem for path in GOLDEN.glob("*.txt")} == named
