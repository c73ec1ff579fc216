"""PostgreSQL's client programs: how they are called, and which of them may be used with which server.

Owns the argv, the connection string and the environment of ``pg_dump`` and its kin, and what observers ask a server first.
Promises: no name of a database or role can become an option or end a quotation, and no secret is in an argv.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import assert_never, cast

from runbook.action import Look
from runbook.errors import Problem, Refused
from runbook.host import Compose, Docker, Local, Ssh
from runbook.operation import Arg, Env, EnvValue, SecretFile, sql
from runbook.placeholder import stand_for
from runbook.quoting import shell_word
from runbook.system import Postgres

CONNECT_TIMEOUT_S = 10
MAINTENANCE_DATABASE = "postgres"
"""Where one connects to create, rename or drop another database."""

_PLAIN = re.compile(r"[A-Za-z0-9_./:-]+")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_SERVER = sql(
    "SELECT current_setting('server_version_num')::int AS version, "
    "(SELECT system_identifier::text FROM pg_control_system()) AS identifier, "
    "(SELECT rolsuper FROM pg_roles WHERE rolname = current_user)::int AS superuser"
)


@dataclass(frozen=True, slots=True)
class Server:
    """A server as asked: ``version`` as in ``server_version_num`` (150018), its cluster's identifier, the role's power."""

    version: int
    identifier: str
    superuser: bool

    @property
    def major(self) -> int:
        """15 for 150018."""
        return self.version // 10_000


@dataclass(frozen=True, slots=True)
class Client:
    """A client program as found: its major version and its own words."""

    major: int
    text: str


def argv(db: Postgres, program: str, *options: Arg) -> tuple[Arg, ...]:
    """``program`` from the system's directory of binaries (else the PATH), with ``options``."""
    return (f"{db.binaries.rstrip('/')}/{program}" if db.binaries else program, *options)


def conninfo(db: Postgres, database: str = "") -> str:
    """A libpq connection string to ``database`` (default: the system's own) for a program on the system's host, sans password.

    A container's programs use the socket inside it: its ``address`` and ``port`` are as seen from outside. Without an
    address the default socket is used.
    """
    inside = isinstance(db.host, Docker | Compose)
    parts = [("host", db.address)] if db.address and not inside else []
    parts += [("port", str(db.port))] if not (inside and db.address) else []
    parts += [("user", db.user), ("dbname", database or db.database)]
    return " ".join(f"{key}={quoted(value)}" for key, value in parts)


def target(db: Postgres, database: str = "") -> str:
    """The option by which every client program takes its connection, whatever the database is called."""
    return f"--dbname={conninfo(db, database)}"


def connect_line(db: Postgres, database: str) -> str:
    """The command by which a person opens a session in ``database``; psql asks for the password, if there is one."""
    words = " ".join(shell_word(str(word)) for word in argv(db, "psql", conninfo(db, database)))
    host = db.host
    line = words
    while not isinstance(host, Local):
        match host:
            case Docker(container):
                line = f"docker exec -it {shell_word(container)} {line}"
            case Compose(project, service):
                line = f"docker compose -p {shell_word(project)} exec {shell_word(service)} {line}"
            case Ssh(destination):
                line = f"ssh -t {shell_word(destination)} {shell_word(line)}"
            case _:
                assert_never(host)
        host = host.via
    return line


def env(db: Postgres, application: str) -> Env:
    """The environment of a client program that connects. ``application`` is :attr:`runbook.action.Scope.application`.

    The password travels in a 0600 connection service file (libpq, chapter "The Connection Service File") and not in a
    PGPASSFILE, where a ``:`` or a backslash in it would have to be escaped by whoever reads the secret.
    """
    entries: list[tuple[str, EnvValue]] = [
        ("PGAPPNAME", application),
        ("PGCONNECT_TIMEOUT", str(CONNECT_TIMEOUT_S)),
    ]
    if db.password is not None:
        entries += [
            ("PGSERVICE", "runbook"),
            ("PGSERVICEFILE", SecretFile(("[runbook]\npassword=", db.password, "\n"))),
        ]
    return tuple(entries)


def read_server(look: Look, db: Postgres, application: str) -> Server:
    """Ask the server what it is. Connects to the maintenance database, so that the system's own may be absent."""
    row = look.query(db.connection(application=application, database=MAINTENANCE_DATABASE), _SERVER)[0]
    return Server(version=int(row["version"] or 0), identifier=str(row["identifier"]), superuser=bool(row["superuser"]))


def unread(step: str) -> tuple[Server, str]:
    """A server that nobody has asked yet and its client's words, as a dry-run assumes them: a superuser's, else placeholders."""
    version = cast("int", stand_for(f"server_version, from {step}"))  # whoever reckons with it gets a TypeError
    server = Server(version, stand_for(f"system_identifier, from {step}"), superuser=True)
    return server, stand_for(f"client_version, from {step}")


def read_client(look: Look, db: Postgres, program: str) -> Client:
    """Which version of ``program`` there is; refuses (exit 4) where there is none."""
    path = str(argv(db, program)[0])
    ran = look.run(db.host, (path, "--version"))
    match = _VERSION.search(ran.stdout)
    if ran.exit_code or match is None:
        where = f"`{path} --version` on {db.host} gave exit code {ran.exit_code}: {(ran.stderr or ran.stdout).strip()}"
        raise Refused(
            Problem(
                "E610",
                "a PostgreSQL client program is missing",
                where,
                f"Install PostgreSQL's client programs there, or set `binaries` of {db.key or 'the system'}.",
            )
        )
    return Client(major=int(match[1]), text=ran.stdout.strip())


def refuse_older_client(db: Postgres, client: Client, server: Server) -> None:
    """A program older than its server can't be trusted with it (pg_dump aborts, pg_restore may): exit 4, named."""
    if client.major < server.major:
        raise Refused(
            Problem(
                "E611",
                "the client program is older than the server",
                f"{client.text} on {db.host} may not be used with a server of version {server.major}.",
                f"Install version {server.major} or newer there, or point `binaries` of {db.key or 'the system'} to it.",
            )
        )


def quoted(value: str) -> str:
    """A value of a libpq connection string."""
    if _PLAIN.fullmatch(value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
