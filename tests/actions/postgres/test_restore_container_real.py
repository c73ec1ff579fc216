"""Restoring and recovering where the server is a container that publishes no port: through pipes, and by programs inside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from runbook.actions.postgres.basebackup import Basebackup
from runbook.actions.postgres.dump import Dump
from runbook.actions.postgres.restore import Restore
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.artifact import Artifact
from runbook.host import Docker
from runbook.system import Store
from runbook.units import parse_instant
from tests.actions.harness import Stage
from tests.actions.postgres.life import Life
from tests.actions.systems import in_container
from tests.fixtures.containers import POSTGRES, ComposeProject, PostgresContainer, address, exec_in, wait_healthy

pytestmark = [pytest.mark.docker]

ARCHIVE = "/var/lib/postgresql/archive"


def inside(pg: PostgresContainer, *argv: str) -> str:
    """What a program in the container prints."""
    return exec_in(pg.container, argv)[1].decode().strip()


def seen(pg: PostgresContainer) -> set[str]:
    rows = pg.psql("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'", "postgres")
    return set(rows.splitlines())


@pytest.mark.parametrize(("form", "jobs"), [("custom", 1), ("custom", 2)])
def test_a_database_in_a_container(
    stage: Stage, backups: Store, pg_container: PostgresContainer, tmp_path: Path, form: str, jobs: int
) -> None:
    pg = pg_container
    pg.psql("CREATE TABLE users AS SELECT i AS id FROM generate_series(1, 500) AS i")
    pg.psql("ALTER DATABASE civicq SET work_mem TO '7MB'")
    db = in_container(pg, tmp_path)
    artifact = stage.live(Dump(), db, stage.scope("dump"), to=backups, format=form).artifact
    assert isinstance(artifact, Artifact)
    pg.psql("DELETE FROM users")
    step = Life(stage, Restore(), db, stage.scope("restore"), {"artifact": artifact, "jobs": jobs})
    names = [one.name for one in step.plan()]
    assert ("stage" in names, "unstage" in names) == (jobs > 1, jobs > 1)
    stopped = step.go(stop_after=names.index("load") + 1)
    second = step.go()
    assert "loaded" in second and "load" not in second, "a load that ended well is kept"
    assert ("unstage" in second[:2]) == (jobs > 1), f"what was copied is removed: {stopped} then {second}"
    out = step.end()
    assert pg.psql("SELECT count(*) FROM users") == "500"
    assert pg.psql("SHOW work_mem") == "7MB"
    assert seen(pg) == {"civicq", out.kept_as}
    assert "rb_" not in inside(pg, "ls", "/tmp"), "nothing stays in the container"


@pytest.fixture
def archiving(compose_project: Callable[..., ComposeProject]) -> Iterator[PostgresContainer]:
    """A PostgreSQL whose WAL is archived in a directory of its own volume."""
    project = compose_project()
    command = f"mkdir -p {ARCHIVE} && test ! -e {ARCHIVE}/%f && cp %p {ARCHIVE}/%f"
    settings = ("fsync=off", "shared_buffers=16MB", "archive_mode=on", f"archive_command={command}")
    container = project.add(
        "postgres",
        image=POSTGRES,
        command=("postgres", *(word for setting in settings for word in ("-c", setting))),
        environment={
            "POSTGRES_USER": "civicq",
            "POSTGRES_PASSWORD": PostgresContainer.password,
            "POSTGRES_DB": "civicq",
        },
        volumes={"data": "/var/lib/postgresql/data"},
    )
    container.exec_run(["chown", "postgres:postgres", "/var/lib/postgresql"])
    wait_healthy(container)
    pg = PostgresContainer(project, container, address(container))
    pg.archived()  # it may have tried before the folder was its own
    yield pg


def test_a_moment_is_recovered_beside_the_server(
    stage: Stage, backups: Store, archiving: PostgresContainer, tmp_path: Path
) -> None:
    pg = archiving
    pg.psql("CREATE TABLE notes (word text)")
    pg.psql("SELECT pg_switch_wal()")
    db = in_container(pg, tmp_path, archive=f"file://{ARCHIVE}")
    pg.psql("INSERT INTO notes VALUES ('0 base')")
    artifact = stage.live(Basebackup(), db, stage.scope("base"), to=backups).artifact
    assert isinstance(artifact, Artifact)
    pg.psql("INSERT INTO notes VALUES ('1 kept')")
    moment = pg.psql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    time.sleep(0.05)
    pg.psql("INSERT INTO notes VALUES ('2 accident')")
    target = parse_instant(moment) + timedelta(milliseconds=20)
    written = {"artifact": artifact, "target": target, "mode": "side"}
    step = Life(stage, RestoreToTime(), db, stage.scope("recover"), written)
    names = [one.name for one in step.plan()]
    step.go(stop_after=names.index("start_side") + 1)
    assert step.go() == ["recovered", "proof", "promote"]
    out = step.end()
    assert out.timeline == 2
    words = "SELECT string_agg(word, ',') FROM notes"
    assert inside(pg, *out.connect.split()[3:], "-XAtc", words, "civicq") == "0 base,1 kept"
    assert pg.psql("SELECT count(*) FROM notes") == "3"
    step.undo()
    assert "rb_" not in inside(pg, "ls", "/var/lib/postgresql")


def test_a_container_is_known_by_its_name_too(
    stage: Stage, backups: Store, pg_container: PostgresContainer, tmp_path: Path
) -> None:
    name = pg_container.container.name
    assert isinstance(name, str)
    db = in_container(pg_container, tmp_path, host=Docker(name))
    artifact = stage.live(Dump(), db, stage.scope("dump"), to=backups).artifact
    step = Life(stage, Restore(), db, stage.scope("restore"), {"artifact": artifact})
    step.go()
    assert step.end().database == "civicq"
