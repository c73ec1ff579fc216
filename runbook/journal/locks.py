"""Locks between processes of one machine: on a run, and on the targets of a run.

Owns ``flock`` (never ``lockf``: that one is lost when any descriptor of the file is closed). Promises that a lock is never
waited for, that it ends with the process that holds it (close-on-exec, so that a daemon that a step starts can't keep
it), and that who comes second is told who holds it and since when. An exclusive holder writes itself into the file;
shared holders are many and write nothing.
"""

from __future__ import annotations

import errno
import fcntl
import getpass
import hashlib
import json
import os
import socket
import stat
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Final, Self

from runbook.errors import Busy, JournalFault, Problem, Refused
from runbook.units import parse_instant, show_instant

_LOOKS: Final = 5
_LOOKS_FOR_A_NAME: Final = 100
_PAUSE_S: Final = 0.01
"""Between two looks for a name: a second in all, in which the winner of a race has signed on a machine that is busy, too."""
_OWNER_BYTES: Final = 4096


class Mode(Enum):
    """Exclusive for what a step changes, shared for what it reads."""

    EXCLUSIVE = fcntl.LOCK_EX
    SHARED = fcntl.LOCK_SH


@dataclass(frozen=True, slots=True)
class LockOwner:
    """Who holds a lock, and what it stands for (``holds``: "the run …", "the cluster main of production")."""

    run: str
    holds: str
    user: str
    host: str
    pid: int
    since: datetime

    @classmethod
    def me(cls, *, run: str, holds: str, now: datetime) -> Self:
        """This process."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a uid without a name, as in many containers
            user = str(os.getuid())
        return cls(run=run, holds=holds, user=user, host=socket.gethostname(), pid=os.getpid(), since=now)

    def alive(self) -> bool:
        """Whether the process may still live; a process of another host is taken to."""
        if self.host != socket.gethostname():
            return True
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            return True
        return True


class Lock:
    """A held lock. It ends with :meth:`release`, with the ``with`` block, or with the process."""

    def __init__(self, path: Path, file: int, mode: Mode) -> None:
        """For :meth:`take`."""
        self.path = path
        self.mode = mode
        self._file = file

    @classmethod
    def take(cls, path: Path, *, mode: Mode = Mode.EXCLUSIVE, owner: LockOwner) -> Self:
        """Take the lock now or raise :class:`Busy`; makes the file where it is missing. ``owner`` is who asks."""
        for _ in range(_LOOKS):
            try:
                file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except OSError as error:
                raise _unusable(path, error) from error
            try:
                if _locked(file, mode) and _is_named(file, path):
                    _sign(file, owner if mode is Mode.EXCLUSIVE else None)
                    return cls(path, file, mode)
                held = _is_named(file, path)
            except OSError as error:
                os.close(file)
                raise _unusable(path, error) from error
            os.close(file)
            if held:
                raise _busy(path, owner)
        raise _busy(path, owner)

    def fileno(self) -> int:
        """The descriptor, for a process that takes the lock over by inheriting it."""
        return self._file

    def release(self) -> None:
        """Give the lock back. The file stays: taking its name away would let two processes hold "the" lock."""
        if self._file < 0:
            return
        file, self._file = self._file, -1
        try:
            if self.mode is Mode.EXCLUSIVE:
                os.ftruncate(file, 0)
        finally:
            os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def holder(path: Path) -> LockOwner | None:
    """Who is written into the lock file and still lives; for display only, since it takes no lock."""
    owner = _signed(path)
    return owner if owner is not None and owner.alive() else None


def target_lock_path(identity: str, *, directory: Path | None = None) -> Path:
    """The lock file of a target, by its probed identity: two checkouts on one machine exclude each other."""
    digest = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return (directory or lock_directory()) / f"target-{digest}.lock"


def lock_directory() -> Path:
    """This machine's lock directory for this user, made if it is missing; :class:`Refused` if somebody else's.

    It doesn't follow ``XDG_RUNTIME_DIR``: a timer and a terminal of the same user would look in different places, and it
    goes away at logout while a run may go on.
    """
    name = "runbook" if os.geteuid() == 0 else f"runbook-locks-{os.geteuid()}"
    for parent in (Path("/run/lock"), Path("/var/lock"), Path("/tmp")):  # noqa: S108 (checked below)
        if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
            return safe_directory(parent / name)
    return safe_directory(Path.home() / ".runbook-locks")


def safe_directory(path: Path) -> Path:
    """Make the directory with mode 0700, or check the one that is there: ours, no link, not writable by others."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise _unusable(path, error) from error
    found = path.lstat()
    open_to_all = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
    if not stat.S_ISDIR(found.st_mode):
        why = "it isn't a directory" if not stat.S_ISLNK(found.st_mode) else "it is a symbolic link"
    elif found.st_uid != os.geteuid():
        why = f"it belongs to the user with the id {found.st_uid}"
    elif open_to_all:
        why = "others may write into it"
    else:
        return path
    detail = f"{path} can't hold locks: {why}. Somebody could take the locks away while a run relies on them."
    raise Refused(Problem("E471", "the lock directory isn't safe", detail, f"ls -ld {path}; then remove it"))


def _locked(file: int, mode: Mode) -> bool:
    try:
        fcntl.flock(file, mode.value | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
            return False
        raise
    return True


def _is_named(file: int, path: Path) -> bool:
    """Whether the path still names the file that we have: a cleaner of directories may have taken it away."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(file), named)


def _sign(file: int, owner: LockOwner | None) -> None:
    os.ftruncate(file, 0)
    if owner is not None:
        text = json.dumps(asdict(owner) | {"since": show_instant(owner.since)})
        os.pwrite(file, f"{text}\n".encode(), 0)


def _signed(path: Path) -> LockOwner | None:
    try:
        with path.open(encoding="utf-8") as file:
            fields = json.loads(file.read(_OWNER_BYTES))
        match fields:
            case {
                "run": str(run),
                "holds": str(holds),
                "user": str(user),
                "host": str(host),
                "pid": int(pid),
                "since": str(since),
            }:
                return LockOwner(run, holds, user, host, pid, parse_instant(since))
            case _:
                return None
    except (OSError, ValueError, RecursionError):
        return None


def _busy(path: Path, asker: LockOwner) -> Busy:
    owner = holder(path)
    for _ in range(_LOOKS_FOR_A_NAME):  # the winner of a race may not have signed yet
        if owner is not None:
            break
        time.sleep(_PAUSE_S)
        owner = holder(path)
    if owner is None:
        detail = (
            f"{asker.holds} is held by runs that wrote no name; those that only read it never do. "
            f"The lock is {path}; `fuser -v {path}` lists their processes."
        )
        fix = f"wait until they are done, then: runbook resume {asker.run}"
    else:
        detail = (
            f"{asker.holds} is held by the run {owner.run} of {owner.user}@{owner.host} (pid {owner.pid}) "
            f"since {show_instant(owner.since)}. The lock is {path}."
        )
        fix = (
            f"`runbook show {owner.run}` tells what it does; wait for it. If it has stopped: runbook resume {owner.run}"
        )
    return Busy(Problem("E501", "held by another run", detail, fix))


def _unusable(path: Path, error: OSError) -> JournalFault:
    detail = f"{path}: {error.strerror}. Without locks two runs could change the same target."
    return JournalFault(
        Problem("E712", "a lock could not be taken", detail, f"ls -ld {path.parent}; df -h {path.parent}")
    )
