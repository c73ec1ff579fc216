"""The account that the servers run as: the operator's own, or nobody where the operator is root.

Owns that choice. PostgreSQL refuses to run as root; and a server that listens has no business with root's rights. Uid
and gid 65534 exist on every Linux without being made. Promises: files handed over by :meth:`Account.give` belong to the
servers' account and to nobody else.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Account:
    """``uid`` and ``gid`` of the servers; ``None`` where they run as the operator."""

    uid: int | None
    gid: int | None

    @property
    def foreign(self) -> bool:
        """Whether the servers run as somebody else than the operator."""
        return self.uid is not None

    @property
    def owner(self) -> int:
        """The uid that the servers' files have."""
        return os.geteuid() if self.uid is None else self.uid

    @property
    def groups(self) -> list[int] | None:
        """The supplementary groups for ``Popen``: none at all for a foreign account, the operator's own otherwise."""
        return [] if self.foreign else None

    def give(self, path: Path, mode: int) -> None:
        """Make ``path`` the servers' own, with this mode."""
        path.chmod(mode)
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def own_directory(self, path: Path) -> Path:
        """A directory (made where it is missing) that only the servers' account, and root, may enter."""
        path.mkdir(exist_ok=True)
        self.give(path, 0o700)
        return path


OPERATOR = Account(None, None)
"""Whoever runs the command."""


def servers_account() -> Account:
    """Nobody for root, oneself for everybody else."""
    return Account(NOBODY, NOBODY) if os.geteuid() == 0 else OPERATOR
