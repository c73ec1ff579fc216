"""A recovery beside a cluster whose settings were raised since its base backup: a server with less pauses before the target."""

from __future__ import annotations

import pytest

from runbook.artifact import Artifact
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.archived import Cluster, life, recovered_before_an_accident

RAISED = {"max_connections": 90, "max_worker_processes": 12, "max_wal_senders": 15, "max_prepared_transactions": 3}


def configured(cluster: Cluster, **settings: int) -> None:
    """Settings that count from a restart on; the files that the base backup has say something else."""
    for name, value in settings.items():
        cluster.server.sql(f"ALTER SYSTEM SET {name} = {value}")
    cluster.server.restart()


def test_settings_that_were_raised_since_the_base_backup(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    configured(cluster, **RAISED, max_locks_per_transaction=100)
    recovered_before_an_accident(stage, cluster, base)


def test_a_setting_that_was_higher_for_a_while_is_found_by_the_next_attempt(
    stage: Stage, cluster: Cluster, base: Artifact
) -> None:
    lower = int(str(cluster.server.sql("SHOW max_connections")[0][0]))
    configured(cluster, max_connections=lower + 40)
    cluster.commit("1 kept")
    configured(cluster, max_connections=lower)
    target = cluster.commit("2 kept")
    cluster.commit("3 accident")
    step = life(stage, cluster, base, target)
    with pytest.raises(StepFailed, match=f"max_connections = {lower} is a lower setting"):
        step.go()
    assert step.go()[:2] == ["make_run", "access"], "the side server is started anew"
    step.end()
    assert cluster.notes() == ["0 base", "1 kept", "2 kept"]
