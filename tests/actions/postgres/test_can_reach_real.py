"""What a recovery would refuse is refused before anything is stopped; what it can reach is told."""

from __future__ import annotations

from datetime import timedelta

import pytest

from runbook.actions.postgres.can_reach import CanReach
from runbook.artifact import Artifact
from runbook.errors import Refused
from tests.actions.harness import Stage
from tests.actions.postgres.archived import Cluster


def test_what_can_be_reached_is_told_and_the_rest_refused(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    target = cluster.commit("1 kept")
    for mode in ("swap", "side"):
        out = stage.live(CanReach(), cluster.db, artifact=base, target=target, mode=mode)
        assert (out.first_segment, out.archived_to) == ("000000010000000000000003", "")
        assert out.earliest.startswith(f"{base.finished_at:%Y-%m-%dT%H:%M:%S}")
    assert base.manifest is not None
    with pytest.raises(Refused, match="before the base backup's end"):
        stage.live(CanReach(), cluster.db, artifact=base, target=base.manifest.finished_at - timedelta(seconds=1))
    with pytest.raises(ValueError, match="exactly one of"):
        stage.live(CanReach(), cluster.db, artifact=base)
    assert cluster.beside() == set()
    assert cluster.notes() == ["0 base", "1 kept"]
