"""The feeder as a process of its own, which outlives the command that began it.

Promises: at most one feeder a spool, whoever starts how many (an exclusive lock); when :func:`detach` returns, one serves;
when :func:`end` returns, none does.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import time
from pathlib import Path

from runbook.actions.postgres.wal_spool import PID, WANT
from runbook.errors import Problem, Refused
from runbook.walstore.access import Access
from runbook.walstore.feed import Feeder

LOCK = ".feeder.lock"
LOG = ".feeder.log"
BEGINS_WITHIN_S = 60.0
ENDS_WITHIN_S = 60.0
"""A fetch that is under way when its spool goes has the SDK's own timeouts."""


def detach(access: Access, spool: Path, *, segment_bytes: int, ahead: int) -> int:
    """Start a feeder unless one serves; its process id. :class:`Refused` where the spool can't be used."""
    try:
        lock = os.open(spool / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Refused(
            Problem("E637", "the spool can't be used", f"{spool}: {error.strerror}.", "Check the path.")
        ) from None
    if serving := _taken(lock, spool):
        return serving
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


def _taken(lock: int, spool: Path) -> int:
    """The process that serves; 0 where none does, and the lock is ours. One that has just begun has not told its id yet."""
    deadline = time.monotonic() + BEGINS_WITHIN_S
    while not _locked(lock):
        try:
            pid = int((spool / PID).read_text(encoding="ascii"))
        except (OSError, ValueError):
            pid = 0
        if pid and Path(f"/proc/{pid}").exists():
            return pid
        if time.monotonic() > deadline:
            fix = f"fuser {spool / LOCK}    # whoever holds it"
            raise Refused(Problem("E637", "WAL can't be fetched", f"{spool}: another feeder begins, and hangs.", fix))
        time.sleep(0.05)
    return 0


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def end(spool: Path) -> None:
    """Take the spool away and wait until its feeder is gone; nothing of it is left. :class:`Refused` where that can't be done.

    It is renamed first: a feeder that finds it gone adds nothing to it any more. What an earlier call left is removed.
    """
    over = spool.with_name(f"{spool.name}.over")
    try:
        if spool.exists():
            if over.exists():
                shutil.rmtree(over)
            spool.rename(over)
        if not over.exists():
            return
        lock = os.open(over / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + ENDS_WITHIN_S
        while not _locked(lock) and time.monotonic() < deadline:
            time.sleep(0.02)
        gone = _locked(lock)
        os.close(lock)
        shutil.rmtree(over)
    except OSError as error:
        why, fix = f"{error.filename or spool}: {error.strerror}.", "Check the path, and whose it is."
        raise Refused(Problem("E637", "the spool can't be used", why, fix)) from None
    if not gone:
        raise Refused(Problem("E637", "the feeder has not ended", f"{spool} is gone, and it still lives.", "ps aux"))


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
