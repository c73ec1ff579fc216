"""A cluster whose WAL is archived, and what tests of a recovery do with it: commit, look, end its servers."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import psycopg

from runbook.actions.postgres.basebackup import Basebackup
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.artifact import Artifact
from runbook.system import Postgres, Store
from tests.actions.harness import Stage
from tests.actions.postgres.life import Life
from tests.fixtures.patience import PATIENCE_S, eventually
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.process import lives


@dataclass
class Cluster:
    """A cluster that archives, as the fixture started it, and as the system ``db``. Daemons of its folder end with the test."""

    server: PostgresServer
    archive: Path
    db: Postgres
    moments: dict[str, datetime] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.server.data_dir

    def commit(self, word: str) -> datetime:
        """Commit a row; a moment after it and before the next one."""
        self.server.sql(f"INSERT INTO notes VALUES ('{word}')")
        found = self.server.sql("SELECT clock_timestamp()")[0][0]
        assert isinstance(found, datetime)
        time.sleep(0.03)
        self.moments[word] = found + timedelta(milliseconds=10)
        return self.moments[word]

    def archived(self) -> None:
        """Wait until the archive has every segment that is closed: no other one comes before the next is closed."""
        status = self.data / "pg_wal" / "archive_status"
        eventually(lambda: not list(status.glob("*.ready")))

    def notes(self) -> list[str]:
        return [str(row[0]) for row in self.server.sql("SELECT word FROM notes ORDER BY 1")]

    def beside(self) -> set[str]:
        """What lies beside the data directory, without what was there before."""
        found = {path.name for path in self.data.parent.iterdir() if not path.name.startswith(".s.PGSQL")}
        return found - {"data", "log", "password"}

    def end_beside(self) -> None:
        """A kill of every server in this folder but the live one."""
        self.stop_all(but=self.data)

    def stop_all(self, but: Path | None = None) -> None:
        """End every server of a data directory in this folder by its own process id."""
        for lock in self.data.parent.glob("*/postmaster.pid"):
            if lock.parent == but:
                continue
            try:
                pid = int(lock.read_text().split()[0])
                if pid == os.getpid():
                    continue  # a lock file that a test has written
                os.kill(pid, signal.SIGQUIT)
            except (FileNotFoundError, IndexError, ProcessLookupError):
                continue  # it went by itself
            deadline = time.monotonic() + PATIENCE_S
            while lock.exists() and lives(pid) and time.monotonic() < deadline:
                time.sleep(0.05)


def with_tools(cluster: Cluster) -> Postgres:
    return cluster.db.model_copy(update={"binaries": str(cluster.server.bin_dir)})


def side_copy(stage: Stage, cluster: Cluster, backups: Store) -> tuple[Life, str]:
    """The step that made a copy beside the cluster as it was before its last commit, and how that copy is reached."""
    base = stage.live(Basebackup(), with_tools(cluster), stage.scope("base"), to=backups).artifact
    target = cluster.commit("1 kept")
    cluster.commit("2 accident")
    step = life(stage, cluster, base, target, mode="side")
    step.go()
    out = step.end()
    user = cluster.server.user
    return step, psycopg.conninfo.make_conninfo(host=out.address, port=out.port, user=user, dbname="postgres")


def life(stage: Stage, cluster: Cluster, base: Artifact, target: datetime, **written: object) -> Life:
    return Life(
        stage, RestoreToTime(), cluster.db, stage.scope("recover"), {"artifact": base, "target": target, **written}
    )


def recovered_before_an_accident(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    """A row that is kept, one that is not, and the recovery to the moment between them."""
    target = cluster.commit("1 kept")
    cluster.commit("2 accident")
    step = life(stage, cluster, base, target)
    step.go()
    step.end()
    assert cluster.notes() == ["0 base", "1 kept"]
