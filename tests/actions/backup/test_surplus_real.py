"""The WAL that goes with a base backup, on a real cluster: what stays leads from every base backup that stays to the end."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runbook.actions.backup.prune import Prune
from runbook.actions.backup.verify import Verify
from runbook.actions.postgres.basebackup import Basebackup
from runbook.artifact import Artifact
from runbook.errors import Refused
from runbook.system import Store
from tests.actions.harness import Stage
from tests.actions.postgres.archived import Cluster, life, with_tools
from tests.actions.postgres.life import Life


def bases(stage: Stage, cluster: Cluster, backups: Store, count: int) -> list[Artifact]:
    """So many base backups, oldest first, with segments between them; the archive has all of these."""
    found = []
    for number in range(count):
        cluster.commit(f"{number} base")
        made = stage.live(
            Basebackup(), with_tools(cluster), stage.scope(f"base{number}"), to=backups, name=f"{number}.tar"
        )
        found.append(made.artifact)
        for _ in range(2):
            cluster.server.sql("SELECT pg_current_xact_id()")
            cluster.server.sql("SELECT pg_switch_wal()")
        cluster.server.sql("CHECKPOINT")
    cluster.archived()
    return found


def pruning(stage: Stage, cluster: Cluster, backups: Store, proven: Artifact, **more: object) -> Life:
    shown = stage.live(Verify(), backups, stage.scope("prove"), artifact=proven).artifact
    stage.systems = {**stage.systems, "db": with_tools(cluster)}
    written = {"proven": shown, "keep_last": 1, "minimum": 1, "max_delete": 1, "wal_of": with_tools(cluster), **more}
    scope = replace(stage.scope("prune"), started_at=datetime.now(UTC))
    return Life(stage, Prune(), backups, scope, written)


def segments(cluster: Cluster) -> list[str]:
    return sorted(path.name for path in cluster.archive.iterdir() if len(path.name) == 24)


def still(cluster: Cluster, before: list[str]) -> list[str]:
    """Those of before that are there; the server may archive another one at any time."""
    return [name for name in before if (cluster.archive / name).exists()]


def test_wal_goes_up_to_the_oldest_that_stays(stage: Stage, cluster: Cluster, backups: Store) -> None:
    made = bases(stage, cluster, backups, 3)
    (cluster.archive / "00000002.history").write_text("1\t0/3000000\tkept\n")
    before = segments(cluster)
    step = pruning(stage, cluster, backups, made[-1], keep_last=2)
    assert step.plan()[-1].name == "remove_wal"
    names = [one.name for one in step.plan()]
    step.go(stop_after=names.index("empty_trash") + 1)
    assert still(cluster, before) == before
    step.go()
    out = step.end()
    left = still(cluster, before)
    assert left == [name for name in before if name >= out.wal_before]
    assert (out.wal_files, out.wal_bytes) == (len(before) - len(left), (len(before) - len(left)) << 24)
    assert out.wal_files > 0
    assert (cluster.archive / "00000002.history").exists()
    (cluster.archive / "00000002.history").unlink()
    assert [line.partition(" ")[0] for line in out.removed] == [made[0].name]

    target = cluster.commit("3 kept")
    cluster.commit("4 accident")
    recovery = life(stage, cluster, made[1], target)
    recovery.go()
    recovery.end()
    assert cluster.notes() == ["0 base", "1 base", "2 base", "3 kept"]


def test_wal_of_a_base_that_a_person_keeps_stays(stage: Stage, cluster: Cluster, backups: Store) -> None:
    made = bases(stage, cluster, backups, 2)
    Path(backups.directory, f"{made[0].name}.keep").touch()
    before = segments(cluster)
    step = pruning(stage, cluster, backups, made[1])
    step.go()
    out = step.end()
    assert (out.removed, out.wal_files) == ((), len(before) - len(still(cluster, before)))
    manifest = made[0].manifest
    assert manifest is not None
    assert (
        segments(cluster)[0]
        <= f"{manifest.timeline:08X}" + "0" * 8 + f"{int(str(manifest.wal_start).split('/')[1], 16) >> 24:08X}"
    )


def test_a_segment_that_is_being_archived_is_no_obstacle(stage: Stage, cluster: Cluster, backups: Store) -> None:
    made = bases(stage, cluster, backups, 2)
    coming = cluster.archive / f"{int(segments(cluster)[-1], 16) + 1:024X}"
    coming.write_bytes((cluster.archive / segments(cluster)[-1]).read_bytes()[: 1 << 20])
    os.utime(coming, (time.time() + 3600,) * 2)
    step = pruning(stage, cluster, backups, made[1])
    step.go()
    assert step.end().wal_files > 0
    assert coming.exists()


@pytest.mark.parametrize("spoilt", ["size", "cluster", "manifest"])
def test_where_it_is_unclear_nothing_is_cut(stage: Stage, cluster: Cluster, backups: Store, spoilt: str) -> None:
    made = bases(stage, cluster, backups, 2)
    step = pruning(stage, cluster, backups, made[1])
    first, last = (cluster.archive / segments(cluster)[end] for end in (0, -1))
    if spoilt == "size":
        first.write_bytes(first.read_bytes()[:-1])
        os.utime(first, (0, 0))  # what was written last may be on its way
    elif spoilt == "cluster":
        body = bytearray(last.read_bytes())
        body[24] ^= 1
        last.write_bytes(body)
    else:
        Path(backups.directory, f"{made[0].name}.manifest.json").write_text("{")
    before = segments(cluster)
    with pytest.raises(Refused) as refused:
        step.plan()
    assert [one.code for one in refused.value.problems] == ["E619"]
    assert still(cluster, before) == before
    assert Path(backups.directory, made[0].name).exists()
