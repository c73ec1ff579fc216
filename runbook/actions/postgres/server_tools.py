"""The programs of a PostgreSQL server, as the account that owns its data calls them."""

from __future__ import annotations

from dataclasses import dataclass

from runbook.host import Host
from runbook.operation import Arg, Process


@dataclass(frozen=True, slots=True)
class Tools:
    """How the server's programs are called: their folder ('' = the PATH), host, the account that owns the data."""

    folder: str
    host: Host
    owner: str

    def program(self, name: str) -> str:
        """The path of a program."""
        return f"{self.folder.rstrip('/')}/{name}" if self.folder else name

    def run(self, name: str, *argv: Arg, daemon: str = "", reads: bool = False) -> Process:
        """A process of the data's owner. ``daemon``: why it may leave one behind ('' = it may not)."""
        return Process(name=name, argv=argv, host=self.host, user=self.owner, cwd="/", daemon=bool(daemon), reads=reads)
