"""Where a PostgreSQL server is reached from here.

Owns the way from a :class:`~runbook.operation.Connection` to libpq's ``host`` and ``port``: as written, the default socket, or the
own address of the container that the server runs in. Promises: it never guesses between several addresses.
"""

from __future__ import annotations

import sys
from pathlib import Path

from runbook.errors import Problem
from runbook.host import Compose, Docker, Local, Ssh
from runbook.operation import Connection
from runbook.transports.docker import DockerEngine, asked
from runbook.transports.trouble import Absent, not_built, trouble

SOCKET_FOLDERS = ("/var/run/postgresql", "/tmp")  # noqa: S108 - Debian's, and PostgreSQL's own default
_SUMMARY = "the database's address can't be told"


def server_address(connection: Connection, engine: DockerEngine) -> str:
    """libpq's ``host``: a name, an address, or a socket's folder. Raises :class:`Trouble` or :class:`Unreachable`."""
    if connection.address:
        return connection.address
    match connection.host:
        case Local():
            return _default_socket(connection.port)
        case Docker() | Compose():
            return _container_address(connection.host, engine)
        case Ssh():
            raise not_built(f"SQL through {connection.host}", "Forward a port by hand, and write `address` and `port`.")


def _default_socket(port: int) -> str:
    for folder in SOCKET_FOLDERS:
        if (Path(folder) / f".s.PGSQL.{port}").exists():
            return folder
    return SOCKET_FOLDERS[0]


def _container_address(host: Docker | Compose, engine: DockerEngine) -> str:
    fix = "Write `address` (and `port`) of the system in the environment: one that is reached from this machine."
    if not sys.platform.startswith("linux"):
        raise trouble("E315", _SUMMARY, "A container's own address is reached on Linux only.", fix)
    container = engine.one(host)
    if not engine.is_here:
        raise trouble("E315", _SUMMARY, f"{host} is on a Docker Engine of another machine.", fix)
    asked(container.reload)
    if container.status != "running":
        detail = f"The container {container.name} is {container.status}, not running."
        fix = f"docker start {container.name}    # docker logs {container.name}"
        raise Absent(Problem("E315", _SUMMARY, detail, fix))
    networks = container.attrs.get("NetworkSettings", {}).get("Networks") or {}
    if "host" in networks:
        return "127.0.0.1"
    found = {name: one["IPAddress"] for name, one in networks.items() if one.get("IPAddress")}
    if not found:
        raise trouble("E315", _SUMMARY, f"The container {container.name} is on no network with an address.", fix)
    if len(found) > 1:
        listed = ", ".join(f"{name}: {address}" for name, address in sorted(found.items()))
        raise trouble("E315", _SUMMARY, f"The container {container.name} is on several networks ({listed}).", fix)
    return str(next(iter(found.values())))
