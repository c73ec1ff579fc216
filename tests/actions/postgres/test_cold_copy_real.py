"""Stop, copy, start on a real cluster: the copy is the original, a running server is refused, and kills leave nothing half."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runbook.actions.backup.verify import Verify
from runbook.actions.postgres.cold_copy import ColdCopy
from runbook.actions.postgres.start import Start
from runbook.actions.postgres.stop import Stop
from runbook.artifact import Artifact, Format, Proof
from runbook.errors import Refused
from runbook.runner.step import pinned_as
from runbook.system import Postgres, Store
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.broken import ROWS, Cluster, shop
from tests.actions.postgres.life import Life
from tests.fixtures.account import Account, server_folder
from tests.fixtures.postgres import PostgresServer, make_cluster


@pytest.fixture
def cluster(postgres_cluster: Callable[..., PostgresServer], tmp_path: Path) -> Iterator[Cluster]:
    with shop(postgres_cluster(), tmp_path) as found:
        yield found


def copied(stage: Stage, cluster: Cluster, backups: Store) -> Artifact:
    made = stage.live(
        ColdCopy(), cluster.db, stage.scope("keep"), to=backups, data_directory=str(cluster.data)
    ).artifact
    assert isinstance(made, Artifact)
    return made


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_stopped_copied_started(stage: Stage, cluster: Cluster, backups: Store) -> None:
    stop = Life(stage, Stop(), cluster.db, stage.scope("stop"), {})
    assert stop.go() == ["remember", "stop_server"]
    out = stop.end()
    assert (out.ran, out.data_directory, cluster.running) == (True, str(cluster.data), 0)
    assert out.bytes > 10_000_000

    before = tree(cluster.data)
    made = copied(stage, cluster, backups)
    assert tree(cluster.data) == before, "the original is only read"
    copy = Path(backups.directory) / made.name
    assert tree(copy) == before
    assert (made.format, made.manifest is not None) == (Format.COLD_COPY, True)
    assert made.manifest and made.manifest.system_identifier == out.system_identifier
    assert made.manifest.server_version == 150000
    assert out.bytes * 0.9 < made.bytes < out.bytes * 1.1

    start = Life(stage, Start(), cluster.db, stage.scope("start"), {})
    start.scope = replace(start.scope, held=stop.pinned)
    assert start.go() == ["start_server", "answers"]
    assert start.end().was_down
    assert cluster.server.sql("SELECT count(*) FROM users") == [(ROWS,)]

    proven = stage.live(Verify(), backups, stage.scope("prove"), artifact=made).artifact
    assert proven.proof is Proof.HASHED


def test_the_copy_is_a_cluster(
    stage: Stage, cluster: Cluster, backups: Store, postgres_account: Account, postgres_bin: Path
) -> None:
    """What is kept can be looked into: a server starts on a copy of the copy."""
    cluster.stop()
    made = copied(stage, cluster, backups)
    with server_folder(postgres_account, "look") as folder:
        shutil.copytree(Path(backups.directory) / made.name, folder / "data", copy_function=shutil.copy2)
        (folder / "data").chmod(0o700)
        if not postgres_account.own:
            subprocess.run(["chown", "-R", f"{postgres_account.uid}:{postgres_account.gid}", folder], check=True)
        other = PostgresServer(
            postgres_bin, folder / "data", folder, cluster.server.port, postgres_account, folder / "log"
        )
        with (folder / "data" / "postgresql.conf").open("a") as conf:
            conf.write(f"unix_socket_directories = '{folder}'\n")
        other.start()
        try:
            assert other.sql("SELECT count(*) FROM users") == [(ROWS,)]
        finally:
            other.stop()


def test_a_running_server_is_refused(stage: Stage, cluster: Cluster, backups: Store) -> None:
    with pytest.raises(Refused) as refused:
        copied(stage, cluster, backups)
    assert [one.code for one in refused.value.problems] == ["E687"]
    assert not list(Path(backups.directory).iterdir())
    cluster.stop(signal.SIGKILL)  # its lock file stays: nobody runs there
    assert (cluster.data / "postmaster.pid").exists()
    copied(stage, cluster, backups)


def test_a_store_without_room_or_without_a_place(stage: Stage, cluster: Cluster, tmp_path: Path) -> None:
    cluster.stop()
    nowhere = Store(type="store", url=f"file://{tmp_path}/nowhere", key="nowhere")
    with pytest.raises(Refused) as refused:
        stage.planned(ColdCopy(), cluster.db, to=nowhere, data_directory=str(cluster.data))
    assert refused.value.problems[0].code == "E632"
    with pytest.raises(Refused) as refused:
        stage.planned(ColdCopy(), cluster.db, to=nowhere, data_directory=str(tmp_path))
    assert refused.value.problems[0].code == "E688"


STEPS = (
    "began",
    "copy",
    "sums",
    "compare",
    "sync",
    "identifier",
    "version",
    "ended",
    "draft",
    "publish_data",
    "publish_sums",
)


@pytest.mark.parametrize("number", range(1, len(STEPS) + 1), ids=STEPS)
def test_cut_off_anywhere_and_resumed(stage: Stage, stopped_cluster: Cluster, tmp_path: Path, number: int) -> None:
    cluster = stopped_cluster
    (tmp_path / "store").mkdir(mode=0o700)
    store = Store(type="store", url=f"file://{tmp_path}/store", key="store")
    before = tree(cluster.data)
    life = Life(stage, ColdCopy(), cluster.db, stage.scope("keep"), {"to": store, "data_directory": str(cluster.data)})
    life.go(stop_after=number)
    if number == STEPS.index("copy") + 1:  # cut off in the middle of it
        (partial,) = (tmp_path / "store").iterdir()
        (partial / "PG_VERSION").unlink()
    life.go()
    made = life.end().artifact
    assert tree(tmp_path / "store" / made.name) == before
    assert {path.name for path in (tmp_path / "store").iterdir()} == {
        made.name,
        f"{made.name}.sha256",
        f"{made.name}.manifest.json",
    }
    assert stage.live(Verify(), store, stage.scope("prove"), artifact=made).artifact.proof is Proof.HASHED


@pytest.fixture(scope="module")
def stopped_cluster(
    postgres_bin: Path, postgres_account: Account, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    with server_folder(postgres_account, "cold") as folder:
        server = make_cluster(folder, bin_dir=postgres_bin, account=postgres_account, settings={})
        with shop(server, tmp_path_factory.mktemp("secret")) as found:
            found.stop()
            yield found


def test_a_file_that_changed_meanwhile_is_found(stage: Stage, cluster: Cluster, backups: Store) -> None:
    cluster.stop()
    life = Life(
        stage, ColdCopy(), cluster.db, stage.scope("keep"), {"to": backups, "data_directory": str(cluster.data)}
    )
    life.go(stop_after=3)
    with (cluster.data / "postgresql.conf").open("a") as conf:
        conf.write("# somebody was here\n")
    operations = life.action.plan(cluster.db, life.inputs, pinned_as(life.observe(), life.pinned), stage.scope("keep"))
    compare = next(one for one in operations if one.name == "compare")
    with pytest.raises(StepFailed, match=r"postgresql\.conf"):
        stage.perform(compare, life.results, stage.scope("keep"))


def test_a_changed_byte_in_the_copy_is_found(stage: Stage, cluster: Cluster, backups: Store) -> None:
    cluster.stop()
    made = copied(stage, cluster, backups)
    control = Path(backups.directory) / made.name / "global" / "pg_control"
    content = bytearray(control.read_bytes())
    content[100] ^= 1
    control.write_bytes(content)
    with pytest.raises(StepFailed, match=r"E303[^$]*FAILED"):
        stage.live(Verify(), backups, stage.scope("prove"), artifact=made)


def test_who_is_connected_is_named_and_nothing_stops(stage: Stage, cluster: Cluster) -> None:
    with cluster.server.connect() as session:
        session.execute("SET application_name = 'celery-beat'")
        session.execute("SELECT pg_sleep(2.1)")
        with pytest.raises(Refused) as refused:
            stage.planned(Stop(), cluster.db)
        assert refused.value.problems[0].code == "E689"
        assert "celery-beat as postgres in postgres from 127.0.0.1" in refused.value.problems[0].detail
        assert cluster.running
        assert [one.name for one in stage.planned(Stop(), cluster.db, others="end")] == ["remember", "stop_server"]


def test_a_server_that_is_down_needs_a_directory(stage: Stage, cluster: Cluster) -> None:
    cluster.stop()
    with pytest.raises(Refused) as refused:
        stage.planned(Stop(), cluster.db)
    assert refused.value.problems[0].code == "E783"
    told: Postgres = cluster.db.model_copy(update={"data_directory": str(cluster.data)})
    assert stage.planned(Stop(), told) == ()
    assert [one.name for one in stage.planned(Start(), told)] == ["start_server", "answers"]


def test_a_stop_that_was_cut_off_knows_its_directory(stage: Stage, cluster: Cluster) -> None:
    life = Life(stage, Stop(), cluster.db, stage.scope("stop"), {})
    life.go(stop_after=1)
    cluster.stop()
    assert life.go() == []
    assert life.end().data_directory == str(cluster.data)
    assert life.undo() == ["start_server", "answers"]
    assert cluster.running


def test_a_start_without_a_hold(stage: Stage, cluster: Cluster) -> None:
    cluster.stop()
    told: Postgres = cluster.db.model_copy(update={"data_directory": str(cluster.data)})
    start = Life(stage, Start(), told, stage.scope("start"), {})
    assert start.go() == ["start_server", "answers"]
    assert start.end().was_down
    assert cluster.running
    assert not stage.live(Start(), told, stage.scope("again")).was_down
