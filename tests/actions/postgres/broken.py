"""A cluster that a test may stop, start and break: its files, and pages of them written over."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runbook.system import Postgres
from tests.actions.systems import on_this_machine
from tests.fixtures.patience import eventually
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.process import lives, works_in

PAGE = 8192
ROWS = 4000


@dataclass
class Cluster:
    """A cluster with a shop in it, and as the system ``db``. Whatever server runs in its directory ends with the test."""

    server: PostgresServer
    db: Postgres

    @property
    def data(self) -> Path:
        return self.server.data_dir

    @property
    def running(self) -> int:
        """The process id of the server that runs there, whoever started it; 0 = none."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError):  # it is leaving, or has just come
            return 0
        return pid if lives(pid) else 0

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server, by its process id; its children have ended with it."""
        pid = self.running
        if not pid:
            return
        os.kill(pid, how)
        eventually(lambda: self.running != pid)
        self.server.stop()
        eventually(lambda: not works_in(self.data))

    def file(self, relation: str) -> Path:
        """Where a table or index lies; the server has to run."""
        return self.data / str(self.server.sql(f"SELECT pg_relation_filepath('{relation}')")[0][0])

    def spoil(self, *relations: str, block: int = 1) -> None:
        """Stop, write over the middle of a page of each, start: as a bad disk or a bad cable would have it."""
        files = [self.file(relation) for relation in relations]
        self.server.sql("CHECKPOINT")
        self.stop()
        for file in files:
            spoil(file, block)
        self.server.start()


def spoil(file: Path, block: int) -> None:
    """Write over a page's header and items: the server can't take it for a page of its own any more."""
    with file.open("r+b") as opened:
        opened.seek(block * PAGE + 10)
        opened.write(b"\xa5" * 600)


@contextmanager
def shop(server: PostgresServer, folder: Path) -> Iterator[Cluster]:
    """The cluster, with its password in a file."""
    db = on_this_machine(server, folder, binaries=str(server.bin_dir))
    server.sql("CREATE TABLE users (id int PRIMARY KEY, email text NOT NULL, note text)")
    server.sql("CREATE UNIQUE INDEX users_email ON users (email)")
    server.sql(
        f"INSERT INTO users SELECT n, 'u' || n || '@example.org', md5(n::text) FROM generate_series(1, {ROWS}) n"
    )
    server.sql("CREATE TABLE orders (id int PRIMARY KEY, who int NOT NULL)")
    server.sql(f"INSERT INTO orders SELECT n, n % 100 FROM generate_series(1, {ROWS}) n")
    server.sql("CREATE INDEX orders_who ON orders (who)")
    found = Cluster(server, db)
    try:
        yield found
    finally:
        found.stop(signal.SIGQUIT)
        server.stop(signal.SIGQUIT)
