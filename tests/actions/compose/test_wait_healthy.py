"""compose.wait_healthy: one bounded wait a container."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from runbook.actions.compose.project import Member
from runbook.actions.compose.wait_healthy import Healthy, WaitFacts, WaitHealthy, WaitInputs
from runbook.operation import changes
from runbook.paste import paste
from runbook.system import ComposeProject
from tests.actions.backups import scope

APP = ComposeProject(type="compose", project="civicq", key="app")
SCOPE = scope(APP)


def test_each_container_is_waited_for() -> None:
    inputs = WaitInputs(services=("db", "web"), within="90s")
    facts = WaitFacts((Member("db", 1, "civicq-db-1"), Member("web", 1, "web-a"), Member("web", 2, "web-b")))
    planned = WaitHealthy().plan(APP, inputs, facts, SCOPE)
    assert [one.name for one in planned] == ["wait_db_1", "wait_web_1", "wait_web_2"]
    assert not any(map(changes, planned))
    assert paste(planned[0]).endswith(
        " civicq-db-1  # repeat every 0.5s, for at most 1m 30s, until state is running and health is healthy"
    )
    assert WaitHealthy().expect(APP, inputs, facts) == Healthy(healthy=("db", "web"))


def test_without_looking_there_is_one_wait_for_each_service() -> None:
    inputs = WaitInputs(services=("db", "web"))
    planned = WaitHealthy().plan(APP, inputs, WaitHealthy().assume(APP, inputs, SCOPE), SCOPE)
    assert [one.name for one in planned] == ["wait_db_1", "wait_web_1"]


@pytest.mark.parametrize("written", [{"services": []}, {"services": ["db"], "within": "soon"}])
def test_wrong_inputs(written: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WaitInputs.model_validate(written)
