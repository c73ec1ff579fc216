"""Servers of this machine by the directory that they work in, whoever started them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tests.evidence.witness import until

GONE_WITHIN_S = 60.0


def at_work_in(folder: Path) -> dict[int, Path]:
    """Living processes that work in a directory below the folder, each with that: a server's own work in its data directory."""
    found: dict[int, Path] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                works = (entry / "cwd").readlink()
                if works.is_relative_to(folder):
                    found[int(entry.name)] = works
    return found


def postmaster_in(data: Path) -> int:
    """The process id of the server that lives in a data directory; 0: none does.

    One that was killed may still be seen at work there for a moment, without the memory that its environment was in.
    """
    pid = posted_in(data)
    try:
        lives = bool(Path(f"/proc/{pid}/environ").read_bytes())
    except OSError:
        return 0
    return pid if lives and pid in at_work_in(data) else 0


def posted_in(data: Path) -> int:
    """The process id that the newest server of a data directory wrote down, living or not; 0: none did."""
    try:
        return int((data / "postmaster.pid").read_text().split()[0])
    except (FileNotFoundError, IndexError):
        return 0


def gone_from(folder: Path) -> None:
    """Wait until nothing works there any more: the children of a killed server take a moment."""
    until(lambda: not at_work_in(folder), GONE_WITHIN_S, f"no process works in {folder}: {at_work_in(folder)}")


def buried(folder: Path, before: Iterable[int]) -> None:
    """Wait until those that worked in the folder before and were killed are gone altogether.

    For a server that starts, one whose end nobody has yet taken note of (a zombie) is one that runs.
    """
    dead = [Path(f"/proc/{pid}") for pid in set(before) - {0, *at_work_in(folder)}]
    until(lambda: not any(one.exists() for one in dead), GONE_WITHIN_S, f"the killed are gone: {dead}")


def end_all_in(folder: Path) -> None:
    """End every server of a directory below the folder, by process id."""
    for pid in at_work_in(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
    gone_from(folder)
