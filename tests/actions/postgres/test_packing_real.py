"""How base backups are packed, on a real cluster: recovered from each, cut ones found, refused where they could not be unpacked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runbook.actions.postgres.basebackup import Basebackup
from runbook.actions.postgres.packing import Packing, ended, told
from runbook.artifact import Artifact
from runbook.errors import Refused
from runbook.operation import Operation
from runbook.system import Store
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.archived import Cluster, life, recovered_before_an_accident, with_tools

PACKINGS = [
    pytest.param("auto", id="auto"),
    pytest.param("zstd", id="zstd"),
    pytest.param("gzip", id="gzip"),
    pytest.param("none", id="none"),
]


def taken(stage: Stage, cluster: Cluster, backups: Store, compress: str) -> Artifact:
    cluster.commit("0 base")
    made = stage.live(Basebackup(), with_tools(cluster), stage.scope("base"), to=backups, compress=compress).artifact
    assert isinstance(made, Artifact)
    return made


@pytest.mark.parametrize("compress", PACKINGS)
def test_a_cluster_comes_back_out_of_every_packing(
    stage: Stage, cluster: Cluster, backups: Store, compress: str
) -> None:
    base = taken(stage, cluster, backups, compress)
    assert told(base.name) is (Packing.ZSTD if compress == "auto" else Packing(compress))
    recovered_before_an_accident(stage, cluster, base)


@pytest.mark.parametrize("compress", PACKINGS[1:])
def test_an_archive_without_its_end_is_found(stage: Stage, cluster: Cluster, backups: Store, compress: str) -> None:
    base = taken(stage, cluster, backups, compress)
    path = Path(backups.directory, base.name)
    whole = path.read_bytes()
    look = ended("look_at_end", told(base.name), str(path))
    perform(stage, look)
    for lost in (len(whole) // 2, 20_000, 5000):
        path.write_bytes(whole[:-lost])
        with pytest.raises(StepFailed):
            perform(stage, look)


def perform(stage: Stage, operation: Operation) -> None:
    stage.perform(operation, {}, stage.scope("look"))


def test_what_cant_be_unpacked_here_is_refused(
    stage: Stage, cluster: Cluster, backups: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = taken(stage, cluster, backups, "zstd")
    target = cluster.commit("1 kept")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "stat", "ls", "df", "readlink", "gzip", "tar", "grep", "cat", "head", "env"):
        if found := shutil.which(name):
            (programs / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(Refused) as refused:
        life(stage, cluster, base, target).go()
    assert [problem.code for problem in refused.value.problems] == ["E636"]
    with pytest.raises(Refused) as refused:
        stage.live(
            Basebackup(), with_tools(cluster), stage.scope("again"), to=backups, compress="zstd", name="again.tar"
        )
    assert [problem.code for problem in refused.value.problems] == ["E617"]
    made = stage.live(Basebackup(), with_tools(cluster), stage.scope("other"), to=backups, name="other.tar").artifact
    assert made.name == "other.tar.gz"
