"""Gathering on this machine: versions, the state directory, plans' modes, the clock, the Docker Engine's socket.

Acts, and only reads. Promises: nothing is written, made or started; no heavy library is loaded; what can't be read is told as such.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from runbook.doctor.facts import (
    UNKNOWN,
    Clock,
    Engine,
    Filter,
    Library,
    PlanFile,
    Python,
    StateDirectory,
)
from runbook.errors import Problem, RunbookError
from runbook.journal.layout import refuse_network, refuse_unsafe, runs

LIBRARIES = ("jinja2", "ruamel.yaml.clib", "pydantic", "psycopg", "boto3", "docker", "networkx")
ENGINE_ANSWERS_WITHIN_S = 5.0
_DEFAULT_ENGINE = "unix:///var/run/docker.sock"
_PING = b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n"
_MOUNTS = Path("/proc/self/mountinfo")
_ID_SECONDS = "%Y%m%d-%H%M%S"
_ID_LENGTH = 15


@dataclass(frozen=True, slots=True)
class Started:
    """Both clocks at the beginning of a look, in seconds; :meth:`read` compares them at its end."""

    wall_s: float
    monotonic_s: float

    @classmethod
    def now(cls) -> Started:
        """This moment."""
        return cls(time.time(), time.monotonic())

    def read(self, state: Path) -> Clock:
        """The clock, by how much it was set since then, and when the newest run says that it began."""
        stepped = (time.time() - self.wall_s) - (time.monotonic() - self.monotonic_s)
        return Clock(datetime.now(UTC), stepped, _newest_run(state))


def python() -> Python:
    """The interpreter that runs this."""
    import tarfile

    if not hasattr(tarfile, "data_filter"):
        kind = Filter.ABSENT
    else:
        # the change that mended CVE-2025-4517 brought this name, also where a distribution took it over alone
        kind = Filter.MENDED if hasattr(tarfile, "LinkFallbackError") else Filter.HOLED
    return Python((sys.version_info.major, sys.version_info.minor, sys.version_info.micro), kind)


def libraries() -> tuple[Library, ...]:
    """The versions of what is installed, without loading it."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in LIBRARIES:
        try:
            found.append(Library(name, version(name)))
        except PackageNotFoundError:
            found.append(Library(name, ""))
    return tuple(found)


def user() -> int:
    """Whose process this is (effective user id)."""
    return os.geteuid()


def state_directory(path: Path) -> StateDirectory:
    """The directory of runs, or of what would hold it; never made here."""
    problem = _refusal(path)
    found: os.stat_result | None
    try:
        found = path.stat()
    except OSError:
        found = None
    holder = _nearest(path)
    return StateDirectory(
        path=str(path),
        there=found is not None,
        mode=stat.S_IMODE(found.st_mode) if found else 0,
        owner=found.st_uid if found else user(),
        writable=_writable(holder),
        free_bytes=_free(holder),
        problem=problem,
    )


def plan_files(paths: Iterable[Path]) -> tuple[PlanFile, ...]:
    """The plans' files and their directories, each once."""
    return tuple(_files(paths))


def engine() -> Engine:
    """The Docker Engine's own word through its socket; nothing of the SDK is loaded for it."""
    address = os.environ.get("DOCKER_HOST") or _DEFAULT_ENGINE
    scheme, _, place = address.partition("://")
    if scheme not in ("unix", "tcp", "http"):
        return Engine(address, there=False, answered=False, problem=f"runbook doesn't look through {scheme}://")
    there = scheme != "unix" or Path(place).exists()
    try:
        with _connected(scheme, place) as line:
            line.sendall(_PING)
            status = line.recv(64)
    except (OSError, ValueError) as error:
        return Engine(address, there, answered=False, problem=getattr(error, "strerror", "") or str(error))
    ok = b" 200 " in status
    said = status.decode(errors="replace").partition("\r\n")[0]
    return Engine(address, there, ok, "" if ok else f"it answered {said!r}")


def _connected(scheme: str, place: str) -> socket.socket:
    if scheme == "unix":
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.settimeout(ENGINE_ANSWERS_WITHIN_S)
        try:
            line.connect(place)
        except OSError:
            line.close()
            raise
        return line
    host, _, port = place.partition("/")[0].rpartition(":")
    return socket.create_connection((host, int(port)), ENGINE_ANSWERS_WITHIN_S)


def _refusal(path: Path) -> Problem | None:
    """What `runbook apply` would refuse the directory for."""
    checks: tuple[Callable[[], None], ...] = (
        lambda: refuse_unsafe(path),
        lambda: refuse_network(path, _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")),
    )
    for check in checks:
        try:
            check()
        except RunbookError as error:
            return error.problems[0]
        except OSError:
            continue
    return None


def _nearest(path: Path) -> Path:
    """The path, or the nearest of its parents that is there."""
    for place in (path, *path.parents):
        with contextlib.suppress(OSError):
            if place.exists():
                return place
    return Path("/")


def _writable(path: Path) -> bool:
    """As the kernel would decide: a read-only file system counts, also for root."""
    return os.access(path, os.W_OK | os.X_OK)


def _free(path: Path) -> int:
    try:
        found = os.statvfs(path)
    except OSError:
        return UNKNOWN
    return found.f_bavail * found.f_frsize


def _files(paths: Iterable[Path]) -> Iterator[PlanFile]:
    for place in dict.fromkeys(each for path in paths for each in (path, path.resolve().parent)):
        with contextlib.suppress(OSError):
            mode = place.stat().st_mode
            sticky = stat.S_ISDIR(mode) and bool(mode & stat.S_ISVTX)
            yield PlanFile(str(place), stat.S_IMODE(mode), sticky)


def _newest_run(state: Path) -> datetime | None:
    try:
        names = [run.run[:_ID_LENGTH] for run in runs(state)]
    except RunbookError:
        return None
    try:
        return datetime.strptime(max(names), _ID_SECONDS).replace(tzinfo=UTC) if names else None
    except ValueError:
        return None
