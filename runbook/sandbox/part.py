"""What every server of the sandbox is to the stack.

Owns the protocol :class:`Part` and the wait for a server that comes up. Promises: the stack needs to know nothing else
about a server; a server that ends while it is waited for is reported at once, with the end of its log.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runbook.sandbox.error import SandboxError, log_tail
from runbook.sandbox.process import Command, ProcessId, Step, alive

READY_S = 120.0
"""How long a server may take until it answers, in seconds; on an idle machine each takes one or two."""

_POLL_S = 0.03


class Part(Protocol):
    """One server. ``name`` is its word in ``status``, in ``state.json`` and in the names of its files."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def address(self) -> str:
        """Where it answers, as a person would write it."""

    @property
    def ending(self) -> tuple[Step, ...]:
        """The signals that end it, the gentlest first."""

    def prepare(self) -> None:
        """Make what it needs before it starts: files, a cluster. Finishes or remakes what an earlier try left half."""

    def command(self) -> Command:
        """How it is started."""

    def ready(self, wait: Wait) -> str:
        """Wait until it serves; its version."""

    def found(self) -> ProcessId | None:
        """The process that serves this part's data although another than the recorded one, if that can be proven."""

    def left(self) -> tuple[ProcessId, ...]:
        """Further processes that ``down`` has to end, after the part's own."""

    def cleared(self) -> bool:
        """Tidy up after its processes ended; ``False`` if something of it still runs after a bounded wait."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The wait for one server: its process, its log."""

    part: str
    process: ProcessId
    log: Path

    def until(self, serves: Callable[[], bool]) -> None:
        """Ask until it serves, at most 30 s. Raises :class:`SandboxError` if it ends, or the time is up."""
        deadline = time.monotonic() + READY_S
        while not serves():
            if not alive(self.process):
                raise self._fault(f"{self.part} ended while it was starting.")
            if time.monotonic() > deadline:
                raise self._fault(f"{self.part} (process {self.process.pid}) didn't answer within {READY_S:.0f} s.")
            time.sleep(_POLL_S)

    def _fault(self, detail: str) -> SandboxError:
        return not_started(detail, self.log)


def not_started(detail: str, log: Path) -> SandboxError:
    """The error for a server that didn't come up."""
    return SandboxError(
        "SB04",
        "a server of the sandbox didn't start",
        f"{detail}\n{log_tail(log)}",
        "`runbook sandbox up` tries again and keeps what is there; `runbook sandbox down` ends what runs",
    )


def environment(home: Path, **more: str) -> dict[str, str]:
    """The whole environment of a server: a path, a locale, a home, and what it alone needs. Nothing is inherited."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "HOME": str(home), **more}
