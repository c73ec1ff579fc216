"""The cold copy of a server that is stopped with its container: the volume's files, whole, as a tar in the store."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

from runbook.actions.backup.verify import Verify
from runbook.actions.postgres.cold_copy import ColdCopy
from runbook.actions.postgres.start import Start
from runbook.actions.postgres.stop import Stop, StoppedServer
from runbook.artifact import Proof
from runbook.errors import Refused
from runbook.system import Postgres, Store
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.life import Life
from tests.actions.systems import in_container
from tests.fixtures.containers import PostgresContainer

pytestmark = pytest.mark.docker

OPERATIONS = [
    *("began", "stopped_before", "copy", "stopped_after", "read_again", "identifier", "version", "ended"),
    *("draft", "publish_data", "publish_manifest"),
]


@pytest.fixture
def inside(stage: Stage, pg_container: PostgresContainer, tmp_path: Path) -> Postgres:
    """The container's cluster, with a table in it."""
    pg_container.psql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
    system = in_container(pg_container, tmp_path)
    stage.systems = {**stage.systems, "db": system}
    return system


def stopped(stage: Stage, db: Postgres) -> StoppedServer:
    life = Life(stage, Stop(), db, stage.scope("stop"), {})
    assert life.go() == ["remember", "stop_server"]
    out = life.end()
    assert isinstance(out, StoppedServer)
    return out


def keep(stage: Stage, db: Postgres, store: Store, server: StoppedServer) -> Life:
    written = {"to": store, "data_directory": server.data_directory, "bytes": server.bytes}
    return Life(stage, ColdCopy(), db, stage.scope("keep"), written)


def test_stopped_copied_started(
    stage: Stage, inside: Postgres, backups: Store, pg_container: PostgresContainer, tmp_path: Path
) -> None:
    server = stopped(stage, inside)
    pg_container.container.reload()
    assert pg_container.container.status == "exited"
    assert server.data_directory == "/var/lib/postgresql/data"
    assert server.bytes > 10_000_000

    life = keep(stage, inside, backups, server)
    assert life.go() == OPERATIONS
    made = life.end().artifact
    assert made.manifest.system_identifier == server.system_identifier
    assert made.manifest.server_version == 150000
    path = Path(backups.directory) / made.name
    with tarfile.open(path) as tar:
        names = tar.getnames()
        assert "data/global/pg_control" in names
        assert tar.getmember("data/PG_VERSION").uid != 0, "owners are kept"
        assert tar.getmember("data/base").mode & 0o777 == 0o700

    start = Life(stage, Start(), inside, stage.scope("start"), {})
    assert start.go() == ["start_server", "answers"]
    assert start.end().was_down
    assert pg_container.psql("SELECT count(*) FROM t") == "1000"
    assert stage.live(Verify(), backups, stage.scope("prove"), artifact=made).artifact.proof is Proof.HASHED
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StepFailed, match="not the expected ones"):
        stage.live(Verify(), backups, stage.scope("prove"), artifact=made)


def test_what_is_kept_is_the_cluster(
    stage: Stage, inside: Postgres, backups: Store, pg_container: PostgresContainer
) -> None:
    """Unpacked over the volume, the tar is the cluster as it stood: the way back after a repair that went wrong."""
    server = stopped(stage, inside)
    life = keep(stage, inside, backups, server)
    life.go()
    path = Path(backups.directory) / life.end().artifact.name
    pg_container.container.start()
    pg_container.container.stop()
    with path.open("rb") as tar:
        argv = ["docker", "cp", "--archive", "-", f"{pg_container.container.name}:/var/lib/postgresql"]
        subprocess.run(argv, stdin=tar, check=True)
    stage.live(Start(), inside, stage.scope("start"))
    assert pg_container.psql("SELECT count(*) FROM t") == "1000"


def test_a_running_container_is_refused(stage: Stage, inside: Postgres, backups: Store) -> None:
    with pytest.raises(Refused) as refused:
        stage.planned(ColdCopy(), inside, to=backups, data_directory="/var/lib/postgresql/data")
    assert [one.code for one in refused.value.problems] == ["E687"]


def test_cut_off_after_each_operation_and_resumed(stage: Stage, inside: Postgres, tmp_path: Path) -> None:
    server = stopped(stage, inside)
    for number, name in enumerate(OPERATIONS[:-1], start=1):
        folder = tmp_path / f"store{number}"
        folder.mkdir(mode=0o700)
        life = keep(stage, inside, Store(type="store", url=f"file://{folder}", key="store"), server)
        life.go(stop_after=number)
        if name == "copy":
            (partial,) = folder.iterdir()
            partial.write_bytes(partial.read_bytes()[:100_000])
        life.go()
        made = life.end().artifact
        assert {path.name for path in folder.iterdir()} == {made.name, f"{made.name}.manifest.json"}, name


def test_started_in_the_middle_of_it(
    stage: Stage, inside: Postgres, backups: Store, pg_container: PostgresContainer
) -> None:
    life = keep(stage, inside, backups, stopped(stage, inside))
    life.go(stop_after=3)
    pg_container.container.start()
    operations = {
        one.name: one
        for one in life.action.plan(
            inside, life.inputs, life.action.assume(inside, life.inputs, life.scope), life.scope
        )
    }
    with pytest.raises(StepFailed, match="running"):
        stage.perform(operations["stopped_after"], {}, life.scope)
    with pytest.raises(Refused, match="the server runs"):
        life.go()


def test_a_tablespace_would_be_missing(
    stage: Stage, inside: Postgres, backups: Store, pg_container: PostgresContainer
) -> None:
    code, said = pg_container.container.exec_run(["install", "-d", "-o", "postgres", "/var/lib/postgresql/other"])
    assert code == 0, said
    pg_container.psql("CREATE TABLESPACE other LOCATION '/var/lib/postgresql/other'")
    life = keep(stage, inside, backups, stopped(stage, inside))
    with pytest.raises(StepFailed, match="it lies elsewhere, and is not in the copy"):
        life.go()
    assert [path.suffix for path in Path(backups.directory).iterdir()] == [".partial"]


def test_no_room(stage: Stage, inside: Postgres, backups: Store) -> None:
    server = stopped(stage, inside)
    with pytest.raises(Refused, match="not enough space"):
        stage.planned(ColdCopy(), inside, to=backups, data_directory=server.data_directory, bytes=10**18)


def test_a_server_that_does_not_answer_is_found_in_its_volumes(
    stage: Stage, inside: Postgres, backups: Store, pg_container: PostgresContainer
) -> None:
    """It ended before anybody asked it, as a damaged one may: the copy can be taken all the same."""
    pg_container.container.kill()
    pg_container.container.wait()
    life = Life(stage, Stop(), inside, stage.scope("stop"), {})
    assert life.go() == []
    server = life.end()
    assert (server.ran, server.data_directory) == (False, "/var/lib/postgresql/data")
    copy = keep(stage, inside, backups, server)
    copy.go()
    assert copy.end().artifact.manifest.server_version == 150000
