"""Stopping, starting and waiting, with real containers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from runbook.action import CheckFailed, Done, Role, Scope, roles
from runbook.actions.compose.start import Start
from runbook.actions.compose.stop import Stop, StopInputs
from runbook.actions.compose.wait_healthy import WaitHealthy
from runbook.errors import Refused
from runbook.operation import Json
from runbook.runner.step import pinned_as
from runbook.system import ComposeProject as Project
from tests.actions.harness import Stage, StepFailed
from tests.fixtures.containers import ComposeProject, PostgresContainer

pytestmark = pytest.mark.docker
Make = Callable[..., ComposeProject]


def system(project: ComposeProject) -> Project:
    """The project as an environment names it."""
    return Project(type="compose", project=project.name, key="app")


def states(project: ComposeProject) -> dict[str, str]:
    """The state of each service's container."""
    for container in project.containers.values():
        container.reload()
    return {service: container.status for service, container in project.containers.items()}


def hold(stage: Stage, app: Project, services: list[str]) -> dict[str, Json]:
    """What a stop of the services pins when it first looks."""
    inputs = StopInputs(services=tuple(services))
    return roles(Stop().observe(stage.look, app, inputs, stage.scope()), Role.PINNED)


def release(stage: Stage, held: dict[str, Json]) -> Scope:
    """The scope of the step that releases the hold."""
    return replace(stage.scope("start"), held=held)


def test_a_hold_restores_what_ran_and_not_everything(stage: Stage, compose_project: Make) -> None:
    project = compose_project("web", "worker", "beat", "db")
    project.containers["beat"].stop(timeout=1)
    app, services = system(project), ["web", "worker", "beat"]
    held = hold(stage, app, services)

    stage.live(Stop(), app, services=services, timeout_s=2)
    assert states(project) == {"web": "exited", "worker": "exited", "beat": "exited", "db": "running"}
    assert stage.performed == ["stop_web_1", "stop_worker_1"]
    inputs = StopInputs(services=tuple(services))
    seen = pinned_as(Stop().observe(stage.look, app, inputs, stage.scope()), held)
    assert Stop().verify(stage.look, app, inputs, Done(seen, {})).stopped == ("web", "worker")

    stage.performed.clear()
    stage.live(Start(), app, release(stage, held))
    assert states(project) == {"web": "running", "worker": "running", "beat": "exited", "db": "running"}
    assert stage.performed == ["start_web_1", "start_worker_1", "wait_web_1", "wait_worker_1"]


def test_stopped_is_stopped(stage: Stage, compose_project: Make) -> None:
    project = compose_project("web")
    app = system(project)
    stage.live(Stop(), app, services=["web"], timeout_s=2)
    assert stage.planned(Stop(), app, services=["web"]) == ()
    assert stage.planned(Start(), app, services=[]) == ()


def test_a_stop_that_was_cut_off_goes_on(stage: Stage, compose_project: Make) -> None:
    project = compose_project("web", "worker")
    app, services = system(project), ["web", "worker"]
    held = hold(stage, app, services)
    stage.live(Stop(), app, stop_after="stop_web_1", services=services, timeout_s=2)
    assert states(project) == {"web": "exited", "worker": "running"}
    assert [one.name for one in stage.planned(Stop(), app, services=services)] == ["stop_worker_1"]
    stage.live(Stop(), app, services=services, timeout_s=2)
    stage.live(Start(), app, release(stage, held))
    assert states(project) == {"web": "running", "worker": "running"}


def test_a_paused_container_is_stopped(stage: Stage, compose_project: Make) -> None:
    project = compose_project("web")
    project.containers["web"].pause()
    stage.live(Stop(), system(project), services=["web"], timeout_s=2)
    assert states(project) == {"web": "exited"}


def test_a_restart_policy_does_not_bring_it_back(stage: Stage, compose_project: Make) -> None:
    project = compose_project("web")
    project.containers["web"].update(restart_policy={"Name": "always"})
    stage.live(Stop(), system(project), services=["web"], timeout_s=2)
    time.sleep(1)
    assert states(project) == {"web": "exited"}


@pytest.mark.parametrize("action", [Stop(), Start(), WaitHealthy()], ids=lambda action: action.name)
def test_a_wrong_name_is_refused(stage: Stage, compose_project: Make, action: Any) -> None:
    project = compose_project("web", "worker")
    with pytest.raises(Refused) as raised:
        stage.planned(action, system(project), services=["wroker"])
    assert "There are: web, worker." in str(raised.value)
    assert "did you mean 'worker'?" in str(raised.value)
    with pytest.raises(Refused, match="the Compose project has no containers"):
        stage.planned(action, Project(type="compose", project="no-such-project"), services=["web"])


def test_nothing_to_stop_asks_nobody(stage: Stage) -> None:
    assert stage.live(Stop(), Project(type="compose", project="no-such-project"), services=[]).stopped == ()


def test_a_container_that_is_gone_cannot_be_released(stage: Stage, compose_project: Make) -> None:
    project = compose_project("web", "worker")
    app = system(project)
    held = hold(stage, app, ["web", "worker"])
    project.containers["web"].remove(force=True)
    with pytest.raises(Refused) as raised:
        stage.planned(Start(), app, release(stage, held))
    assert f"docker compose -p {project.name} up -d web" in str(raised.value)


def test_neither_a_hold_nor_services(stage: Stage, compose_project: Make) -> None:
    with pytest.raises(Refused, match="it is not said what to start"):
        stage.planned(Start(), system(compose_project("web")))


def test_a_service_that_ends_at_once_does_not_count_as_started(stage: Stage, compose_project: Make) -> None:
    project = compose_project()
    project.add("job", command=("sh", "-c", "exit 3"))
    job = project.containers["job"]
    job.wait(timeout=60)
    start, wait = stage.planned(Start(), system(project), services=["job"], within="2s")
    stage.perform(start, {}, stage.scope())
    job.wait(timeout=60)
    with pytest.raises(StepFailed) as raised:
        stage.perform(wait, {}, stage.scope())
    assert "expected: state is running; found: exited" in str(raised.value)


def test_a_start_waits_for_the_health_check(stage: Stage, pg_container: PostgresContainer) -> None:
    app = system(pg_container.project)
    stage.live(Stop(), app, services=["postgres"])
    stage.live(Start(), app, services=["postgres"], within="3m")
    pg_container.container.reload()
    assert pg_container.container.attrs["State"]["Health"]["Status"] == "healthy"
    found = stage.live(WaitHealthy(), app, services=["postgres"], within="3m")
    assert found.healthy == ("postgres",)


def test_waiting_is_bounded(stage: Stage, pg_container: PostgresContainer) -> None:
    pg_container.container.stop(timeout=20)
    with pytest.raises(StepFailed) as raised:
        stage.live(WaitHealthy(), system(pg_container.project), services=["postgres"], within="600ms")
    assert "expected: state is running; found: exited" in str(raised.value)


def test_a_service_without_a_health_check_is_not_waited_for(stage: Stage, compose_project: Make) -> None:
    with pytest.raises(CheckFailed, match="a service has no health check"):
        stage.planned(WaitHealthy(), system(compose_project("web")), services=["web"])
