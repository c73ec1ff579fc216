"""What can go wrong with the sandbox, said with the next command.

Owns :class:`SandboxError` and the sentence that follows a server which didn't come up: the end of its log. Promises: no
text made here holds a password (servers are given theirs in files and environment variables, and don't log them).
"""

from __future__ import annotations

from pathlib import Path

from runbook.errors import Problem, RunbookError

LOG_TAIL_LINES = 12
LOG_TAIL_BYTES = 8_192


class SandboxError(RunbookError):
    """A part of the embedded stack can't be found, made, started or ended (exit 1)."""

    def __init__(self, code: str, summary: str, detail: str, fix: str) -> None:
        super().__init__(Problem(code, summary, detail, fix))


def log_tail(log: Path) -> str:
    """The last lines of a server's log, at most 12 lines and 8 KiB; a sentence where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    except FileNotFoundError:
        lines = []
    return "\n".join([f"end of {log}:", *lines]) if lines else f"{log} is empty"
