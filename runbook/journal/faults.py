"""What the operating system said, as a fault of the journal: why, and what to do about it.

Owns the codes E705 to E709 and E715, and the sentences for each errno. The run's directory stands in each text, because on the
night in question nobody remembers where it is.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from runbook.errors import JournalFault, Problem

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

_REASONS: Final = {
    errno.ENOSPC: ("the file system is full", "make room there (`df -h {where}`)"),
    errno.EDQUOT: ("the quota is used up", "make room or raise the quota (`quota -s`)"),
    errno.EROFS: ("the file system is read-only", "look why with `dmesg | tail`, and remount it read-write"),
    errno.EIO: ("the device reported an I/O error", "look at `dmesg | tail`; the disk may be failing"),
    errno.EMFILE: ("this process has too many open files", "raise the limit (`ulimit -n 4096`)"),
    errno.ENFILE: ("this machine has too many open files", "find who holds them with `lsof`"),
    errno.ENOMEM: ("there is no memory left for it", "look who has it (`free -m`), and at `ulimit -v`"),
    errno.EACCES: ("this user may not do that", "work as the user that began the run (`ls -ld {where}`)"),
    errno.EPERM: ("this user may not do that", "work as the user that began the run (`ls -ld {where}`)"),
    errno.ENOENT: ("a file of the run is missing", "look what is left with `ls -la {where}`"),
    errno.ELOOP: ("a file of the run is a symbolic link", "look who put it there with `ls -la {where}`"),
}

_OF_THE_MACHINE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS, errno.EIO, *NO_SPACE})
"""What can meet any call at all, wherever in the program it stands."""


def machine_fault(error: Exception) -> JournalFault | None:
    """What the machine could not give, where no code foresaw it; None for an error of another kind, which is ours."""
    found = OSError(errno.ENOMEM, "") if isinstance(error, MemoryError) else error
    if not isinstance(found, OSError) or found.errno not in _OF_THE_MACHINE:
        return None
    reason, remedy = _reason(found, Path(str(found.filename or ".")))
    detail = f"{found.filename}: {reason}." if found.filename else f"{reason[0].upper()}{reason[1:]}."
    detail += "\nNothing more is started. What the journal of a run has is kept."
    fix = f"{remedy}, then `runbook runs`: one that was begun is gone on with, else the command is given again"
    return JournalFault(Problem("E715", "this machine could not give what was needed", detail, fix))


def write_fault(error: OSError, doing: str, directory: Path) -> JournalFault:
    """A write or a sync failed: the run stops here. ``doing`` completes "while …"."""
    code, summary = _named(error)
    reason, remedy = _reason(error, directory)
    detail = (
        f"While {doing} in {directory}: {reason}.\n"
        "It isn't tried again: after a failed write or sync nothing shows what reached the disk. Nothing more is started."
    )
    return JournalFault(Problem(code, summary, detail, f"{remedy}, then: runbook resume {directory.name}"))


def begin_fault(error: OSError, doing: str, directory: Path) -> JournalFault:
    """A run could not be begun: there is nothing to resume, and ``directory`` may be gone when this is read."""
    code, summary = _named(error)
    reason, remedy = _reason(error, next(parent for parent in directory.parents if parent.exists()))
    detail = f"While {doing} in {directory}: {reason}.\nThe run was not begun: nothing was changed."
    return JournalFault(Problem(code, summary, detail, f"{remedy}, then apply the plan again"))


def open_fault(error: OSError, doing: str, directory: Path) -> JournalFault:
    """A journal could not be opened or read. ``doing`` completes "while …"."""
    if error.errno in NO_SPACE:
        return write_fault(error, doing, directory)
    reason, remedy = _reason(error, directory)
    detail = f"While {doing} at {error.filename or directory}: {reason}."
    return JournalFault(Problem("E708", "the journal could not be opened", detail, f"{remedy}, then try again"))


def never_begun(directory: Path) -> JournalFault:
    """There is no journal: the program ended before the run existed."""
    detail = f"{directory} holds no journal. Either this was never a run, or it ended before anything was started."
    return JournalFault(Problem("E707", "no journal here", detail, "runbook runs"))


def exists_already(directory: Path) -> JournalFault:
    """A new journal was asked for where one is."""
    detail = f"{directory} already holds a journal; a new run never writes into it."
    return JournalFault(Problem("E709", "this run exists already", detail, f"runbook show {directory.name}"))


def _named(error: OSError) -> tuple[str, str]:
    full = error.errno in NO_SPACE
    return ("E706", "no space left for the journal") if full else ("E705", "the journal could not be written")


def _reason(error: OSError, directory: Path) -> tuple[str, str]:
    said = error.strerror or type(error).__name__
    reason, remedy = _REASONS.get(error.errno or 0, (said, "look at `dmesg | tail` and `df -h {where}`"))
    return reason, remedy.format(where=directory)
