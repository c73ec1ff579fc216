"""Asking a Redis or Valkey server whether it is there: one line of its protocol over a socket.

Acts, and only reads. Promises: AUTH and PING are all that is sent; a password goes to the server alone.
"""

from __future__ import annotations

import socket

from runbook.action import Look, Unreachable
from runbook.errors import Problem
from runbook.host import Compose, Docker
from runbook.system import Redis
from runbook.transports.secrets import SecretStore

_HERE = "127.0.0.1"


def ask(server: Redis, look: Look, secrets: SecretStore, *, within_s: float) -> str:
    """What it said, in words. Raises :class:`~runbook.action.Unreachable`, and Trouble for a secret that can't be read."""
    address = _address(server, look)
    lines = [b"PING\r\n"]
    if server.password is not None:
        secret = secrets.reveal(server.password).reveal().encode()
        lines.insert(0, b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n" % (len(secret), secret))
    try:
        with socket.create_connection((address, server.port), within_s) as line, line.makefile("rb") as answers:
            said = b""
            for one in lines:
                line.sendall(one)
                said = answers.readline(512)
                if not said.startswith(b"+"):
                    break
    except OSError as error:
        detail = f"{address}:{server.port}: {error.strerror or error}"
        raise _silent(detail, f"redis-cli -h {address} -p {server.port} PING") from None
    if said.startswith(b"+PONG"):
        return "answers"
    words = said.decode(errors="replace").strip().lstrip("-") or "it closed the connection"
    raise _silent(f"{address}:{server.port}: {words}", "is `password` right?")


def _address(server: Redis, look: Look) -> str:
    if server.address or not isinstance(server.host, Docker | Compose):
        return server.address or _HERE
    found = look.container(server.host)
    if found is None or found.state != "running" or not found.address:
        what = (
            "is not there"
            if found is None
            else f"is {found.state}"
            if found.state != "running"
            else "has no one address"
        )
        raise _silent(f"The container {server.host} {what}.", "docker ps -a    # or write `address`")
    return found.address


def _silent(detail: str, fix: str) -> Unreachable:
    return Unreachable(Problem("E957", "a system does not answer", detail, fix))
