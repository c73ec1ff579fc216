"""Where things are: the state directory, a run's directory, and the names of the runs.

Owns every file name below ``.runbook/``, the form of run ids and the search for a run. Promises that what it makes is of
mode 0700 and durable, and that it makes nothing where others could exchange it or where locks can't be relied on.
"""

from __future__ import annotations

import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Final

from runbook.errors import JournalFault, Problem, Refused, UsageFault, suggest
from runbook.journal.disk import POSIX
from runbook.journal.faults import begin_fault, exists_already, open_fault
from runbook.journal.tape import HEAD, JOURNAL, RESERVE

STATE_DIR: Final = ".runbook"
LAST: Final = "last"

_RUN_ID: Final = re.compile(r"\d{8}-\d{6}-[a-z0-9][a-z0-9-]{0,62}-[0-9a-f]{4,8}")
_ID_SECONDS: Final = len("20260214-120000")
_SLUG_LENGTH: Final = 40
_MOST_CANDIDATES: Final = 8
_NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs"})
_MOUNTS: Final = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class RunDir:
    """The directory of one run and the names in it; none of them needs to exist."""

    path: Path

    @property
    def run(self) -> str:
        """The run's id."""
        return self.path.name

    @property
    def journal(self) -> Path:
        """The records."""
        return self.path / JOURNAL

    @property
    def head(self) -> Path:
        """Which record was acknowledged last."""
        return self.path / HEAD

    @property
    def reserve(self) -> Path:
        """Space for the record of a stop."""
        return self.path / RESERVE

    @property
    def frozen(self) -> Path:
        """The exact bytes of the plan, its includes, the environment and the inputs (a directory)."""
        return self.path / "frozen"

    @property
    def logs(self) -> Path:
        """What the steps' processes printed (a directory)."""
        return self.path / "logs"

    @property
    def escrow(self) -> Path:
        """Secrets that the run minted, each a file of mode 0600 (a directory)."""
        return self.path / "escrow"

    @property
    def engine_lock(self) -> Path:
        """Held by the one engine that may write the journal."""
        return self.path / "engine.lock"

    @property
    def run_lock(self) -> Path:
        """Held by the supervisor."""
        return self.path / "run.lock"

    @property
    def supervisor_records(self) -> Path:
        """Start and exit records of children."""
        return self.path / "supervisor.jsonl"

    @property
    def supervisor_socket(self) -> Path:
        """Where the supervisor serves. The kernel takes at most 107 bytes: connect by a path relative to ``path``."""
        return self.path / "supervisor.sock"


def new_run_id(plan: str, *, now: datetime, suffix: str) -> str:
    """``20260214-120000-restore-db-4f3a``: sorts by time (UTC, seconds); ``suffix`` is 4 to 8 random hex digits."""
    slug = re.sub(r"[^a-z0-9]+", "-", plan.lower()).strip("-")[:_SLUG_LENGTH].strip("-") or "run"
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{slug}-{suffix}"


def runs_dir(state_dir: Path) -> Path:
    """Where the runs' directories are."""
    return state_dir / "runs"


def make_run(state_dir: Path, run: str) -> RunDir:
    """Make the directory of a new run, durably, with its folders; the journal is begun by itself.

    :class:`Refused` where the state directory is unsafe, :class:`JournalFault` where the run exists or nothing can be
    written.
    """
    directory = RunDir(runs_dir(state_dir) / run)
    try:
        _make_state(state_dir)
        refuse_unsafe(state_dir)
        refuse_network(state_dir, _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape"))
        POSIX.make_dir(directory.path)
        for folder in (directory.frozen, directory.logs, directory.escrow):
            POSIX.make_dir(folder)
        POSIX.fsync_dir(directory.path)
        POSIX.fsync_dir(directory.path.parent)
    except FileExistsError as error:
        raise exists_already(directory.path) from error
    except OSError as error:
        raise begin_fault(error, "making the run's directory", directory.path) from error
    return directory


def _make_state(state_dir: Path) -> None:
    if not state_dir.exists():
        with suppress(FileExistsError):  # another run was begun at the same moment
            state_dir.mkdir(mode=0o700, parents=True)
            state_dir.chmod(0o700)
            # Journals name systems and people, escrow holds secrets: none of it belongs in a repository.
            (state_dir / ".gitignore").write_text("*\n", encoding="utf-8")
        POSIX.fsync_dir(state_dir.parent)
    if not runs_dir(state_dir).exists():
        with suppress(FileExistsError):
            POSIX.make_dir(runs_dir(state_dir))
        POSIX.fsync_dir(state_dir)


def refuse_unsafe(state_dir: Path) -> None:
    """:class:`Refused` if everybody may write into the state directory; nothing happens if it isn't there."""
    for path in (state_dir, runs_dir(state_dir)):
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            raise open_fault(error, "looking at the state directory", path) from error
        if not stat.S_ISDIR(mode):
            detail = f"{path} is where runs are kept, and it isn't a directory."
            raise JournalFault(Problem("E713", "the state directory isn't a directory", detail, f"ls -l {path}"))
        if mode & stat.S_IWOTH:
            detail = (
                f"Everybody may write into {path} (mode {stat.S_IMODE(mode):04o}): any user of this machine could put "
                "another plan or another history in the place of yours."
            )
            raise Refused(Problem("E472", "the state directory is world-writable", detail, f"chmod o-w {path}"))


def refuse_network(state_dir: Path, mounts: str) -> None:
    """:class:`Refused` if the state directory is on a network file system; ``mounts`` is ``/proc/self/mountinfo``."""
    kind = _file_system(state_dir.resolve(), mounts)
    if kind in _NETWORK:
        detail = (
            f"{state_dir} is on {kind}: another machine could write there at the same time, locks may not hold, and a "
            "sync may not reach a disk."
        )
        raise Refused(
            Problem("E473", "the state directory is on a network file system", detail, "--state DIR, on a local disk")
        )


def _file_system(path: Path, mounts: str) -> str:
    """The type of the file system that holds the path: of the mount point that is nearest above it (proc(5))."""
    kind, nearest = "", -1
    for line in mounts.splitlines():
        mount, _, rest = line.partition(" - ")
        fields = mount.split(" ")
        if len(fields) < 5 or not rest:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4]))
        if path.is_relative_to(point) and len(point.parts) >= nearest:  # a later mount covers an earlier one
            kind, nearest = rest.split(" ")[0], len(point.parts)
    return kind


def runs(state_dir: Path) -> tuple[RunDir, ...]:
    """All runs, oldest first; empty where there is no state directory yet."""
    try:
        found = sorted(runs_dir(state_dir).iterdir())
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise open_fault(error, "listing the runs", runs_dir(state_dir)) from error
    known = (RunDir(path) for path in found if _RUN_ID.fullmatch(path.name) and path.is_dir() and not path.is_symlink())
    ordered: list[RunDir] = []
    for _, same in groupby(known, key=lambda run: run.run[:_ID_SECONDS]):
        begun = list(same)
        ordered += sorted(begun, key=_begun) if len(begun) > 1 else begun
    return tuple(ordered)


def _begun(run: RunDir) -> tuple[int, str]:
    """Orders the runs of one second: what is frozen is written at a run's beginning, and never again."""
    try:
        return run.frozen.stat().st_mtime_ns, run.run
    except OSError:
        return 0, run.run


def find_run(state_dir: Path, prefix: str) -> RunDir:
    """The run whose id begins so, or the youngest one for ``last``; :class:`UsageFault` with candidates otherwise."""
    refuse_unsafe(state_dir)
    known = runs(state_dir)
    if not known:
        detail = f"{state_dir} holds no run."
        raise UsageFault(
            Problem("E261", "no such run", detail, "runbook apply PLAN, or --state DIR where the runs are")
        )
    if prefix == LAST:
        return known[-1]
    matching = [run for run in known if run.run == prefix] or [run for run in known if run.run.startswith(prefix)]
    if len(matching) == 1 and prefix:
        return matching[0]
    if matching:
        detail = f"{len(matching)} runs begin with {prefix!r}:\n{_candidates(matching)}"
        raise UsageFault(Problem("E262", "more than one such run", detail, "give more of the id, or `last`"))
    near = suggest(prefix, [run.run for run in known])
    detail = f"No run in {state_dir} begins with {prefix!r}. The latest are:\n{_candidates(known)}"
    raise UsageFault(Problem("E261", "no such run", detail, near or "runbook runs"))


def _candidates(found: tuple[RunDir, ...] | list[RunDir]) -> str:
    latest = [run.run for run in reversed(found)]
    more = [f"and {len(latest) - _MOST_CANDIDATES} more"] if len(latest) > _MOST_CANDIDATES else []
    return "\n".join(latest[:_MOST_CANDIDATES] + more)
