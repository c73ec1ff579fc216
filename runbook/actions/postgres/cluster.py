"""The directories of a cluster and of its copy: what is there, whether a server runs in it, and how far a recovery is.

Owns the reads of files that ``postgres.restore_to_time`` rests on, and the table from directories to what remains
(:func:`stage_of`). Promises: nothing of it needs a running server; a lock file counts as a running server only if a process of
PostgreSQL with that id was started when the file says so.

============  ==========================  ============  ===================================================
data          side                        old           remaining
============  ==========================  ============  ===================================================
as it was     –                           –             everything
as it was     has a signal file           –             recovery (again or further), then what follows it
as it was     promotion cut off           –             remove the copy, then everything
as it was     promoted                    –             stop both, archive the history, swap
–             promoted                    as it was     the second rename, start
another       –                           as it was     start, if it doesn't run
============  ==========================  ============  ===================================================

On a new machine, where nothing was, "as it was" means absent, and so does "old" once another one is in its place.

The signal file (``recovery.signal``; ``standby.signal`` where the end of the archive is the target) is written before the side
directory gets its name, and the server removes it when it is promoted: first of all, and only then are the new timeline and the
end of recovery written (StartupXLOG). A server that ends in between leaves a directory that, started again, replays all the WAL
that it has, past the target. Its control file tells: still in recovery.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from dataclasses import dataclass, replace
from enum import StrEnum

from runbook.action import FileFacts, Look, Undecidable
from runbook.actions.postgres.wal import SEGMENT_BYTES
from runbook.errors import Problem, Refused
from runbook.host import Host

TICKS_PER_S = 100
"""USER_HZ: the unit of times in /proc, 100 on every Linux that PostgreSQL runs on."""
PROGRAMS = ("postgres", "postmaster")
"""What the server's process is called."""
IN_RECOVERY = ("in archive recovery", "shut down in recovery")
"""What the control file says of a server that was never promoted."""
PRODUCTION = "in production"
SIGNALS = ("recovery.signal", "standby.signal")
"""What tells a server to recover; the second makes it wait at the end of the archive. It removes its own when it is promoted."""
NOTHING_THERE = 0
"""Stands for the inode of a data directory that was not there."""
SLACK_S = 60.0
"""How far the start of a process and the time in its lock file may differ: the clock may have been set since boot."""

_BOOTED = re.compile(r"^btime (\d+)$", re.MULTILINE)
_CONTROL = re.compile(r"^([^:]+):\s+(.*)$", re.MULTILINE)


class Server(StrEnum):
    """Whether a server runs in a directory; STALE: its lock file was left behind."""

    RUNNING = "running"
    STALE = "stale"
    STOPPED = "stopped"


class Stage(StrEnum):
    """How far it is, as the directories tell."""

    NOTHING = "nothing"
    RECOVERING = "recovering"
    CUT_OFF = "cut_off"
    PROMOTED = "promoted"
    HALF_SWAPPED = "half_swapped"
    SWAPPED = "swapped"


@dataclass(frozen=True, slots=True)
class Paths:
    """Where everything is. ``run`` holds the side cluster's socket, access file and log."""

    data: str
    side: str
    partial: str
    old: str
    run: str


@dataclass(frozen=True, slots=True)
class Place:
    """A data directory. ``signal``: it has a recovery.signal or standby.signal. ``cut_off``: neither that nor its end."""

    inode: int
    device: int
    owner: str
    server: Server
    signal: bool
    cut_off: bool = False


@dataclass(frozen=True, slots=True)
class Control:
    """What pg_controldata says: the cluster's identifier, timeline, state, and the size of its WAL segments."""

    identifier: str
    timeline: int
    state: str
    segment_bytes: int = SEGMENT_BYTES


@dataclass(frozen=True, slots=True)
class Directories:
    """All directories at one look; ``original_inode`` is the data directory's before anything was done."""

    data: Place | None
    side: Place | None
    old: Place | None
    partial: bool
    run: bool
    original_inode: int


def paths(data: str, own: str) -> Paths:
    """Names beside the data directory, so that a rename stays on its file system. ``own`` carries the run's name."""
    beside = posixpath.dirname(data)
    return Paths(data, f"{data}.{own}", f"{data}.{own}.partial", f"{data}.old_{own}", f"{beside}/{own}")


def read_place(look: Look, host: Host, path: str) -> Place | None:
    """The data directory ``path``, or None where it isn't; refuses a link, whose rename would move the wrong thing."""
    found = look.file(host, path)
    if found is None:
        return None
    if found.kind != "directory":
        raise Refused(
            Problem(
                "E780",
                "the data directory is not a directory",
                f"{path} is a {found.kind}.",
                "Write the real path as `data_directory` of the system.",
            )
        )
    return Place(found.inode, found.device, found.owner, read_server(look, host, path), _has(look, host, path))


def _has(look: Look, host: Host, path: str) -> bool:
    return any(look.file(host, f"{path}/{name}") is not None for name in SIGNALS)


def read_server(look: Look, host: Host, path: str) -> Server:
    """Whether the process that the lock file names exists and was started when the file says (manual, postmaster.pid)."""
    lock = look.text(host, f"{path}/postmaster.pid")
    lines = (lock or "").splitlines()
    if len(lines) < 3 or not lines[0].lstrip("-").isdecimal() or not lines[2].strip().isdecimal():
        return Server.STOPPED if lock is None else Server.STALE
    pid, started = lines[0].lstrip("-"), int(lines[2])
    process = look.text(host, f"/proc/{pid}/stat")
    if process is None:
        return Server.STALE
    name, _, rest = process.partition("(")[2].rpartition(")")
    words = rest.split()
    booted = _BOOTED.search(look.text(host, "/proc/stat") or "")
    if len(words) < 20 or booted is None:
        return Server.RUNNING  # there is such a process; that it is another one can't be shown
    born = int(booted[1]) + int(words[19]) / TICKS_PER_S
    same = name in PROGRAMS and words[0] not in ("Z", "X") and abs(born - started) <= SLACK_S
    return Server.RUNNING if same else Server.STALE


def read_options(look: Look, host: Host, path: str) -> tuple[str, tuple[str, ...]]:
    """The program and the options with which the directory's server was started last, without its ``-D``."""
    words = shlex.split(look.text(host, f"{path}/postmaster.opts") or "")
    if not words:
        return "", ()
    program, options, rest = words[0], [], iter(words[1:])
    for word in rest:
        if word in ("-D", "--pgdata"):
            next(rest, None)
        elif not word.startswith(("-D", "--pgdata=")):
            options.append(word)
    return program, tuple(options)


def read_control(look: Look, host: Host, program: str, path: str) -> Control:
    """The cluster's control file; refuses where it can't be read."""
    ran = look.run(host, (program, "-D", path))
    found = {key.strip(): value.strip() for key, value in _CONTROL.findall(ran.stdout)}
    timeline = found.get("Latest checkpoint's TimeLineID", "")
    if ran.exit_code or not timeline.isdecimal():
        raise Refused(
            Problem(
                "E781",
                "the cluster's control file can't be read",
                f"`{program} -D {path}`: {(ran.stderr or ran.stdout).strip()}",
                "Set `binaries` of the system to the server's programs of the right version.",
            )
        )
    size = found.get("Bytes per WAL segment", "")
    return Control(
        found["Database system identifier"],
        int(timeline),
        found["Database cluster state"],
        int(size) if size.isdecimal() else SEGMENT_BYTES,
    )


def read_end(look: Look, host: Host, program: str, path: str, place: Place | None) -> Place | None:
    """The place, with whether its promotion was cut off; while a server runs there, that can't be told yet."""
    if place is None or place.signal or place.server is Server.RUNNING:
        return place
    return replace(place, cut_off=read_control(look, host, program, path).state in IN_RECOVERY)


def stage_of(found: Directories, where: Paths) -> Stage:
    """How far it is; raises :class:`Undecidable` for what no run of this step leaves behind."""
    data, side, old, original = found.data, found.side, found.old, found.original_inode
    untouched = data.inode == original if data is not None else original == NOTHING_THERE
    aside = old is not None and old.inode == original
    promoted = side is not None and not side.signal and not side.cut_off
    if untouched and old is None:
        if side is None:
            return Stage.NOTHING
        if side.cut_off:
            return Stage.CUT_OFF
        return Stage.PROMOTED if promoted else Stage.RECOVERING
    if aside and data is None and promoted:
        return Stage.HALF_SWAPPED
    kept = aside or (original == NOTHING_THERE and old is None)
    if kept and data is not None and not untouched and side is None:
        return Stage.SWAPPED
    raise Undecidable(
        Problem(
            "E782",
            "the directories are in a state that this step does not leave",
            f"{where.data}: {_told(data, original)}; {where.side}: {_told(side, original)}; "
            f"{where.old}: {_told(old, original)}.",
            "Look at them (ls -lid), put the names right by hand, then `runbook resolve` the step.",
        )
    )


def _told(place: Place | None, original: int) -> str:
    if place is None:
        return "absent"
    which = "the one from the start" if place.inode == original else "another one"
    return f"{which} (inode {place.inode}{', recovery.signal' if place.signal else ''}, server {place.server.value})"


def is_mount(look: Look, host: Host, place: Place, path: str) -> bool:
    """Whether the directory is a file system of its own, and so can't be renamed."""
    parent: FileFacts | None = look.file(host, posixpath.dirname(path))
    return parent is not None and parent.device != place.device
