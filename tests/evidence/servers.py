"""The two kinds of server that a stack may have: one in a container of its project, and a cluster of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from docker.errors import APIError

from tests.evidence.witness import pg_dump_schema
from tests.fixtures.containers import address, exec_in, wait_healthy

if TYPE_CHECKING:
    from docker.models.containers import Container

CONFLICT = 409
PASSWORD = "canary-4f3a9c-correct-horse"


class Database(Protocol):
    """Where the stack's database is: what the environment file says of it, and how the tests look into it."""

    folder: Path

    def connect(self, database: str) -> psycopg.Connection[tuple[Any, ...]]: ...
    def schema(self, database: str) -> str: ...
    def fields(self) -> str: ...


@dataclass
class InContainer:
    """A server in a container of the project."""

    container: Container
    host: str
    user: str
    bin_dir: Path
    folder: Path

    def dsn(self, database: str) -> str:
        return f"postgresql://{self.user}:{PASSWORD}@{self.host}:5432/{database}"

    def connect(self, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.dsn(database), autocommit=True, connect_timeout=60)

    def schema(self, database: str) -> str:
        return pg_dump_schema(self.bin_dir / "pg_dump", self.dsn(database))

    def fields(self) -> str:
        return f"host: {{docker: {self.container.name}}}"

    def restart(self) -> None:
        """Start the container again, as its restart policy would; its address may be another one afterwards."""
        self.container.start()
        self.found_again()

    def found_again(self) -> None:
        """After a restart by somebody else."""
        wait_healthy(self.container)
        self.host = address(self.container)

    def pids(self) -> dict[int, str]:
        """Processes in the container that are not the server's own, by their process id on this machine.

        Listed twice: a list is no snapshot, and what the server began while it was made stands there without its parent.
        """
        first = self._strangers()
        return {pid: words for pid, words in self._strangers().items() if pid in first} if first else {}

    def _strangers(self) -> dict[int, str]:
        self.container.reload()
        try:
            top = self.container.top(ps_args="-eo pid,ppid,args")
        except APIError as error:
            if error.status_code != CONFLICT:
                raise
            return {}  # the plan has stopped it: there is none
        # none at all where it ended while they were listed
        rows = [(int(row[0]), int(row[1]), row[2]) for row in top["Processes"] or ()]
        own = {int(self.container.attrs["State"]["Pid"])}
        for _ in rows:
            own |= {pid for pid, parent, _ in rows if parent in own}
        return {pid: words for pid, _, words in rows if pid not in own and "pg_isready" not in words}

    def files(self) -> list[str]:
        """What lies in the container's /tmp: files, and folders that are not the one in which runs keep their records."""
        found = self.run("find", "/tmp", "-mindepth", "1", "-not", "-path", "/tmp/.runbook-0")
        return sorted(found.decode().split())

    def run(self, *argv: str) -> bytes:
        """Run a program in the container, as root; what it printed, or an AssertionError."""
        code, output = exec_in(self.container, argv)
        assert code == 0, output.decode(errors="replace")
        return output


@dataclass
class OnThisMachine:
    """A cluster of this machine, reached over TCP."""

    port: int
    user: str
    bin_dir: Path
    folder: Path
    log: Path

    def found_again(self) -> None:
        """Its address stays."""

    def dsn(self, database: str) -> str:
        return f"postgresql://{self.user}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.dsn(database), autocommit=True, connect_timeout=60)

    def schema(self, database: str) -> str:
        return pg_dump_schema(self.bin_dir / "pg_dump", self.dsn(database))

    def fields(self) -> str:
        return f'address: 127.0.0.1\n    port: {self.port}\n    binaries: "{self.bin_dir}"'
