"""The Redis protocol server: a password, and data that stays."""

from __future__ import annotations

import socket

from runbook.sandbox.credentials import read
from runbook.sandbox.stack import Stack


def ask(stack: Stack, *lines: str) -> str:
    """Inline commands, and all that comes back until the server hangs up."""
    port = int(stack.status().part("valkey").address.rpartition(":")[2])
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall("".join(f"{line}\r\n" for line in (*lines, "QUIT")).encode())
        while chunk := connection.recv(4096):
            answer += chunk
    return answer.decode()


def test_nothing_without_the_password(shared: Stack) -> None:
    assert "NOAUTH" in ask(shared, "GET key")


def test_data_stays_over_down_and_up(stack: Stack) -> None:
    stack.up(lambda line: None)
    password = read(stack.layout.secret("valkey")).reveal()
    assert "+OK" in ask(stack, f"AUTH {password}", "SET sessions 42")
    stack.down(lambda line: None)
    assert (stack.layout.home("valkey") / "dump.rdb").read_bytes()[:6] in (b"VALKEY", b"REDIS0")
    stack.up(lambda line: None)
    assert "$2\r\n42" in ask(stack, f"AUTH {password}", "GET sessions")
