"""Archiving turned on for a server in a container: restarted with it, stopped anywhere and resumed; and busybox as its shell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runbook.actions.postgres.archiving import command_for
from runbook.actions.postgres.configure_archiving import ConfigureArchiving
from runbook.errors import Refused
from runbook.host import Docker
from runbook.system import Postgres
from tests.actions.harness import Stage
from tests.actions.postgres.life import Life
from tests.actions.systems import in_container
from tests.fixtures.containers import BASE, POSTGRES, ComposeProject, PostgresContainer, address, exec_in, wait_healthy

if TYPE_CHECKING:
    from docker.models.containers import Container


pytestmark = pytest.mark.docker

ARCHIVE = "/backups/wal"


@dataclass
class Site:
    """A server in a container, and the system ``db``."""

    stage: Stage
    pg: PostgresContainer
    db: Postgres

    def life(self, step: str = "archive", **written: object) -> Life:
        return Life(self.stage, ConfigureArchiving(), self.db, self.stage.scope(step), {"within": "4m", **written})

    def inside(self, *argv: str) -> str:
        code, output = exec_in(self.pg.container, argv)
        assert code == 0, output.decode()
        return output.decode()


@pytest.fixture
def make(stage: Stage, tmp_path: Path, compose_project: Callable[..., ComposeProject]) -> Callable[..., Site]:
    """A server whose container has the given volumes beside its data, and the given settings on its command line."""

    def site(*settings: str, archive: str = "", **volumes: str) -> Site:
        project = compose_project()
        environment = {
            "POSTGRES_USER": PostgresContainer.user,
            "POSTGRES_PASSWORD": PostgresContainer.password,
            "POSTGRES_DB": PostgresContainer.database,
        }
        options = [word for one in ("fsync=off", "shared_buffers=16MB", *settings) for word in ("-c", one)]
        container = project.add(
            "postgres",
            image=POSTGRES,
            command=("postgres", *options),
            environment=environment,
            volumes={"postgres_data": "/var/lib/postgresql/data", **volumes},
        )
        wait_healthy(container)
        pg = PostgresContainer(project, container, address(container))
        return Site(stage, pg, in_container(pg, tmp_path, archive=f"file://{archive or ARCHIVE}"))

    return site


def test_the_container_is_restarted_and_a_segment_arrives(make: Callable[..., Site]) -> None:
    site = make(backups="/backups")
    began = site.pg.container.attrs["State"]["StartedAt"]
    life = site.life()
    done = life.go()
    assert [one for one in done if "server" in one] == ["stop_server", "start_server"]
    out = life.end()
    site.pg.container.reload()
    assert site.pg.container.attrs["State"]["StartedAt"] > began
    assert site.inside("stat", "-c", "%s %U %a", f"{ARCHIVE}/{out.segment}").split() == ["16777216", "postgres", "600"]
    assert site.inside("stat", "-c", "%U %a", ARCHIVE).split() == ["postgres", "700"]
    again = site.life("again")
    assert again.go()[0] == "writable"
    assert again.end().segment > out.segment


@pytest.mark.slow
@pytest.mark.parametrize("performed", [1, 6, 7, 8, 9])
def test_stopped_after_any_operation_it_goes_on(make: Callable[..., Site], performed: int) -> None:
    site = make(backups="/backups")
    life = site.life()
    begun = life.go(stop_after=performed)
    rest = life.go()
    if "start_server" not in begun:  # one that doesn't answer yet is stopped again: it might be on its way down
        assert ("stop_server" in rest) == ("stop_server" not in begun)
    assert not {one for one in rest if one.startswith("set_")} & set(begun)
    life.end()
    assert life.undo()[-3:] == ["stop_server", "start_server", "answers"]
    assert site.pg.psql("SHOW archive_mode") == "off"


def test_an_archive_in_the_container_itself_is_refused(make: Callable[..., Site]) -> None:
    """The guide's own place: gone with `docker compose down`, and with every upgrade of the image."""
    site = make()
    with pytest.raises(Refused, match=r"(?s)E650.*on no volume: it is gone with the container"):
        site.life().plan()
    inside = make(archive="/var/lib/postgresql/data/wal")
    with pytest.raises(Refused, match=r"(?s)E650.*inside the data directory"):
        inside.life().plan()
    assert site.pg.psql("SHOW archive_mode") == "off"


def test_what_the_command_line_says_can_not_be_altered(make: Callable[..., Site]) -> None:
    site = make("archive_mode=off", "archive_command=cp %p /backups/wal/%f", backups="/backups")
    with pytest.raises(Refused, match=r"(?s)E652.*archive_mode = off comes from the server's command line") as caught:
        site.life().plan()
    assert [one.code for one in caught.value.problems] == ["E652", "E652"]
    fitting = make(
        "archive_mode=on", f"archive_command={command_for(ARCHIVE)}", "archive_timeout=60", backups="/backups"
    )
    life = fitting.life()
    assert [one for one in life.go() if one.startswith(("set_", "stop"))] == []
    assert life.end().may_be_lost == "1m 00s"


def test_a_container_that_vanishes_when_it_stops(make: Callable[..., Site], stage: Stage) -> None:
    site = make(backups="/backups")
    image, name = POSTGRES, f"{site.pg.project.name}_gone"
    client = site.pg.project.client
    other = client.containers.create(
        image,
        ["postgres", "-c", "fsync=off", "-c", "shared_buffers=16MB"],
        name=name,
        environment={"POSTGRES_USER": "civicq", "POSTGRES_PASSWORD": PostgresContainer.password},
        volumes={site.pg.project.volume("more"): {"bind": "/backups", "mode": "rw"}},
        network=site.pg.project.network.name,
        labels={"com.docker.compose.project": site.pg.project.name, "com.docker.compose.service": "gone"},
        auto_remove=True,
    )
    try:
        other.start()
        wait_healthy(other)
        db = site.db.model_copy(update={"host": Docker(name)})
        with pytest.raises(Refused, match=r"(?s)E654.*--rm.*removed when it stops"):
            Life(stage, ConfigureArchiving(), db, stage.scope("gone"), {}).plan()
    finally:
        other.remove(force=True, v=True)


def test_busybox_is_shell_enough(run_container: Callable[..., Container]) -> None:
    """An image on musl has busybox for a shell and for every program that the command calls."""
    container = run_container(BASE)
    command = command_for("/wal").replace("%p", "pg_wal/A").replace("%f", "A")
    script = f"""\
set -e
mkdir /bb /data /data/pg_wal /wal
for p in sh cmp cp ln mktemp mv rm sync; do ln -s /bin/busybox /bb/$p; done
cd /data; head -c 16777216 /dev/urandom > pg_wal/A
export PATH=/bb
busybox=/bin/busybox
run() {{ /bb/sh -c '{command}' || echo "code $?"; }}
run; cmp pg_wal/A /wal/A && echo same
run; echo again
echo x > /wal/A; run; /bin/cat /wal/A; /bin/ls -A /wal
"""
    code, output = exec_in(container, ["bash", "-c", script])
    words = output.decode().splitlines()
    assert code == 0, words
    assert words[:2] == ["same", "again"], words
    assert words[-3:] == ["code 1", "x", "A"], words
