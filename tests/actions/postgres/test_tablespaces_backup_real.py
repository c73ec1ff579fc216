"""Base backups of a real cluster with tablespaces: whole, made once, stopped anywhere, and a flipped bit is found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runbook.actions.backup.prune import Prune
from runbook.actions.backup.verify import Verify
from runbook.actions.postgres.basebackup import Basebackup
from runbook.errors import Refused
from runbook.system import Store
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.archived import Cluster, with_tools
from tests.actions.postgres.life import Life
from tests.actions.postgres.spaced import NAMES, backed_up, spaced


@pytest.fixture
def places(cluster: Cluster) -> Iterator[dict[str, Path]]:
    with spaced(cluster) as found:
        yield found


@pytest.mark.parametrize(("compress", "suffix"), [("auto", ".zst"), ("gzip", ".gz"), ("none", "")])
def test_it_is_a_directory_with_a_tar_each(
    stage: Stage,
    cluster: Cluster,
    places: dict[str, Path],
    backups: Store,
    compress: str,
    suffix: str,
) -> None:
    made = backed_up(stage, cluster, backups, compress=compress)
    manifest, folder = made.manifest, Path(backups.directory) / made.name
    assert manifest is not None
    assert [(one.name, one.location) for one in manifest.tablespaces] == [(name, str(places[name])) for name in NAMES]
    tars = {f"{stem}.tar{suffix}" for stem in ("base", *(one.oid for one in manifest.tablespaces))}
    assert {path.name for path in folder.iterdir()} == tars | {"backup_manifest"}
    assert made.bytes == sum(path.stat().st_size for path in folder.iterdir()) > 10_000
    assert {path.name for path in folder.parent.iterdir()} == {made.name, f"{made.name}.manifest.json"}
    assert stage.planned(Basebackup(), with_tools(cluster), stage.scope("base"), to=backups, compress=compress) == ()
    stage.live(Verify(), backups, stage.scope("prove"), artifact=made)
    for one in manifest.tablespaces:
        path = Path(backups.directory) / one.piece
        kept = path.read_bytes()
        path.write_bytes(kept[:200] + bytes([kept[200] ^ 4]) + kept[201:])
        with pytest.raises(StepFailed, match="not the expected ones"):
            stage.live(Verify(), backups, stage.scope("prove"), artifact=made)
        path.write_bytes(kept)


def test_it_is_pruned_with_its_directory(
    stage: Stage,
    cluster: Cluster,
    places: dict[str, Path],
    backups: Store,
) -> None:
    older = backed_up(stage, cluster, backups)
    newer = stage.live(
        Basebackup(), with_tools(cluster), stage.scope("newer"), to=backups, name="cluster-newer.tar"
    ).artifact
    proven = stage.live(Verify(), backups, stage.scope("prove"), artifact=newer).artifact
    now = replace(stage.scope("prune"), started_at=datetime.now(UTC))
    step = Life(stage, Prune(), backups, now, {"proven": proven, "keep_last": 1, "minimum": 1, "max_delete": 1})
    step.go()
    out = step.end()
    assert out.freed_bytes == older.bytes and len(out.removed) == 1
    left = {path.name for path in Path(backups.directory).iterdir()}
    assert left == {newer.name, f"{newer.name}.manifest.json"}


STEPS = ["began", "copy", "ended", "has_all", "read_base", "read_backup_manifest", "draft", "publish_data"]


@pytest.mark.parametrize("stop_after", STEPS)
def test_stopped_anywhere_it_is_made_whole(
    stage: Stage,
    cluster: Cluster,
    places: dict[str, Path],
    backups: Store,
    stop_after: str,
) -> None:
    scope, db = stage.scope("base"), with_tools(cluster)
    assert stage.live(Basebackup(), db, scope, stop_after=stop_after, to=backups) is None
    made = stage.live(Basebackup(), db, scope, to=backups).artifact
    folder = Path(backups.directory)
    assert {path.name for path in folder.iterdir()} == {made.name, f"{made.name}.manifest.json"}
    stage.live(Verify(), backups, stage.scope("prove"), artifact=made)


def test_a_tablespace_that_is_made_meanwhile_ends_it(
    stage: Stage,
    cluster: Cluster,
    places: dict[str, Path],
    backups: Store,
) -> None:
    scope, db = stage.scope("base"), with_tools(cluster)
    operations = stage.planned(Basebackup(), db, scope, to=backups)
    third = places["fast"].parent / "third"
    third.mkdir(mode=0o700)
    cluster.server.account.give(third)
    cluster.server.sql(f"CREATE TABLESPACE third LOCATION '{third}'")
    with pytest.raises(StepFailed, match="has_all"):
        for operation in operations:
            stage.perform(operation, {}, scope)
    cluster.server.sql("DROP TABLESPACE third")


def test_one_inside_the_data_directory_is_refused(
    stage: Stage,
    cluster: Cluster,
    backups: Store,
) -> None:
    with cluster.server.connect() as connection:
        connection.autocommit = True
        connection.execute("SET allow_in_place_tablespaces = on")
        connection.execute("CREATE TABLESPACE within LOCATION ''")
    with pytest.raises(Refused, match="inside the data directory"):
        backed_up(stage, cluster, backups)
