"""The faults of the guides' recovery to a moment, 16 to 18: each first as the guide has it, then what the program does there."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runbook.actions.backup.select import Select
from runbook.actions.postgres.basebackup import Basebackup
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.artifact import Artifact
from runbook.errors import Refused
from runbook.host import Docker
from runbook.operation import Write
from runbook.paste import paste
from runbook.system import Store
from tests.actions.harness import Stage
from tests.actions.postgres.archived import Cluster, with_tools
from tests.actions.postgres.life import Life

GUIDES_TARGET = "2026-02-14 12:00:00"


def disaster(cluster: Cluster) -> datetime:
    """Work that has to stay, a moment, and the disaster."""
    cluster.commit("1 kept")
    moment = cluster.commit("2 kept")
    cluster.server.sql("DELETE FROM notes")
    time.sleep(0.05)
    return moment


def guides_base(cluster: Cluster, folder: Path) -> None:
    """The guide's command, as the server's account."""
    server = cluster.server
    command: list[str | Path] = [
        server.tool("pg_basebackup"),
        "-U",
        server.user,
        "-h",
        server.socket_dir,
        "-p",
        str(server.port),
    ]
    server.account.run([*command, "-D", folder, "-Fp", "-Xs"])


def started(cluster: Cluster, folder: Path, *settings: str) -> str:
    """Start a server there by hand, as the guide has it; what it says until it ends, or for a minute."""
    words = [word for setting in (*settings, "listen_addresses=", "archive_mode=off") for word in ("-c", setting)]
    sockets = ("-c", f"unix_socket_directories={folder}", "-c", "logging_collector=off")
    argv: list[str | Path] = [cluster.server.tool("postgres"), "-D", folder, *words, *sockets]
    process = cluster.server.account.start(argv, output=subprocess.PIPE)
    try:
        return process.communicate(timeout=60)[0].decode()
    except subprocess.TimeoutExpired:
        process.terminate()
        return process.communicate(timeout=60)[0].decode()


def recovery(stage: Stage, cluster: Cluster, artifact: Artifact, target: object) -> Life:
    given = {"artifact": artifact, "target": target}
    return Life(stage, RestoreToTime(), cluster.db, stage.scope("recover"), given)


def test_fault_16_a_base_backup_that_is_taken_after_the_disaster_holds_it(
    stage: Stage,
    cluster: Cluster,
    base: Artifact,
    backups: Store,
) -> None:
    moment = disaster(cluster)
    folder = cluster.data.parent / "guide"
    guides_base(cluster, folder)
    (folder / "recovery.signal").touch()
    cluster.server.account.give(folder / "recovery.signal")
    restore = f"restore_command=cp {cluster.archive}/%f %p"
    said = started(cluster, folder, restore, f"recovery_target_time={moment.isoformat(sep=' ')}")
    assert "recovery ended before configured recovery target was reached" in said
    shutil.rmtree(folder)

    late = stage.live(
        Basebackup(), with_tools(cluster), stage.scope("late"), to=backups, name="cluster-late.tar"
    ).artifact
    with pytest.raises(Refused, match="the target is before the base backup's end"):
        recovery(stage, cluster, late, moment).plan()
    since = replace(stage.scope("pick"), started_at=datetime.now(UTC))
    chosen = stage.live(Select(), backups, since, pattern="cluster-*", before=moment).artifact
    assert chosen.name == base.name, "the plan's first step chooses the one before the moment"
    life = recovery(stage, cluster, chosen, moment)
    life.go()
    life.end()
    assert cluster.notes() == ["0 base", "1 kept", "2 kept"]


def test_fault_17_recovery_conf_is_not_supported_and_settings_outlast_the_recovery(
    stage: Stage,
    cluster: Cluster,
    backups: Store,
) -> None:
    conf = f"restore_command = 'cp {cluster.archive}/%f %p'\nrecovery_target_time = '{GUIDES_TARGET}'\n"
    lies = cluster.data / "recovery.conf"
    lies.write_text(conf)
    cluster.server.account.give(lies)
    folder = cluster.data.parent / "guide"
    guides_base(cluster, folder)
    assert 'using recovery command file "recovery.conf" is not supported' in started(cluster, folder)
    shutil.rmtree(folder)

    cluster.server.sql(f"ALTER SYSTEM SET recovery_target_time = '{GUIDES_TARGET}'")
    made = stage.live(Basebackup(), with_tools(cluster), stage.scope("base"), to=backups).artifact
    moment = disaster(cluster)
    with pytest.raises(ValueError, match="timezone"):
        recovery(stage, cluster, made, GUIDES_TARGET).plan()
    life = recovery(stage, cluster, made, moment)
    life.go()
    life.end()
    assert cluster.notes() == ["1 kept", "2 kept"]
    left = {name for name in ("recovery.conf", "recovery.signal", "standby.signal") if (cluster.data / name).exists()}
    assert left == set()
    assert "restore_command" not in (cluster.data / "postgresql.auto.conf").read_text()
    assert cluster.server.sql("SELECT current_setting('restore_command'), pg_is_in_recovery()") == [("", False)]


def test_fault_18_a_cluster_inside_the_data_directory_and_a_file_beside_nobody(
    stage: Stage,
    cluster: Cluster,
    base: Artifact,
    tmp_path: Path,
) -> None:
    guides_base(cluster, cluster.data / "restore")
    assert (cluster.data / "restore" / "PG_VERSION").exists(), "a cluster in the cluster, which no server uses"
    subprocess.run(["sh", "-c", "echo \"restore_command = 'false'\" > recovery.conf"], cwd=tmp_path, check=True)
    assert (tmp_path / "recovery.conf").exists(), "in whatever directory the operator stands"
    shutil.rmtree(cluster.data / "restore")

    moment = disaster(cluster)
    life = recovery(stage, cluster, base, moment)
    life.go()
    out = life.end()
    assert cluster.notes() == ["0 base", "1 kept", "2 kept"], "it is the server's own directory that was recovered"
    assert out.data_directory == str(cluster.data)
    assert list(cluster.data.glob("*/PG_VERSION")) == [], "nothing is nested"
    assert Path(out.kept_as).parent == cluster.data.parent

    inside = cluster.db.model_copy(
        update={"host": Docker("civicq-postgres"), "data_directory": "/var/lib/postgresql/data"}
    )
    life = Life(
        stage, RestoreToTime(), inside, stage.scope("there"), {"artifact": base, "target": moment + timedelta(1)}
    )
    facts = life.action.assume(inside, life.inputs, life.scope)
    (signal,) = (one for one in life.action.plan(inside, life.inputs, facts, life.scope) if one.name == "signal")
    assert isinstance(signal, Write) and signal.host == Docker("civicq-postgres")
    assert "on docker:civicq-postgres" in paste(signal), "the file is written where the server reads it"
