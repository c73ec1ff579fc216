"""The container of a database is killed in the middle of its restore."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest

from tests.evidence.program import Program
from tests.evidence.servers import InContainer
from tests.evidence.witness import until
from tests.faults.house import DATABASE, TABLES
from tests.fixtures.containers import PostgresContainer, address, exec_in, wait_healthy
from tests.fixtures.postgres import PostgresServer
from tests.trouble.night import DONE, GATE, WAITS, WITHIN_S, Night

pytestmark = pytest.mark.docker


@dataclass
class Boxed(PostgresServer):
    """A server in a container, as far as a test asks it."""

    box: PostgresContainer | None = None

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        assert self.box is not None
        host = address(self.box.container)
        dsn = f"postgresql://{self.box.user}:{self.box.password}@{host}:{self.box.port}/{database}"
        return psycopg.connect(dsn, autocommit=True, connect_timeout=10)


@dataclass
class Afloat(Night):
    """The house in a container."""

    box: PostgresContainer | None = None

    @property
    def program(self) -> Program:
        assert self.box is not None
        return replace(super().program, environment={"DB_PASSWORD": self.box.password, "NO_COLOR": "1"})

    def shut(self) -> None:
        self._run("touch", "/tmp/gate")

    def open(self) -> None:
        self._run("rm", "-f", "/tmp/gate")

    def environment(self) -> Path:
        assert self.box is not None
        path = self.folder / "environment.yaml"
        path.write_text(
            "environment: faults\nsystems:\n"
            f"  db: {{type: postgres, host: {{docker: {self.box.container.name}}}, user: {self.box.user}, "
            f"database: {DATABASE}, password: {{env: DB_PASSWORD}}}}\n"
            f'  backups: {{type: store, url: "file://{self.store}"}}\n'
        )
        return path

    def _run(self, *argv: str) -> None:
        assert self.box is not None
        if self.box.container.status == "running":
            code, output = exec_in(self.box.container, argv)
            assert code == 0, output.decode(errors="replace")


def test_the_database_s_container_is_killed_in_the_middle_of_a_restore(
    pg_container: PostgresContainer, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    one = postgres_server
    server = Boxed(one.bin_dir, one.data_dir, one.socket_dir, pg_container.port, one.account, one.log, box=pg_container)
    night = Afloat(server, tmp_path, box=pg_container)
    night.store.mkdir(mode=0o700)
    for statement in (*TABLES, GATE.replace("FILE", "/tmp/gate")):
        server.sql(statement, DATABASE)
    night.back_up()
    live = night.oid()
    inside = InContainer(pg_container.container, pg_container.host, pg_container.user, one.bin_dir, tmp_path)
    with night.restoring() as engine:
        pg_container.container.kill()
        pg_container.container.reload()
        ended = night.end(engine)
    assert ended.code == WAITS, ended.said
    steps = night.tells(ended, "and was ended there, or with the container", status="unknown")
    assert steps["restore"] == "unknown"

    early = night.resume()
    assert early.code == WAITS, early.said
    night.tells(early, status="unknown")

    pg_container.container.start()
    wait_healthy(pg_container.container)
    night.open()
    night.untouched(live)
    resumed = night.resume()
    assert resumed.code == DONE, resumed.said
    night.restored(live)
    until(lambda: not inside.pids(), WITHIN_S, "nothing is left in the container")
    assert inside.files() == []
