"""The far-side worker, seen from here: its script, its argv, its header, and what it answers.

``worker.sh`` runs a process in a container or over SSH and keeps its records there. Promises: no secret is in an argv; all
that is secret goes through the header, which the process that carries standard input writes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

NAME = "runbook-worker"
CANNOT_RUN = 125
"""The worker's own exit code: it ran nothing, and says why on standard error."""
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:,@=+-")


@cache
def script() -> str:
    """The text of ``subreaper.sh`` and ``worker.sh``, as one script."""
    return "".join(Path(__file__).with_name(name).read_text() for name in ("subreaper.sh", "worker.sh"))


def folder(run: str, uid: int) -> str:
    """Where the records of a run lie on the far side; a folder of that user alone."""
    return f"/tmp/.runbook-{uid}/{run}"  # noqa: S108 - the worker refuses it unless it is its user's own


def users_argv() -> tuple[str, ...]:
    """Ask which users keep records there, whatever run's; any user may."""
    return ("sh", "-c", 'cd /tmp && for one in .runbook-*; do echo "$one"; done', NAME)


def parse_users(text: str) -> tuple[int, ...]:
    """Their ids, in order."""
    found = (line.removeprefix(".runbook-") for line in text.splitlines())
    return tuple(sorted({int(uid) for uid in found if uid.isascii() and uid.isdecimal()}))


def run_argv(records: str, operation: str, argv: tuple[str, ...]) -> tuple[str, ...]:
    """Run ``argv`` on the far side. Its standard input begins with a :func:`header`."""
    return ("sh", "-c", script(), NAME, "run", records, operation, "--", *argv)


def status_argv(records: str, operation: str) -> tuple[str, ...]:
    """Ask what is known of an operation; changes nothing."""
    return ("sh", "-c", script(), NAME, "status", records, operation)


def fence_argv(records: str, operation: str) -> tuple[str, ...]:
    """Ask the same and make *never started* final: a worker that comes later executes nothing."""
    return ("sh", "-c", script(), NAME, "fence", records, operation)


def kill_argv(records: str, operation: str, grace_s: float) -> tuple[str, ...]:
    """End an operation and what descends from it; returns when nothing is left (exit 1: something is)."""
    return ("sh", "-c", script(), NAME, "kill", records, operation, str(round(grace_s)))


def sweep_argv(records: str) -> tuple[str, ...]:
    """Remove the records of what has ended; at the end of a run."""
    return ("sh", "-c", script(), NAME, "sweep", records)


def header(
    env: Mapping[str, str], *, files: Mapping[str, str] | None = None, cwd: str | None = None, umask: int | None = None
) -> str:
    """What has to precede the process's own input: variables, secret files by variable, folder, umask."""
    lines = [f"env {name} {_escape(value)}" for name, value in env.items()]
    lines += [f"file {name} {_escape(content)}" for name, content in (files or {}).items()]
    lines += [f"folder - {_escape(cwd)}"] if cwd is not None else []
    lines += [f"umask - {umask:04o}"] if umask is not None else []
    return "\n".join([f"runbook-header-1 {len(lines)}", *lines, ""])


def _escape(value: str) -> str:
    """Every byte that isn't plain as ``\\0ooo``, which ``printf %b`` of every shell gives back."""
    if "\0" in value:
        raise ValueError("a value for the far side holds a NUL")
    return "".join(chr(byte) if byte in _PLAIN else f"\\0{byte:03o}" for byte in value.encode())


@dataclass(frozen=True, slots=True)
class NeverStarted:
    """It was not executed there."""


@dataclass(frozen=True, slots=True)
class Running:
    """It lives, under that pid of the far side."""

    pid: int


@dataclass(frozen=True, slots=True)
class Finished:
    """It ended with that code (128 and a signal's number, for a signal)."""

    code: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """It was executed, lives no more, and nobody saw how it ended (its worker was killed, or the machine restarted)."""


FarState: TypeAlias = NeverStarted | Running | Finished | Unknown


def parse_status(text: str) -> FarState:
    """The worker's answer, understood. ``ValueError`` for anything else."""
    match text.split():
        case ["never-started"]:
            return NeverStarted()
        case ["running", pid] if pid.isdigit():
            return Running(int(pid))
        case ["ended", code] if code.isdigit():
            return Finished(int(code))
        case ["unknown"]:
            return Unknown()
    raise ValueError(f"not an answer of the worker: {text[:100]!r}")
