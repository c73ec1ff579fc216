"""A side copy in a plan, by the program: asked, dropped in `finally` after success and after a failure, killed and resumed."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest

from runbook.artifact import Artifact
from tests.actions.postgres.archived import Cluster
from tests.evidence.kills import near, over, under_way
from tests.evidence.program import Program, Ran
from tests.evidence.witness import until

PLAN = """\
runbook: 1
name: look-back
inputs:
  target: {type: datetime}
  least: {type: integer}
systems: {db: postgres, bases: store}
steps:
  - {id: pick, uses: backup.select, on: bases, with: {pattern: "cluster-*", before: "{{ inputs.target }}"}, timeout: 1m}
  - id: recover
    uses: postgres.restore_to_time
    on: db
    with:
      artifact: "{{ steps.pick.artifact }}"
      target: "{{ inputs.target }}"
      mode: side
      checks: [{query: SELECT count(*) FROM notes, at_least: "{{ inputs.least }}"}]
    timeout: 10m
finally:
  - {id: drop, uses: postgres.drop_side, on: db, with: {step: recover}, timeout: 5m}
"""


@pytest.fixture
def program(cluster: Cluster, base: Artifact, tmp_path: Path) -> Program:
    server = cluster.server
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "environment.yaml").write_text(
        "environment: here\nsystems:\n"
        f"  db: {{type: postgres, address: 127.0.0.1, port: {server.port}, user: {server.user}, database: postgres, "
        f'password: {{env: DB_PASSWORD}}, archive: "file://{cluster.archive}"}}\n'
        f'  bases: {{type: store, url: "file://{tmp_path}/backups"}}\n'
    )
    return Program(tmp_path, {"DB_PASSWORD": server.password, "NO_COLOR": "1"})


def arguments(target: datetime, least: int) -> tuple[str, ...]:
    given = ("-i", f"target={target.isoformat()}", "-i", f"least={least}")
    return ("apply", "plan.yaml", "--env", "environment.yaml", "--yes", *given)


def damaged(cluster: Cluster) -> datetime:
    moment = cluster.commit("1 kept")
    cluster.commit("2 accident")
    return moment


def steps(program: Program) -> dict[str, str]:
    """How each step ended."""
    ends = ("step.succeeded", "step.failed", "step.unknown")
    return {event["step"]: event["event"] for event in program.events() if event["event"] in ends}


def test_it_is_dropped_after_success_and_after_a_failure(program: Program, cluster: Cluster) -> None:
    target = damaged(cluster)
    held: Ran = program.run(*arguments(target, 2))
    assert held.code == 0, held.said
    out = program.outputs("recover")
    assert out["address"] and out["port"] == cluster.server.port
    assert cluster.beside() == set()
    failed = program.run(*arguments(target, 3))
    assert failed.code == 1, failed.said
    assert "found: 2" in failed.said
    assert steps(program)["recover"] == "step.failed"
    assert steps(program)["drop"] == "step.succeeded"
    assert cluster.beside() == set()
    assert cluster.notes() == ["0 base", "1 kept", "2 accident"]


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["extract", "start_side", "recovered", "promote"])
def test_killed_and_resumed_it_is_dropped(program: Program, cluster: Cluster, operation: str) -> None:
    engine = program.start(*arguments(damaged(cluster), 2))
    until(lambda: under_way(program, operation) or engine.poll() is not None, 300, f"{operation} begins")
    engine.kill()
    engine.wait(60)

    def none_is_left() -> bool:
        found = list(near(program.directory()))
        for pid in found:  # one may have been begun while the others were listed
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not found

    until(none_is_left, 60, "all are killed, and gone")
    if not over(program):
        resumed = program.run("resume", program.last, "--yes")
        assert resumed.code == 0, resumed.said
    assert steps(program) == dict.fromkeys(("pick", "recover", "drop"), "step.succeeded")
    assert cluster.beside() == set()
    assert cluster.notes() == ["0 base", "1 kept", "2 accident"]
