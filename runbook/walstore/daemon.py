"""The feeder as a process of its own, which outlives the command that began it.

Promises: at most one feeder a spool, whoever starts how many (an exclusive lock); when :func:`detach` returns, one serves.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from runbook.errors import Problem, Refused
from runbook.walstore.access import Access
from runbook.walstore.feed import PID, WANT, Feeder

LOCK = ".feeder.lock"
LOG = ".feeder.log"


def detach(access: Access, spool: Path, *, segment_bytes: int, ahead: int) -> int:
    """Start a feeder unless one serves; its process id. :class:`Refused` where the spool can't be used."""
    try:
        lock = os.open(spool / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Refused(
            Problem("E637", "the spool can't be used", f"{spool}: {error.strerror}.", "Check the path.")
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return int((spool / PID).read_text(encoding="ascii"))
    _clear(spool)
    ready, tell = os.pipe()
    if (pid := os.fork()) == 0:
        os.close(ready)
        _become(access, spool, tell, segment_bytes=segment_bytes, ahead=ahead)
    os.close(tell)
    os.close(lock)
    with os.fdopen(ready, "rb") as answer:
        said = answer.read().decode(errors="replace")
    if said != "ready":
        os.waitpid(pid, 0)
        raise Refused(Problem("E637", "WAL can't be fetched", said or f"see {spool / LOG}", f"less {spool / LOG}"))
    return pid


def _clear(spool: Path) -> None:
    """Remove what an earlier feeder left: a file that was being written when the power failed may look whole."""
    for entry in os.scandir(spool):
        if entry.name not in (LOCK, LOG) and not entry.name.endswith(WANT):
            Path(entry.path).unlink()


def _become(access: Access, spool: Path, tell: int, *, segment_bytes: int, ahead: int) -> None:
    """The child's life; never returns."""
    code = 1
    try:
        os.setsid()
        os.chdir("/")
        log = os.open(spool / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        (spool / f"{PID}.partial").write_text(f"{os.getpid()}\n", encoding="ascii")
        feeder = Feeder(access.open(), spool, segment_bytes, ahead)
        (spool / f"{PID}.partial").chmod(0o644)
        (spool / f"{PID}.partial").rename(spool / PID)
        os.write(tell, b"ready")
        os.close(tell)
        feeder.run()
        code = 0
    except Exception as error:
        try:
            os.write(tell, f"{type(error).__name__}: {error}".encode())
        except OSError:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        os._exit(code)
