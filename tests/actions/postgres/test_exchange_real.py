"""Recovery to a moment in the place of a server in a container: exact, stopped after every operation, killed in the move."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runbook.action import Unreachable
from runbook.actions.postgres.basebackup import Basebackup
from runbook.actions.postgres.in_container import MOVE
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.artifact import Artifact
from runbook.errors import Refused
from runbook.operation import changes
from runbook.system import Postgres, Store
from runbook.units import parse_instant
from tests.actions.harness import Stage
from tests.actions.postgres.life import Life
from tests.actions.systems import in_container
from tests.fixtures.containers import POSTGRES, ComposeProject, PostgresContainer, address, exec_in, wait_healthy
from tests.fixtures.patience import eventually

if TYPE_CHECKING:
    from docker.models.containers import Container

pytestmark = pytest.mark.docker

VOLUME, ARCHIVE = "/var/lib/postgresql/data", "/wal"
CUT = """\
printf '#!/bin/sh\\nn=$(cat /tmp/n); echo $((n - 1)) > /tmp/n; [ "$n" -gt 0 ] || kill -9 $PPID\\nexec /bin/mv "$@"\\n' > /tmp/mv
echo 9 > /tmp/n
chmod 755 /tmp/mv
PATH=/tmp:$PATH exec sh -c "$0" sh "$@"
"""
"""Runs the move until it is killed before its tenth rename."""


@dataclass
class Cluster:
    """A server in a container that archives into a volume of its own, with a base backup that has one note in it."""

    pg: PostgresContainer
    db: Postgres
    data: str
    base: Artifact

    @property
    def container(self) -> Container:
        return self.pg.container

    def commit(self, word: str) -> datetime:
        """Commit a note; a moment after it and before the next one."""
        self.pg.psql(f"INSERT INTO notes VALUES ('{word}')")
        said = self.pg.psql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
        time.sleep(0.03)
        return parse_instant(said) + timedelta(milliseconds=10)

    def after_this_second(self) -> None:
        """Containers tell times in whole seconds: until the next one, a moment could have been before the fork."""
        now = int(time.time())
        eventually(lambda: time.time() > now + 1)

    @property
    def notes(self) -> list[str]:
        return self.pg.psql("SELECT word FROM notes ORDER BY 1").splitlines()

    def inside(self, *argv: str) -> str:
        """What a program in the container prints."""
        code, output = exec_in(self.container, argv)
        assert code == 0, output.decode()
        return output.decode()

    @property
    def foreign(self) -> set[str]:
        """What lies on the data's volume and carries a run's name."""
        found = self.inside("find", VOLUME, "-maxdepth", "2", "-name", "*rb_*", "-prune")
        return set(found.split())

    def kept_notes(self, kept: str) -> list[str]:
        """The notes of a kept directory, as a server in a container beside this one finds them there."""
        client = self.container.client
        assert client is not None
        other = client.containers.run(
            POSTGRES,
            ["postgres", "-c", "fsync=off", "-c", "shared_buffers=16MB"],
            environment={"PGDATA": kept},
            volumes_from=[str(self.container.id)],
            network=self.pg.project.network.name,
            labels=self.pg.project.labels("beside"),
            detach=True,
        )
        try:
            wait_healthy(other)
            beside = PostgresContainer(self.pg.project, other, address(other))
            return beside.psql("SELECT word FROM notes ORDER BY 1").splitlines()
        finally:
            other.remove(force=True)

    def life(self, stage: Stage, step: str, target: datetime) -> Life:
        return Life(stage, RestoreToTime(), self.db, stage.scope(step), {"artifact": self.base, "target": target})


@pytest.fixture
def stand(
    stage: Stage, tmp_path: Path, backups: Store, compose_project: Callable[..., ComposeProject]
) -> Iterator[Callable[[str], Cluster]]:
    def make(data: str) -> Cluster:
        project = compose_project()
        command = f"archive_command=test ! -e {ARCHIVE}/%f && cp %p {ARCHIVE}/%f"
        settings = ("fsync=off", "shared_buffers=16MB", "archive_mode=on", command)
        project.volume("wal")
        container = project.add(
            "postgres",
            image=POSTGRES,
            command=("postgres", *(word for setting in settings for word in ("-c", setting))),
            environment={
                "POSTGRES_USER": PostgresContainer.user,
                "POSTGRES_PASSWORD": PostgresContainer.password,
                "POSTGRES_DB": PostgresContainer.database,
                "PGDATA": data,
            },
            volumes={"data": VOLUME, "wal": ARCHIVE},
        )
        container.exec_run(["chown", "postgres:postgres", ARCHIVE])
        wait_healthy(container)
        pg = PostgresContainer(project, container, address(container))
        db = in_container(pg, tmp_path, archive=f"file://{ARCHIVE}")
        pg.psql("CREATE TABLE notes (word text)")
        pg.archived()  # it may have tried before the volume was its own
        pg.psql("INSERT INTO notes VALUES ('0 base')")
        base = stage.live(Basebackup(), db, stage.scope("base"), to=backups).artifact
        assert isinstance(base, Artifact)
        return Cluster(pg, db, data, base)

    yield make


def one_further_each_time(step: Life) -> list[str]:
    """Stop after every operation from the promotion on, and resume; the names in the order in which each was first performed."""
    names = [one.name for one in step.plan()]
    seen = step.go(stop_after=names.index("promote"))
    while any(map(changes, operations := step.plan())):
        upto = next((at for at, one in enumerate(operations, 1) if one.name not in seen), len(operations))
        for operation in operations[:upto]:
            step.stage.perform(operation, step.results, step.scope)
            seen += [operation.name] if operation.name not in seen else []
    return seen


@pytest.mark.slow
def test_stopped_after_every_operation(stage: Stage, stand: Callable[[str], Cluster]) -> None:
    cluster = stand(VOLUME)
    cluster.commit("1 kept")
    target = cluster.commit("2 kept too")
    cluster.commit("3 accident")
    step = cluster.life(stage, "recover", target)
    seen = one_further_each_time(step)
    out = step.end()
    assert seen[-9:] == [
        *("ready", "stop_live", "move", "start_live", "accepting"),
        *("archive_history", "clean_side", "clean", "clean_mark"),
    ]
    assert cluster.notes == ["0 base", "1 kept", "2 kept too"]
    assert (out.data_directory, out.timeline) == (VOLUME, 2)
    assert cluster.foreign == {out.kept_as}
    assert out.kept_as.startswith(f"{VOLUME}/old_rb_")
    assert "tar -C" in out.advice
    assert "00000002.history" in cluster.inside("ls", ARCHIVE)
    assert cluster.kept_notes(out.kept_as) == ["0 base", "1 kept", "2 kept too", "3 accident"]

    # What comes later is found along the new timeline; the second exchange leaves the first one's kept directory alone.
    cluster.after_this_second()
    later = cluster.commit("4 afterwards")
    cluster.commit("5 too late")
    again = cluster.life(stage, "again", later)
    again.go()
    second = again.end()
    assert second.timeline == 3
    assert cluster.notes == ["0 base", "1 kept", "2 kept too", "4 afterwards"]
    assert cluster.foreign == {out.kept_as, second.kept_as}


def test_below_the_mount_point_the_kept_directory_lies_beside(stage: Stage, stand: Callable[[str], Cluster]) -> None:
    data = f"{VOLUME}/pgdata"
    cluster = stand(data)
    target = cluster.commit("1 kept")
    cluster.commit("2 accident")
    step = cluster.life(stage, "recover", target)
    step.go()
    out = step.end()
    assert cluster.notes == ["0 base", "1 kept"]
    assert out.kept_as.startswith(f"{data}.old_rb_")
    assert "tar" not in out.advice
    assert cluster.foreign == {out.kept_as}
    assert cluster.kept_notes(out.kept_as) == ["0 base", "1 kept", "2 accident"]


def test_killed_in_the_move(stage: Stage, stand: Callable[[str], Cluster]) -> None:
    cluster = stand(VOLUME)
    target = cluster.commit("1 kept")
    cluster.commit("2 accident")
    step = cluster.life(stage, "recover", target)
    names = [one.name for one in step.plan()]
    step.go(stop_after=names.index("stop_live") + 1)
    move = next(one for one in step.plan() if one.name == "move")
    container, client = cluster.container, cluster.container.client
    assert client is not None
    arguments = dict(move.arguments.items)["argv"][4:]  # type: ignore[union-attr]
    killed = client.containers.create(
        POSTGRES, [CUT, MOVE, *arguments], entrypoint=["sh", "-c"], volumes_from=[str(container.id)], init=True
    )
    killed.start()
    assert killed.wait()["StatusCode"] == 137
    killed.remove()

    container.start()  # as a restart policy would: it must not come up on a mixture, nor on a new, empty cluster
    assert container.wait(timeout=300)["StatusCode"] != 0
    eventually(lambda: any(word in container.logs(tail=20) for word in (b"pg_control", b"not empty")))
    assert step.go()[:4] == ["stop_live", "move", "start_live", "accepting"]
    out = step.end()
    assert cluster.notes == ["0 base", "1 kept"]
    assert cluster.kept_notes(out.kept_as) == ["0 base", "1 kept", "2 accident"]

    assert step.undo()[:3] == ["stop_live", "move_back", "start_live"]
    assert cluster.notes == ["0 base", "1 kept", "2 accident"]


def test_what_can_not_be_exchanged_is_refused(stage: Stage, stand: Callable[[str], Cluster], backups: Store) -> None:
    cluster = stand(VOLUME)
    target = cluster.commit("1 kept")
    within = cluster.db.model_copy(update={"archive": f"file://{VOLUME}/archive"})
    step = cluster.life(stage, "recover", target)
    step.system = within
    with pytest.raises(Refused, match="can't be exchanged in this container"):
        step.plan()
    cluster.inside("mkdir", f"{VOLUME}/old_rb_earlier_run")
    with pytest.raises(Refused, match="old_rb_earlier_run"):
        stage.live(Basebackup(), cluster.db, stage.scope("more"), to=backups, name="more.tar")
    cluster.container.stop()
    with pytest.raises(Unreachable) as down:
        cluster.life(stage, "late", target).plan()
    assert "docker start" in down.value.problem.fix
