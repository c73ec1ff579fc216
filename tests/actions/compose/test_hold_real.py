"""A hold over a failing step, in whole runs: what was stopped stays stopped until what is inside has succeeded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runbook.errors import ExitCode
from runbook.runner.preview import Sight
from tests.actions.in_a_run import Rehearsal
from tests.fixtures.containers import ComposeProject

pytestmark = pytest.mark.docker

PLAN = """\
runbook: 1
name: hold
systems: {{app: compose}}
environment: {{environment: test, systems: {{app: {{type: compose, project: {project}}}}}}}
steps:
  - id: stop_writers
    title: Stop
    uses: compose.stop
    on: app
    with: {{services: [web, worker, beat], timeout_s: 2}}
    timeout: 5m
  - id: restore
    title: Restore
    uses: shell.run
    with: {{argv: [test, -e, {mended}]}}
    timeout: 5m
  - id: start_writers
    title: Start
    uses: compose.start
    on: app
    releases: stop_writers
    timeout: 5m
"""
DOWN = {"web": "exited", "worker": "exited", "beat": "exited"}
AS_BEFORE = {"web": "running", "worker": "running", "beat": "exited"}


@pytest.fixture
def project(compose_project: Callable[..., ComposeProject]) -> ComposeProject:
    """Three services, of which one does not run."""
    made = compose_project("web", "worker", "beat")
    made.containers["beat"].stop(timeout=1)
    return made


@pytest.fixture
def run(project: ComposeProject, tmp_path: Path) -> Rehearsal:
    """A run that stops the services, fails while the file ``mended`` is missing, and starts them again."""
    mended = json.dumps(str(tmp_path / "mended"))
    return Rehearsal(PLAN.format(project=project.name, mended=mended), tmp_path / "state")


def states(project: ComposeProject) -> dict[str, str]:
    """The state of each service's container."""
    for container in project.containers.values():
        container.reload()
    return {service: container.status for service, container in project.containers.items()}


def test_what_ran_runs_again_after_a_success(project: ComposeProject, run: Rehearsal, tmp_path: Path) -> None:
    (tmp_path / "mended").touch()
    assert run.apply() is ExitCode.DONE
    assert states(project) == AS_BEFORE
    assert run.outputs("stop_writers") == {"stopped": ["web", "worker"]}
    assert run.outputs("start_writers") == {"started": ["web", "worker"]}


def test_what_a_dry_run_shows_is_what_runs(project: ComposeProject, run: Rehearsal, tmp_path: Path) -> None:
    (tmp_path / "mended").touch()
    shown = run.preview(Sight.LOOK)
    assert states(project) == AS_BEFORE
    assert [len(shown[step]) for step in ("stop_writers", "restore", "start_writers")] == [2, 1, 4]
    assert run.apply() is ExitCode.DONE
    assert {step: rounds[0] for step, rounds in run.digests.items()} == shown


def test_offline_the_services_stand_for_their_containers(run: Rehearsal) -> None:
    shown = run.preview(Sight.OFFLINE)
    assert [len(shown[step]) for step in ("stop_writers", "restore", "start_writers")] == [3, 1, 6]


def test_services_stay_stopped_after_a_failure(project: ComposeProject, run: Rehearsal, tmp_path: Path) -> None:
    assert run.apply() is ExitCode.FAILED
    assert states(project) == DOWN
    (tmp_path / "mended").touch()
    assert run.resume() is ExitCode.DONE
    assert states(project) == AS_BEFORE


def test_a_lost_hold_is_taken_again_with_its_first_baseline(
    project: ComposeProject, run: Rehearsal, tmp_path: Path
) -> None:
    assert run.apply() is ExitCode.FAILED
    project.containers["beat"].start()  # somebody meant well
    project.containers["web"].start()
    (tmp_path / "mended").touch()
    assert run.resume() is ExitCode.DONE
    assert run.planned["stop_writers"][-1] == ["stop_web_1", "stop_beat_1"]
    assert states(project) == AS_BEFORE
