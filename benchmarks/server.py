"""A PostgreSQL server of the benchmark's own: in a folder of its own, as an unprivileged account, ended by its own process id."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runbook.sandbox.account import Account, servers_account

if TYPE_CHECKING:
    import psycopg

SUPERUSER = "postgres"
PASSWORD = "PGPASSWORD"
"""The variable that holds the password: of libpq, and named by the environment of the plans."""
STARTS_WITHIN_S = 30.0
SETTINGS = {
    "shared_buffers": "128MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "8GB",  # a checkpoint in the middle would hit one side and not the other
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "wal_level": "replica",
    "archive_mode": "on",
    "archive_command": "true",
    "listen_addresses": "127.0.0.1",
    "logging_collector": "off",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A running cluster: its programs, its port, and the variables by which clients reach it."""

    binaries: Path
    data: Path
    port: int
    password: str

    @property
    def env(self) -> Mapping[str, str]:
        """For every client program, ours included."""
        path = f"{self.binaries}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        about = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": SUPERUSER, "PGDATABASE": "postgres"}
        return {**about, PASSWORD: self.password, "PATH": path}

    def connect(self, database: str) -> psycopg.Connection:
        """A connection in autocommit mode; psycopg's errors pass through."""
        import psycopg

        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=SUPERUSER,
            password=self.password,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def run(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """One statement; its rows."""
        with self.connect(database) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


def programs() -> Path:
    """The newest server's programs on this machine, else those of the ``sandbox`` extra."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[-3]))
    if found:
        return found[-1].parent
    here = shutil.which("initdb")
    if here is None:
        raise SystemExit("the recovery benchmark needs a PostgreSQL server: apt-get install postgresql")
    return Path(here).resolve().parent


@contextmanager
def serving() -> Iterator[Server]:
    """A server while inside; stopped and removed afterwards."""
    account, binaries = servers_account(), programs()
    # not below the benchmark's own folder, which other accounts can't enter
    folder = Path(tempfile.mkdtemp(prefix="runbook-bench-pg-"))
    account.give(folder, 0o700)
    process = None
    try:
        server = Server(binaries, folder / "data", _free_port(), secrets.token_hex(16))
        _initialise(server, folder, account)
        with (folder / "log").open("ab") as log:
            argv = [str(binaries / "postgres"), "-D", str(server.data), "-k", str(folder)]
            process = subprocess.Popen(
                argv,
                stdout=log,
                stderr=log,
                cwd=folder,
                user=account.uid,
                group=account.gid,
                extra_groups=account.groups,
            )
        _wait(server, process, folder / "log")
        yield server
    finally:
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def _initialise(server: Server, folder: Path, account: Account) -> None:
    file = folder / "password"
    file.write_text(server.password, encoding="utf-8")
    account.give(file, 0o600)
    argv = [str(server.binaries / "initdb"), "-D", str(server.data), "-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8"]
    auth = ["--auth=scram-sha-256", f"--pwfile={file}"]
    subprocess.run(
        [*argv, *auth],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=folder,
        user=account.uid,
        group=account.gid,
        extra_groups=account.groups,
    )
    lines = "".join(f"{key} = '{value}'\n" for key, value in (SETTINGS | {"port": str(server.port)}).items())
    with (server.data / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.write(lines)


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            server.run("SELECT 1")
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server did not start:\n{log.read_text()[-800:]}") from None
            time.sleep(0.1)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
