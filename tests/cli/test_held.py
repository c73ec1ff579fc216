"""What a run holds when it stops, and how it is given back when nobody goes on with it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runbook.operation import Json
from tests.cli.terminal import Terminal
from tests.cli.written import plan, shell
from tests.fixtures.containers import ComposeProject

STOPPED = {"web": "exited", "worker": "exited", "beat": "exited"}
AS_BEFORE = {"web": "running", "worker": "running", "beat": "exited"}


def holding(tmp_path: Path, *, stop: str = "touch {}/stopped") -> str:
    """A plan that stops something, fails, and would start it again."""
    release = shell("start", f"rm {tmp_path}/stopped") | {"releases": "stop"}
    return plan(tmp_path, shell("stop", stop.format(tmp_path)), shell("work", "exit 1"), release)


def test_an_abandoned_run_gives_the_commands_of_its_release(runbook: Terminal, tmp_path: Path) -> None:
    failed = runbook("apply", holding(tmp_path))
    assert "⚑ stop still holds: Run stop; start releases it" in failed.out
    assert "by hand" not in failed.out, "a resume does it"
    assert runbook("show", "--json").json["held"] == [
        {"step": "stop", "title": "Run stop", "release": "start", "stopped": [], "where": None, "commands": []}
    ]
    told = runbook("abandon", "last", "--reason", "done by hand")
    command = f"sh -c 'rm {tmp_path}/stopped'"
    for page in (told, runbook("show")):
        lines = page.out.splitlines()
        assert "⚑ stop still holds: Run stop; nothing will release it: the run is over" in lines
        assert lines[lines.index("    by hand, once you are sure of what stands behind it:") + 1].strip() == command
    assert [hold["commands"] for hold in held(runbook)] == [[command]]


COMPOSE = """\
runbook: 1
name: hold
title: A hold
systems: {{app: compose}}
environment: {{environment: test, systems: {{app: {{type: compose, project: {project}}}}}}}
steps:
  - {{id: stop_writers, title: Stop, uses: compose.stop, on: app, with: {{services: [web, worker, beat], timeout_s: 2}}}}
  - {{id: restore, title: Restore, uses: shell.run, with: {{argv: ["false"]}}}}
  - {{id: start_writers, title: Start, uses: compose.start, on: app, releases: stop_writers}}
"""


def test_a_hold_that_was_never_taken_holds_nothing(
    runbook: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    path = tmp_path / "plan.yaml"
    path.write_text(COMPOSE.format(project="nothing_here"))
    failed = runbook("apply", str(path))
    assert failed.code == 1
    assert "✗ 1/3 Stop" in failed.out
    assert "still holds" not in failed.out + runbook("abandon", "last", "--reason", "x").out
    assert runbook("show", "--json").json["held"] == []


@pytest.mark.docker
def test_services_that_an_abandoned_run_left_stopped_are_started_by_what_it_says(
    runbook: Terminal, tmp_path: Path, compose_project: Callable[..., ComposeProject]
) -> None:
    project = compose_project("web", "worker", "beat")
    project.containers["beat"].stop(timeout=1)
    path = tmp_path / "plan.yaml"
    path.write_text(COMPOSE.format(project=project.name))
    failed = runbook("apply", str(path))
    assert failed.code == 1, failed.err
    assert f"    stopped: web, worker (Compose project {project.name}, this machine)" in failed.out.splitlines()
    assert states(project) == STOPPED
    told = runbook("abandon", "last", "--reason", "by hand")
    assert f"    stopped: web, worker (Compose project {project.name}, this machine)" in told.out.splitlines()
    commands = [line.strip() for line in told.out.splitlines() if line.strip().startswith("docker ")]
    assert commands == [f"docker start {project.containers[service].name}" for service in ("web", "worker")]
    assert [(hold["stopped"], hold["commands"]) for hold in held(runbook)] == [(["web", "worker"], commands)]
    subprocess.run(["sh", "-ec", "\n".join(commands)], check=True, capture_output=True, timeout=300)
    assert states(project) == AS_BEFORE


def held(runbook: Terminal) -> list[dict[str, Json]]:
    """What the last run holds, as programs are told."""
    found = runbook("show", "--json").json["held"]
    assert isinstance(found, list)
    return [hold for hold in found if isinstance(hold, dict)]


def states(project: ComposeProject) -> dict[str, str]:
    """The state of each service's container."""
    for container in project.containers.values():
        container.reload()
    return {service: container.status for service, container in project.containers.items()}
