"""The seams of the journal: what it needs from the world, and what it offers to the runner.

Owns three Protocols. A simulator gives its own :class:`Disk` and :class:`Clock` and runs the unchanged journal on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from runbook.journal.record import Payload, Record


class Clock(Protocol):
    """Two clocks: the wall, which may jump, and one that only goes forward."""

    def now(self) -> datetime:
        """The wall time, aware."""
        ...

    def monotonic(self) -> float:
        """Seconds since a fixed point of this boot."""
        ...


class Disk(Protocol):
    """The file operations that the journal rests on. Each raises :class:`OSError`; none retries, none hides a failure.

    Files are named by the descriptors that :meth:`create` and :meth:`open` give.
    """

    def make_dir(self, path: Path) -> None:
        """Make a directory of mode 0700; :class:`FileExistsError` if the name is taken."""
        ...

    def create(self, path: Path) -> int:
        """Make a new file of mode 0600, close-on-exec, for appending; :class:`FileExistsError` if the name is taken."""
        ...

    def create_fixed(self, path: Path, content: bytes) -> int:
        """Make a new file of mode 0600 that is written in place, with this content, not yet synced."""
        ...

    def open(self, path: Path) -> int:
        """Open an existing file for appending; never through a symbolic link."""
        ...

    def open_fixed(self, path: Path) -> int:
        """Open an existing file for writing in place; never through a symbolic link."""
        ...

    def read(self, path: Path) -> bytes:
        """The whole content."""
        ...

    def append(self, file: int, data: bytes) -> int:
        """Write at the end; gives how many bytes were taken, which may be fewer than all."""
        ...

    def pwrite(self, file: int, data: bytes, offset: int) -> int:
        """Write at ``offset`` (bytes); gives how many bytes were taken."""
        ...

    def fdatasync(self, file: int) -> None:
        """Return when the content, and the size needed to read it, is on stable storage."""
        ...

    def truncate(self, file: int, size: int) -> None:
        """Cut the file to ``size`` bytes."""
        ...

    def close(self, file: int) -> None:
        """Give the descriptor back."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Give a file its final name."""
        ...

    def remove(self, path: Path) -> None:
        """Take a name, and with it the space, away."""
        ...

    def fsync_dir(self, path: Path) -> None:
        """Return when the names in this directory are on stable storage."""
        ...


class Journal(Protocol):
    """What the runner writes to."""

    def append(self, payloads: Sequence[Payload]) -> tuple[Record, ...]:
        """Make these records durable, in this order, together; :class:`JournalFault` if that can't be shown."""
        ...

    def append_last(self, payload: Payload) -> Record:
        """Make the record of a stop durable, even on a full disk; nothing can be appended after it."""
        ...

    def close(self) -> None:
        """Give the files back."""
        ...
