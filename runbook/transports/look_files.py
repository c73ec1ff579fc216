"""Facts of files, here and in containers.

Owns the two ways to the same :class:`~runbook.action.FileFacts`: system calls on this machine, ``stat`` in a container. Promises: a
file that isn't there is None, and a file that can't be seen is :class:`~runbook.action.Unreachable`.
"""

from __future__ import annotations

import os
import posixpath
import pwd
import re
import stat
from contextlib import suppress
from datetime import UTC, datetime
from typing import BinaryIO

from runbook.action import FileFacts, Ran, Unreachable
from runbook.host import Host, Local
from runbook.transports.bound import Bound
from runbook.transports.commands import Commands
from runbook.transports.trouble import unreachable

LONGEST_TEXT = 64 * 1024
LONGEST_HERE = 1024 * 1024
"""The same of a file on this machine, for who asks for so much."""
LONGEST_HEAD = 4096
TRIES = 3
LONGEST_LISTING = 4 * 1024 * 1024
_FORMAT = "%f|%s|%Y|%U|%d|%i|%n"
_AVAILABLE = re.compile(r"\s\d+\s+\d+\s+(\d+)\s+(?:\d+%|-)\s")
"""What `df -Pk` says before the percentage; other numbers may stand in the names round it."""
_GONE = "No such file or directory"
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}


def facts(commands: Commands, host: Host, path: str, bound: Bound) -> FileFacts | None:
    """The file, or None where it isn't; links are not followed."""
    if isinstance(host, Local):
        try:
            return _facts_here(path, os.lstat(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unseen(host, path, error.strerror or "") from None
    ran = _stat(commands, host, path, bound)
    if ran.exit_code:
        if _is_gone(ran):
            return None
        raise _unseen(host, path, ran.stderr or ran.stdout or f"stat said nothing (exit code {ran.exit_code})")
    return _facts_far(host, ran.stdout.removesuffix("\n"))


def _stat(commands: Commands, host: Host, path: str, bound: Bound) -> Ran:
    """``stat`` always says something; on a busy machine the engine may lose what a short program printed, so it is asked again."""
    for _ in range(TRIES):
        ran = commands.run(host, ("stat", "-c", _FORMAT, "--", path), bound)
        if ran.stdout or ran.stderr:
            break
    return ran


def listing(commands: Commands, host: Host, directory: str, bound: Bound) -> tuple[FileFacts, ...]:
    """The directory's entries (one level), by name; empty where the directory isn't."""
    if isinstance(host, Local):
        try:
            found = _entries_here(directory)
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            raise _unseen(host, directory, error.strerror or "") from None
        return tuple(sorted(found, key=lambda one: one.path))
    argv = ("find", directory, "-mindepth", "1", "-maxdepth", "1", "-exec", "stat", "-c", _FORMAT, "--", "{}", "+")
    ran = commands.run(host, argv, bound, longest=LONGEST_LISTING)
    if ran.exit_code:
        complaints = ran.stderr.splitlines()
        if not complaints or not all(_GONE in line for line in complaints):
            raise _unseen(host, directory, ran.stderr or ran.stdout)
        if facts(commands, host, directory, bound) is None:
            return ()  # else it is entries that went meanwhile, and what was said of the others holds
    return tuple(sorted((_facts_far(host, line) for line in ran.stdout.splitlines()), key=lambda one: one.path))


def _entries_here(directory: str) -> list[FileFacts]:
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # it went meanwhile: that says nothing of the others
                found.append(_facts_here(entry.path, entry.stat(follow_symlinks=False)))
    return found


def text(commands: Commands, host: Host, path: str, bound: Bound, *, most_bytes: int = LONGEST_TEXT) -> str | None:
    """A small text file whole, or None where it isn't."""
    found = facts(commands, host, path, bound)
    if found is None:
        return None
    most = min(most_bytes, LONGEST_HERE if isinstance(host, Local) else LONGEST_TEXT)
    if found.bytes > most:
        raise _unseen(host, path, f"it has {found.bytes} bytes; an observer reads at most {most}")
    if isinstance(host, Local):
        try:
            with _opened(host, path) as file:
                return file.read(most).decode(errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unseen(host, path, error.strerror or "") from None
    ran = commands.run(host, ("head", "-c", str(LONGEST_TEXT), "--", path), bound, longest=2 * LONGEST_TEXT)
    if ran.exit_code:
        raise _unseen(host, path, ran.stderr)
    return ran.stdout


def head(commands: Commands, host: Host, path: str, count: int, bound: Bound) -> bytes:
    """The first ``count`` bytes of a file; empty where it isn't."""
    count = min(count, LONGEST_HEAD)
    if isinstance(host, Local):
        try:
            with _opened(host, path) as file:
                return file.read(count)
        except (FileNotFoundError, NotADirectoryError):
            return b""
        except OSError as error:
            raise _unseen(host, path, error.strerror or "") from None
    ran = commands.run(host, ("od", "-A", "n", "-v", "-t", "x1", "-N", str(count), path), bound)
    if ran.exit_code:
        if _is_gone(ran):
            return b""
        raise _unseen(host, path, ran.stderr or ran.stdout)
    return bytes.fromhex("".join(ran.stdout.split()))


def _opened(host: Host, path: str) -> BinaryIO:
    """A file of this machine to be read. What is no plain file is refused: a FIFO would be waited for without a limit."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    file = os.fdopen(fd, "rb")
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        file.close()
        raise _unseen(host, path, "it is no plain file")
    return file


def free_bytes(commands: Commands, host: Host, path: str, bound: Bound) -> int:
    """Space that an ordinary user may still fill on the file system of ``path``, or of its nearest existing parent."""
    while facts(commands, host, path, bound) is None and path not in ("/", ""):
        path = posixpath.dirname(path.rstrip("/")) or "/"
    if isinstance(host, Local):
        try:
            found = os.statvfs(path)
        except OSError as error:
            raise _unseen(host, path, error.strerror or "") from None
        return found.f_bavail * found.f_frsize
    ran = commands.run(host, ("df", "-Pk", "--", path), bound)
    found_there = _AVAILABLE.search(ran.stdout) if ran.exit_code == 0 else None
    if found_there is None:
        raise _unseen(host, path, ran.stderr or "df gave nothing")
    return int(found_there[1]) * 1024


def _facts_here(path: str, found: os.stat_result) -> FileFacts:
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = str(found.st_uid)
    return FileFacts(
        path=path,
        kind=_KINDS.get(stat.S_IFMT(found.st_mode), "other"),
        bytes=found.st_size,
        modified=datetime.fromtimestamp(found.st_mtime, UTC),
        mode=stat.S_IMODE(found.st_mode),
        owner=owner,
        device=found.st_dev,
        inode=found.st_ino,
    )


def _facts_far(host: Host, line: str) -> FileFacts:
    try:
        mode, size, modified, owner, device, inode, path = line.split("|", 6)
        bits = int(mode, 16)
        return FileFacts(
            path=path,
            kind=_KINDS.get(stat.S_IFMT(bits), "other"),
            bytes=int(size),
            modified=datetime.fromtimestamp(int(modified), UTC),
            mode=stat.S_IMODE(bits),
            owner=owner,
            device=int(device),
            inode=int(inode),
        )
    except ValueError:
        raise _unseen(host, line, "its facts can't be read (a name with a line break?)") from None


def _is_gone(ran: Ran) -> bool:
    return _GONE in ran.stderr + ran.stdout


def _unseen(host: Host, path: str, why: str) -> Unreachable:
    return unreachable(
        "E325",
        "a file can't be seen",
        f"{host}:{path}: {why.strip()}",
        "is it there, and may this user read it? ls -la shows both",
    )
