"""Where a WAL archive lies: whether it would be lost with the server, and whether the server's account may write there.

Owns the reads of the archive's directory and what is said against it. Promises: links are followed before places are compared; a
directory of a container counts as safe only on a mount.
"""

from __future__ import annotations

from dataclasses import dataclass

from runbook.action import Look
from runbook.errors import Problem
from runbook.host import Compose, Docker, Host
from runbook.system import Postgres

_WRITE_AND_ENTER = 0o3


@dataclass(frozen=True, slots=True)
class ArchivePlace:
    """The archive's directory as seen. ``lost_with``: what it would be gone with, in words; '' where it lies safely.

    ``denied``: why the server's account can't write there; '' where it may, or where only that account can tell.
    """

    directory: str
    exists: bool
    lost_with: str = ""
    denied: str = ""
    notes: tuple[str, ...] = ()


def read_archive_place(look: Look, db: Postgres, directory: str, data: str) -> ArchivePlace:
    """Look at the directory, whether it exists or not; ``data`` is the cluster's own."""
    found = look.file(db.host, directory)
    if found is not None and found.kind == "link":
        found = look.file(db.host, _real(look, db.host, directory))
    own = look.file(db.host, _real(look, db.host, data))
    denied, notes = "", []
    if found is not None and found.kind != "directory":
        denied = f"{directory} is a {found.kind}."
    elif found is not None and own is not None:
        bits = found.mode >> 6 if found.owner == own.owner else found.mode | found.mode >> 3
        if bits & _WRITE_AND_ENTER != _WRITE_AND_ENTER and own.owner not in ("root", "0", ""):
            denied = f"{directory} belongs to {found.owner}, mode {found.mode:04o}; the server runs as {own.owner}."
        if found.device == own.device:
            notes.append(f"{directory} and {data} are on one file system: a disk that fails takes both.")
    return ArchivePlace(
        directory=directory,
        exists=found is not None,
        lost_with=_lost_with(look, db.host, _real(look, db.host, directory), _real(look, db.host, data)),
        denied=denied,
        notes=tuple(notes),
    )


def unsafe(place: ArchivePlace) -> list[Problem]:
    """What is to be said against the place."""
    if not place.lost_with:
        return []
    fix = "Choose a directory of another disk; in a container, mount one there, and create the container anew."
    return [Problem("E650", "the WAL archive would be lost with the server", place.lost_with, fix)]


def denied(place: ArchivePlace, owner: str) -> list[Problem]:
    """What keeps the server's account from writing there, as far as modes tell."""
    if not place.denied:
        return []
    fix = f"chown {owner} {place.directory} && chmod 0700 {place.directory}    # on the server's host"
    return [Problem("E653", "the server's account can't write into the archive", place.denied, fix)]


def _real(look: Look, host: Host, path: str) -> str:
    """The path without links; as it is where it can't be followed (it does not exist yet)."""
    ran = look.run(host, ("readlink", "-f", path))
    return ran.stdout.rstrip("\n") if ran.exit_code == 0 and ran.stdout.startswith("/") else path


def _lost_with(look: Look, host: Host, directory: str, data: str) -> str:
    if f"{directory}/".startswith(f"{data}/"):
        return f"{directory} lies inside the data directory {data}: a restore of one replaces the other."
    container = look.container(host) if isinstance(host, Docker | Compose) else None
    if container is None:
        return ""
    mounts = {path.rstrip("/"): source for source, _, path in (one.rpartition(":") for one in container.mounts)}
    holding = [path for path in mounts if f"{directory}/".startswith(f"{path}/")]
    if not holding:
        return (
            f"{directory} lies in the container {container.name} itself, on no volume: it is gone with the container."
        )
    if not mounts[max(holding, key=len)]:
        return f"{directory} of {container.name} lies in memory: it is gone when the container stops."
    return ""
