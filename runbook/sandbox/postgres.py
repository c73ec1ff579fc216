"""PostgreSQL 18 with pgvector: a cluster whose WAL is archived from its first second.

Owns the cluster's making, its settings and its login. Promises: a cluster that exists is complete (it is made under
another name and renamed when the role and the database are in it), so a database that is missing later was removed by
somebody, and is not quietly made again; only the server's own directory is written.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runbook.sandbox.archive import archive_command, write_archiver
from runbook.sandbox.credentials import mint, read, scram_verifier
from runbook.sandbox.error import SandboxError
from runbook.sandbox.layout import Layout
from runbook.sandbox.part import Wait, environment, not_started
from runbook.sandbox.ports import LOOPBACK
from runbook.sandbox.process import Command, ProcessId, Step, identify, wait_until, workers_in

if TYPE_CHECKING:
    import psycopg

SUPERUSER = "postgres"
APPLICATION = "docs"
"""The document service's role, and the database that it owns."""

_MAKING = "data.making"
_MAKING_S = 180.0
_SETTLED_S = 60.0


@dataclass(frozen=True, slots=True)
class Login:
    """How a role reaches a database: TCP on this machine, the password in a file."""

    port: int
    user: str
    database: str
    password_file: Path
    address: str = LOOPBACK

    def connect(self) -> psycopg.Connection:
        """A connection (psycopg's errors pass through); waits 5 s at most for the server to answer."""
        import psycopg

        return psycopg.connect(
            host=self.address,
            port=self.port,
            user=self.user,
            dbname=self.database,
            password=read(self.password_file).reveal(),
            connect_timeout=5,
            application_name="runbook-sandbox",
        )


@dataclass(frozen=True, slots=True)
class Postgres:
    """The cluster in ``layout``, run with the programs in ``binaries`` on ``port``."""

    layout: Layout
    binaries: Path
    port: int

    name = "postgres"
    # Fast, immediate, killed: postgres(1), "Notes"
    ending = (Step(signal.SIGINT, 30.0), Step(signal.SIGQUIT, 30.0), Step(signal.SIGKILL, 30.0))

    @property
    def home(self) -> Path:
        """The directory that holds data directories; side clusters and set-aside ones may lie here too."""
        return self.layout.home(self.name)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.home / "data"

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{LOOPBACK}:{self.port}"

    def login(self, user: str, *, database: str = APPLICATION) -> Login:
        """The login of ``postgres`` or ``docs``."""
        return Login(self.port, user, database, self.layout.secret(user))

    def prepare(self) -> None:
        """Make the cluster if there is none, write its settings, clear the way for a start."""
        if not self.data.is_dir():
            self._refuse_displaced()
            self._make()
        self._write_settings(self.data)
        self._clear_stale_lock()

    def command(self) -> Command:
        """The server itself, in the foreground of its own session."""
        return Command(
            (str(self.binaries / "postgres"), "-D", str(self.data)),
            environment(self.home),
            self.home,
            self.layout.account,
        )

    def ready(self, wait: Wait) -> str:
        """Wait for a login; the server's version."""
        import psycopg

        found: list[str] = []

        def serves() -> bool:
            try:
                with self.login(SUPERUSER, database="postgres").connect() as connection:
                    row = connection.execute("SHOW server_version").fetchone()
            except psycopg.OperationalError:
                return False
            found.append(str(row[0]) if row else "")
            return True

        wait.until(serves)
        return found[-1]

    def found(self) -> ProcessId | None:
        """The postmaster of the data directory: an action may have restarted it since it was recorded."""
        return _postmaster(self.data)

    def left(self) -> tuple[ProcessId, ...]:
        """Postmasters of side clusters: what a drill that was killed may leave."""
        others = [_postmaster(file.parent) for file in sorted(self.home.glob("*/postmaster.pid"))]
        return tuple(one for one in others if one is not None)

    def cleared(self) -> bool:
        """Whether no process works in the data directory any more (children outlive a killed postmaster a moment)."""
        return wait_until(lambda: not workers_in(self.data), within_s=_SETTLED_S)

    def _refuse_displaced(self) -> None:
        """Make no new cluster where an old one was: a run that swaps data directories may have stopped half-way."""
        others = [file.parent for file in sorted(self.home.glob("*/PG_VERSION")) if file.parent.name != _MAKING]
        archived = next(self.layout.archive.iterdir(), None)
        if others or archived:
            what = ", ".join(map(str, others)) or f"archived WAL in {self.layout.archive}"
            raise SandboxError(
                "SB07",
                "the sandbox's data directory is missing",
                f"{self.data} isn't there, but this is: {what}. A run that was replacing it may have stopped half-way.",
                "`runbook resume` goes on with that run; to begin anew instead, "
                f"delete {self.layout.servers} after `runbook sandbox down`",
            )

    def _make(self) -> None:
        making = self.home / _MAKING
        shutil.rmtree(making, ignore_errors=True)
        self._run_initdb(making)
        # Without a postmaster, ids below 16384 would be given out (varsup.c), and pg_dump takes an extension with such an id
        # for a part of every cluster (pg_dump.c): a restore would lack it.
        self._run(("pg_resetwal", "-o", "16384", "-D", str(making)), "")
        self._write_settings(making)
        # A failed statement is logged; so the log may see the verifier, and never the password.
        verifier = scram_verifier(mint(self.layout.secret(APPLICATION)))
        role = f"CREATE ROLE {APPLICATION} LOGIN PASSWORD '{verifier}'"
        self._single_user(making, "postgres", role, f"CREATE DATABASE {APPLICATION} OWNER {APPLICATION}")
        # pgvector isn't marked as trusted: only the superuser can bring it in.
        self._single_user(making, APPLICATION, "CREATE EXTENSION vector")
        making.replace(self.data)

    def _run_initdb(self, making: Path) -> None:
        """A UTF-8 cluster (never by the locale: under C it would be SQL_ASCII) with passwords and checksums."""
        password_file = self.home / "initdb.password"  # the server's account can't read the operator's own file
        password_file.unlink(missing_ok=True)
        password_file.touch(mode=0o600)
        self.layout.account.give(password_file, 0o600)
        try:
            password_file.write_text(mint(self.layout.secret(SUPERUSER)).reveal() + "\n", encoding="utf-8")
            argv = ("initdb", "-D", str(making), "-U", SUPERUSER, "-E", "UTF8", "--auth=scram-sha-256")
            locale = ("--locale-provider=builtin", "--locale=C.UTF-8", "--lc-messages=C")
            self._run((*argv, *locale, "--data-checksums", f"--pwfile={password_file}"), "")
        finally:
            password_file.unlink(missing_ok=True)

    def _single_user(self, data: Path, database: str, *statements: str) -> None:
        """Run statements, each on a line of its own, in a server without clients; stops at the first that fails."""
        argv = ("postgres", "--single", "-D", str(data), "-c", "exit_on_error=on", "-c", "archive_mode=off", database)
        self._run(argv, "".join(f"{statement};\n" for statement in statements))

    def _run(self, argv: tuple[str, ...], stdin: str) -> None:
        log = self.layout.log(self.name)
        log.touch(mode=0o600)
        with log.open("ab") as out:
            done = subprocess.run(
                (str(self.binaries / argv[0]), *argv[1:]),
                input=stdin.encode(),
                stdout=out,
                stderr=out,
                cwd=self.home,
                env=environment(self.home),
                timeout=_MAKING_S,
                check=False,
                user=self.layout.account.uid,
                group=self.layout.account.gid,
                extra_groups=self.layout.account.groups,
            )
        if done.returncode:
            raise not_started(f"{argv[0]} ended with {done.returncode}.", log)

    def _write_settings(self, data: Path) -> None:
        """The settings lie in the data directory, so a base backup carries them and a swapped-in cluster has them."""
        write_archiver(self.layout)
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": str(self.layout.sockets),
            "cluster_name": "runbook-sandbox",
            "wal_level": "replica",
            "archive_mode": "on",
            "archive_command": archive_command(self.layout),
            "archive_timeout": "60s",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        quoted = {key: value.replace("'", "''") for key, value in settings.items()}
        lines = [f"{key} = '{value}'\n" for key, value in quoted.items()]
        file = data / "sandbox.conf"
        file.write_text("# Written by `runbook sandbox up`; changes are lost.\n" + "".join(lines), encoding="utf-8")
        self.layout.account.give(file, 0o600)
        main = data / "postgresql.conf"
        if "include_if_exists = 'sandbox.conf'" not in main.read_text(encoding="utf-8"):
            with main.open("a", encoding="utf-8") as end:
                end.write("\ninclude_if_exists = 'sandbox.conf'\n")

    def _clear_stale_lock(self) -> None:
        """Remove ``postmaster.pid`` once it is shown that nobody works in the data directory.

        PostgreSQL itself looks only whether the pid in it is in use: after a crash another program may have that pid,
        and then the server would refuse to start for ever.
        """
        if not self.cleared():
            raise not_started(f"Processes of an earlier server still work in {self.data}.", self.layout.log(self.name))
        (self.data / "postmaster.pid").unlink(missing_ok=True)


def _postmaster(data: Path) -> ProcessId | None:
    """The process named in ``postmaster.pid``, if it lives and works in that very data directory."""
    try:
        first = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0]
        process = identify(int(first))
        works_here = Path(f"/proc/{int(first)}/cwd").readlink() == data
    except (OSError, IndexError, ValueError):
        return None
    return process if works_here else None
