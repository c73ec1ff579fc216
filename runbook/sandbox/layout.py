"""Where the sandbox's things lie, and who may reach them.

Owns the directories and their modes. The sandbox's directory is the operator's (0700): state, secrets, logs, the
environment file. What the servers themselves touch lies in ``servers``. For an ordinary user that is a directory in it;
for root it is a link to a directory of root's below ``/var/tmp`` (0711), because the servers run as nobody there and
can't pass through a 0700 directory. Each server has its own directory in it (0700, the servers' account). Promises:
making the layout twice changes nothing; a directory of another user is refused, never adopted.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from runbook.sandbox.account import Account, servers_account
from runbook.sandbox.error import SandboxError

SOCKET_PATH_MAX = 107 - len("/.s.PGSQL.65535.lock")
"""Longest directory for a unix socket, in bytes: sun_path has 108 with its final zero (unix(7))."""

_OUTSIDE = Path("/var/tmp")  # noqa: S108 - it outlives a reboot, and mkdtemp makes the name there


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths. ``directory`` is absolute; the rest follows from it."""

    directory: Path
    account: Account

    @property
    def lock(self) -> Path:
        """Held while the stack is brought up or taken down."""
        return self.directory / "lock"

    @property
    def state(self) -> Path:
        """Ports, processes, versions."""
        return self.directory / "state.json"

    @property
    def environment(self) -> Path:
        """The environment file for plans."""
        return self.directory / "environment.yaml"

    @property
    def servers(self) -> Path:
        """What the servers reach: links resolved, so that it reads the same for them and in ``/proc``."""
        return (self.directory / "servers").resolve()

    @property
    def binaries(self) -> Path:
        """Programs copied out of a virtual environment that the servers' account may not enter."""
        return self.servers / "binaries"

    @property
    def archive(self) -> Path:
        """PostgreSQL's archived WAL."""
        return self.servers / "archive"

    @property
    def backups(self) -> Path:
        """The file store for backups."""
        return self.servers / "backups"

    @property
    def bases(self) -> Path:
        """The file store for base backups."""
        return self.servers / "bases"

    @property
    def evidence(self) -> Path:
        """The file store for what is kept of damaged servers."""
        return self.servers / "evidence"

    @property
    def sockets(self) -> Path:
        """The directory of unix sockets, short enough for their addresses."""
        return (self.directory / "sockets").resolve()

    def home(self, part: str) -> Path:
        """The own directory of one server."""
        return self.servers / part

    def secret(self, name: str) -> Path:
        """The file (0600) that holds one secret."""
        return self.directory / "secrets" / name

    def record(self, part: str) -> Path:
        """The file in which a part's process writes who it is."""
        return self.directory / "processes" / part

    def log(self, part: str) -> Path:
        """What a part prints."""
        return self.directory / "logs" / f"{part}.log"

    def claim(self) -> None:
        """Make the sandbox's own directory. Raises :class:`SandboxError` if it is another user's."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.check_owner()
        self.directory.chmod(0o700)

    def make(self) -> None:
        """Make every directory, with owner and mode; to be called by one process at a time."""
        self.claim()
        for name in ("secrets", "processes", "logs"):
            (self.directory / name).mkdir(exist_ok=True, mode=0o700)
        link = self.directory / "servers"
        if self.account.foreign:
            _linked(link, _OUTSIDE, "runbook-sandbox-", 0o711)
        else:
            link.mkdir(exist_ok=True, mode=0o700)
        self.binaries.mkdir(exist_ok=True, mode=0o755)
        self.binaries.chmod(0o755)  # mkdir's mode is cut by the umask; nobody has to read this one
        for path in (
            self.archive,
            self.backups,
            self.bases,
            self.evidence,
            self.home("postgres"),
            self.home("valkey"),
            self.home("s3"),
        ):
            self.account.own_directory(path)
        self._make_sockets()

    def _make_sockets(self) -> None:
        link = self.directory / "sockets"
        near = self.servers / "run"
        if len(os.fsencode(near)) > SOCKET_PATH_MAX:
            self.account.give(_linked(link, Path(tempfile.gettempdir()), "runbook-", 0o700), 0o700)
        elif not link.is_symlink():
            self.account.own_directory(near)
            link.symlink_to(near)
        else:
            self.account.own_directory(near)

    def check_owner(self) -> None:
        """Refuse a directory that another user made: its files would end up with two owners."""
        owner = self.directory.stat().st_uid
        if owner != os.geteuid():
            raise SandboxError(
                "SB02",
                "the sandbox belongs to another user",
                f"{self.directory} was made by uid {owner}; this is uid {os.geteuid()}.",
                "run the command as that user, or choose another directory with --state DIR",
            )

    def remove(self) -> None:
        """Delete everything, what lies outside the directory too. Nothing of the sandbox may run."""
        for name in ("sockets", "servers"):
            link = self.directory / name
            if link.is_symlink() and _is_ours(link.resolve()):
                shutil.rmtree(link.resolve())
        shutil.rmtree(self.directory)


def _is_ours(path: Path) -> bool:
    return path.is_dir() and path.stat().st_uid in (os.geteuid(), servers_account().owner)


def _linked(link: Path, parent: Path, prefix: str, mode: int) -> Path:
    """The directory that ``link`` points to; a new one of mode ``mode`` below ``parent`` if that is gone or another's."""
    if not (link.is_symlink() and _is_ours(link.resolve())):
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        link.unlink(missing_ok=True)
        link.symlink_to(made)
    link.resolve().chmod(mode)
    return link.resolve()


def layout_at(directory: Path) -> Layout:
    """The layout of the sandbox in ``directory``, for the present user; touches nothing."""
    return Layout(directory.absolute(), servers_account())
