"""A server that speaks the Redis protocol: Valkey, with a password and snapshots.

Owns its configuration file and the few words of protocol that ask whether it serves. Promises: the password stands in
the configuration file (0600, the server's account) and in no argv.
"""

from __future__ import annotations

import re
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from runbook.sandbox.credentials import mint, read
from runbook.sandbox.layout import Layout
from runbook.sandbox.part import Wait, environment
from runbook.sandbox.ports import LOOPBACK
from runbook.sandbox.process import Command, ProcessId, Step

_ANSWER_MAX_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Valkey:
    """The server in ``layout``, run from ``program`` on ``port``."""

    layout: Layout
    program: Path
    port: int

    name = "valkey"
    ending = (Step(signal.SIGTERM, 30.0), Step(signal.SIGKILL, 30.0))  # TERM saves a snapshot before it ends

    @property
    def home(self) -> Path:
        """Its data directory."""
        return self.layout.home(self.name)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def password_file(self) -> Path:
        """The password."""
        return self.layout.secret(self.name)

    def prepare(self) -> None:
        """Write the configuration."""
        settings = (
            f"bind {LOOPBACK}",
            f"port {self.port}",
            "protected-mode yes",
            f"requirepass {mint(self.password_file).reveal()}",
            "dir ./",
            "dbfilename dump.rdb",
            "save 300 1",
            "daemonize no",
        )
        file = self.home / "valkey.conf"
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_text("\n".join(settings) + "\n", encoding="utf-8")
        self.layout.account.give(file, 0o600)

    def command(self) -> Command:
        """The server, in its data directory."""
        return Command((str(self.program), "./valkey.conf"), environment(self.home), self.home, self.layout.account)

    def ready(self, wait: Wait) -> str:
        """Wait until it lets us in and has loaded its snapshot; its version."""
        answer: list[str] = []

        def serves() -> bool:
            answer[:] = [self._info()]
            return "valkey_version:" in answer[0] and "loading:0" in answer[0]

        wait.until(serves)
        match = re.search(r"valkey_version:(\S+)", answer[0])
        return match[1] if match else ""

    def found(self) -> ProcessId | None:
        """Nobody but the stack starts it."""
        return None

    def left(self) -> tuple[ProcessId, ...]:
        """Nothing but the server itself."""
        return ()

    def cleared(self) -> bool:
        """It leaves nothing."""
        return True

    def _info(self) -> str:
        """What it answers to ``INFO``, or nothing; RESP arrays of bulk strings, see "Redis serialization protocol"."""
        words = (("AUTH", read(self.password_file).reveal()), ("INFO",), ("QUIT",))
        request = "".join(
            f"*{len(line)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in line) for line in words
        )
        answer = b""
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=2) as connection:
                connection.sendall(request.encode())
                while len(answer) < _ANSWER_MAX_BYTES and (chunk := connection.recv(16_384)):
                    answer += chunk
        except OSError:
            return ""
        return answer.decode(errors="replace")
