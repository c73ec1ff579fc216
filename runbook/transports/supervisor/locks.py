"""Locks of the run and of its targets, held by the supervisor so that they outlive the engine.

``flock`` on a file that also says who holds it since when. Promises: the descriptors are close-on-exec (a daemon that a
step starts would else hold them for ever); a lock is never held on a file that was removed or replaced meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import time

ATTEMPTS = 5
MOST_TEXT = 4096
LOOKS = 5
PAUSE_S = 0.01


class Locks:
    """The locks that this process holds, by path."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[int, str]] = {}

    def take(self, path: str, mode: str, holder: str) -> tuple[bool, str]:
        """Take ``path`` (mode ``exclusive`` or ``shared``) at once, or say who has it. OSError: the file can't be had.

        A lock that is held already is kept, in the stronger of the two modes.
        """
        fd, held = self._held.get(path, (-1, ""))
        if held == "exclusive" or held == mode:
            return True, ""
        for _ in range(ATTEMPTS):
            if fd < 0:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                taken = self._flock(fd, mode, holder)
            except OSError:  # its text could not be written: nobody could give back what was taken for that
                self._keep_shared(path, fd) if held else os.close(fd)
                raise
            if not taken:
                text = os.pread(fd, MOST_TEXT, 0).decode("utf-8", "replace")
                self._keep_shared(path, fd) if held else os.close(fd)
                return False, text
            if _same_file(fd, path):
                self._held[path] = (fd, mode)
                return True, ""
            os.close(fd)
            fd = -1
        raise OSError(f"{path} is replaced again and again")

    def release(self, path: str) -> None:
        """Give a lock back; one that isn't held is left."""
        fd, _ = self._held.pop(path, (-1, ""))
        if fd >= 0:
            os.close(fd)

    def release_all(self) -> None:
        """Give all of them back."""
        for path in tuple(self._held):
            self.release(path)

    def _keep_shared(self, path: str, fd: int) -> None:
        """A refused change from shared to exclusive gives the shared lock up (flock(2)): take it again."""
        if not _locked(fd, fcntl.LOCK_SH):
            self.release(path)

    def _flock(self, fd: int, mode: str, holder: str) -> bool:
        """Exclusively first, even for a shared lock: only who is alone may rewrite the text of earlier holders.

        So one who shares is in the way of another for an instant: who wants to share looks again before it is refused.
        """
        line = holder.encode() + b"\n"
        if _locked(fd, fcntl.LOCK_EX):
            os.ftruncate(fd, 0)
            os.pwrite(fd, line, 0)
            if mode == "exclusive":
                return True
        elif mode == "exclusive":
            return False
        for _ in range(LOOKS):
            if _locked(fd, fcntl.LOCK_SH):
                break
            time.sleep(PAUSE_S)
        else:
            return False
        if line not in os.pread(fd, MOST_TEXT, 0):
            os.pwrite(fd, line, os.fstat(fd).st_size)
        return True


def _locked(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same_file(fd: int, path: str) -> bool:
    ours = os.fstat(fd)
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)
