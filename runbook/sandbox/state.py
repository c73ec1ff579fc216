"""What the sandbox remembers between commands: ports, processes, versions.

Owns ``state.json`` (0600). Promises: it is replaced whole (written beside, synced, renamed), so a reader finds either
the old state or the new one.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from runbook.sandbox.error import SandboxError
from runbook.sandbox.process import ProcessId

FORMAT = 1


@dataclass(frozen=True, slots=True)
class State:
    """Ports by name, the process and the version of each part by its name."""

    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, ProcessId] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def with_ports(self, ports: dict[str, int]) -> State:
        """The state with these ports added or replaced."""
        return replace(self, ports=self.ports | ports)

    def with_process(self, part: str, process: ProcessId) -> State:
        """The state with a part's process."""
        return replace(self, processes=self.processes | {part: process})

    def without_process(self, part: str) -> State:
        """The state without a part's process, which was shown to have ended."""
        return replace(self, processes={name: one for name, one in self.processes.items() if name != part})

    def with_version(self, part: str, version: str) -> State:
        """The state with a part's version, as the running server said it."""
        return replace(self, versions=self.versions | {part: version})


def load(path: Path) -> State:
    """The state in ``path``; an empty one if there is none. Raises :class:`SandboxError` if it can't be understood."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return State()
    try:
        body = json.loads(text)
        if body["sandbox"] != FORMAT:
            raise ValueError(f"format {body['sandbox']!r}, expected {FORMAT}")  # noqa: TRY301 - one way to say unreadable
        return State(
            {str(name): int(port) for name, port in body["ports"].items()},
            {
                str(name): ProcessId(int(one["pid"]), int(one["started_ticks"]), str(one["boot"]))
                for name, one in body["processes"].items()
            },
            {str(name): str(version) for name, version in body["versions"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise SandboxError(
            "SB03",
            "the sandbox's state can't be read",
            f"{path}: {fault!r}. It isn't known which processes belong to the sandbox.",
            f"end what still runs below {path.parent} (ps -ef), then delete that directory",
        ) from fault


def save(path: Path, state: State) -> None:
    """Replace the state."""
    body = {
        "sandbox": FORMAT,
        "ports": state.ports,
        "processes": {
            name: {"pid": one.pid, "started_ticks": one.started_ticks, "boot": one.boot}
            for name, one in state.processes.items()
        },
        "versions": state.versions,
    }
    write_private(path, json.dumps(body, indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Write a file that only the operator may read (0600), whole or not at all."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
