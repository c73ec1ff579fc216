"""Processes that outlive the command that started them, and that are ended by a proven identity only.

Owns starting a server detached, its identity (pid, start time, boot) and its end. Promises: an identity is on disk
before the server's program begins, so a process is never lost to a crash in between; a signal goes only to a process
whose start time is the recorded one; every wait has a bound.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from runbook.sandbox.account import Account

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_POLL_S = 0.02

_ANNOUNCE = f"""umask 077
IFS= read -r stat < "/proc/$$/stat" && IFS= read -r boot < {_BOOT_ID} && printf '%s\\n%s\\n' "$stat" "$boot" || exit 126
exec "$@" >&2
"""
"""A shell that writes who it is to its standard output (the record), then becomes the server: exec keeps pid and start
time. The server's own standard output joins its standard error, which is the log."""

_own: dict[int, subprocess.Popen[bytes]] = {}
"""Children of this very process, kept so that they can be reaped; servers outlive it, so mostly others start them."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process, for good: a pid is used again, a pid with its start time (clock ticks after boot) and boot isn't."""

    pid: int
    started_ticks: int
    boot: str


@dataclass(frozen=True, slots=True)
class Command:
    """What is started: ``argv`` (never a secret in it), the whole environment, the directory that it works in, and as
    whom it runs."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    account: Account


@dataclass(frozen=True, slots=True)
class Step:
    """One signal on the way down, and how long the process may take to follow it, in seconds."""

    signal: signal.Signals
    wait_s: float


def this_boot() -> str:
    """The kernel's identifier of this boot."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


def _stat_fields(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def identify(pid: int) -> ProcessId | None:
    """The identity of a process that lives at this moment; ``None`` if there is none, or only its remains."""
    child = _own.get(pid)
    if child is not None and child.poll() is not None:
        del _own[pid]
    fields = _stat_fields(pid)
    if fields is None or fields[0] in "ZX":
        return None
    return ProcessId(pid, int(fields[19]), this_boot())  # proc(5): field 22, counted from the state, field 3


def alive(process: ProcessId) -> bool:
    """Whether this very process, and not another with its pid, lives."""
    return identify(process.pid) == process


def since(process: ProcessId) -> datetime:
    """When the process was started, to about a second (the kernel counts from boot)."""
    boot_s = next(int(line.split()[1]) for line in Path("/proc/stat").read_text().splitlines() if line[:5] == "btime")
    return datetime.fromtimestamp(boot_s + process.started_ticks / os.sysconf("SC_CLK_TCK"), UTC)


def start(command: Command, *, record: Path, log: Path) -> ProcessId | None:
    """Start a server in a session of its own; ``None`` if it ended at once.

    ``record`` receives the identity before the program begins (see :func:`recorded`); ``log`` is appended to. Both are
    opened here, so they may lie where the server's account can't go.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with (
        os.fdopen(os.open(record, flags | os.O_TRUNC, 0o600), "wb") as out,
        os.fdopen(os.open(log, flags | os.O_APPEND, 0o600), "ab") as err,
    ):
        child = subprocess.Popen(
            ("/bin/sh", "-c", _ANNOUNCE, "sh", *command.argv),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=command.directory,
            env=dict(command.environment),
            start_new_session=True,
            user=command.account.uid,
            group=command.account.gid,
            extra_groups=command.account.groups,
        )
    _own[child.pid] = child
    return identify(child.pid)


def recorded(record: Path) -> ProcessId | None:
    """The identity that a server wrote into its record before it began; ``None`` if it never came to that."""
    try:
        lines = record.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return None
    if len(lines) != 2:
        return None
    return ProcessId(int(lines[0].split()[0]), int(lines[0].rpartition(")")[2].split()[19]), lines[1])


def end(process: ProcessId, steps: tuple[Step, ...]) -> signal.Signals | None:
    """End a process: each signal in turn, until it is gone. The signal that ended it; ``None`` if it had ended before.

    Raises ``TimeoutError`` if it survives the last step. The process is held by a file descriptor from before its
    start time is checked, so that no signal can reach a later process with the same pid.
    """
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    try:
        if not alive(process):
            return None
        for step in steps:
            signal.pidfd_send_signal(handle, step.signal)
            if select.select([handle], [], [], step.wait_s)[0]:
                identify(process.pid)  # reaps it, if it was a child of ours
                return step.signal
    finally:
        os.close(handle)
    raise TimeoutError(f"process {process.pid} survived {', '.join(step.signal.name for step in steps)}")


def workers_in(directory: Path) -> tuple[int, ...]:
    """The pids of the processes whose working directory is ``directory``, as far as this account may see them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() == directory:
                    found.append(int(entry.name))
            except OSError:  # gone meanwhile, a kernel thread, or somebody else's
                continue
    return tuple(found)


def wait_until(holds: Callable[[], bool], *, within_s: float) -> bool:
    """Ask every 20 ms until it holds; ``False`` when the time is up."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
