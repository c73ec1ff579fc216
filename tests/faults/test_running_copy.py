"""Fault 22: an archive of the files of a running server. First as the guide has it, then what the program does there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from runbook.actions.backup.adopt import Adopt
from runbook.actions.postgres.basebackup import Basebackup
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.artifact import Artifact
from runbook.errors import Refused
from runbook.system import Store
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.archived import Cluster, with_tools
from tests.actions.postgres.life import Life


def work(cluster: Cluster, mark: str) -> None:
    """What a service does all the time: it writes, and the server takes a checkpoint."""
    cluster.server.sql(f"INSERT INTO notes SELECT '{mark} ' || n FROM generate_series(1, 2000) n")
    cluster.server.sql("CHECKPOINT")


def guides_archive(cluster: Cluster, into: Path) -> None:
    """`tar -czf … -C /source .`: one file after the other, while the server works; a long time lies between two of them."""
    data, tar = cluster.data, into.with_suffix("")
    subprocess.run(["tar", "-cf", tar, "-C", data, "base"], check=True)
    work(cluster, "while tar reads")
    others = [path.name for path in data.iterdir() if path.name not in ("base", "postmaster.pid")]
    subprocess.run(["tar", "-rf", tar, "-C", data, *others], check=True)
    subprocess.run(["gzip", tar], check=True)


def started_from(cluster: Cluster, archive: Path, folder: Path) -> str:
    """Unpack the guide's archive and count its notes, by a server of its own; or what went wrong."""
    folder.mkdir(mode=0o700)
    subprocess.run(["tar", "-xzf", archive, "-C", folder], check=True)
    account = cluster.server.account
    account.give(folder)
    for path in folder.rglob("*"):
        account.give(path)
    argv = [cluster.server.tool("postgres"), "--single", "-D", folder, "-c", "archive_mode=off", "postgres"]
    done = subprocess.run(
        [str(word) for word in argv],
        input=b"SELECT count(*) FROM notes;\n",
        capture_output=True,
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        cwd="/",
        timeout=60,
        check=False,
    )
    return (done.stdout + done.stderr).decode(errors="replace")


def test_fault_22_the_files_of_a_running_server_are_no_backup(
    stage: Stage,
    cluster: Cluster,
    backups: Store,
) -> None:
    work(cluster, "before")
    archive = Path(backups.directory) / "postgres-data-20260214.tar.gz"
    guides_archive(cluster, archive)
    said = started_from(cluster, archive, cluster.data.parent / "guide")
    assert 'count = "4000"' not in said, "half of what was committed before the archive was complete is not in it"
    shutil.rmtree(cluster.data.parent / "guide")

    adopting = Life(stage, Adopt(), backups, stage.scope("adopt"), {"name": archive.name, "database": "postgres"})
    with pytest.raises(StepFailed):
        adopting.go()
    foreign = Artifact.model_validate(
        {
            "store": "backups",
            "url": f"{backups.url}/{archive.name}",
            "name": archive.name,
            "format": "base_backup",
            "bytes": archive.stat().st_size,
            "finished_at": "2026-02-14T12:00:00Z",
        }
    )
    given = {"artifact": foreign, "latest": True}
    with pytest.raises(Refused):
        Life(stage, RestoreToTime(), cluster.db, stage.scope("recover"), given).plan()

    made = stage.live(Basebackup(), with_tools(cluster), stage.scope("base"), to=backups).artifact
    work(cluster, "after")
    given = {"artifact": made, "latest": True}
    life = Life(stage, RestoreToTime(), cluster.db, stage.scope("recover"), given)
    life.go()
    life.end()
    assert len(cluster.notes()) == 6000
