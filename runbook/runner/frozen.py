"""What is frozen with a run: the exact bytes of the plan, of included plans and of the environment.

Owns the folder ``frozen/`` of a run. Promises: a resume reads these bytes and no others; what was edited since is found and
named; a file that was changed in the folder itself is refused, since its hash is in the index and the plan's is in the journal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from runbook.errors import JournalFault, Problem
from runbook.journal.disk import POSIX
from runbook.journal.layout import RunDir
from runbook.plan.environment import Environment, inline_environment, load_environment
from runbook.plan.load import load_plan
from runbook.plan.model import Plan, Source

_FIX = "put the file back, or `runbook abandon` the run and apply anew"


@dataclass(frozen=True, slots=True)
class Frozen:
    """A run's own copy of what it runs."""

    plan: Plan
    environment: Environment


def freeze(run: RunDir, plan: Plan, environment: Environment, *, root: str = "") -> None:
    """Write the bytes of plan and environment below the run's directory, durable on return. Raises ``OSError``.

    ``root`` is the directory that the plan's names are relative to, for :func:`edited`.
    """
    index = {
        "plan": _write(run, "plan", plan.sources),
        "environment": _write(run, "environment", environment.sources),
        "root": root,
    }
    _keep(run.frozen / "index.json", (json.dumps(index, indent=1) + "\n").encode())
    POSIX.fsync_dir(run.frozen)


def thaw(run: RunDir) -> Frozen:
    """Plan and environment from the run's directory. Raises JournalFault (exit 7) where they were changed, or can't be read."""
    try:
        return _thawed(run)
    except (OSError, ValueError, LookupError, TypeError) as error:
        detail = f"{run.frozen}: {type(error).__name__}: {error}"
        raise JournalFault(Problem("E721", "what the run froze can't be read", detail, _FIX)) from error


def refuse_another(frozen: Frozen, digest: str) -> None:
    """Raise JournalFault where the frozen plan is not the one that the journal names by its digest."""
    if frozen.plan.digest != digest:
        raise JournalFault(_changed("the plan, or the list of its files,"))


def _thawed(run: RunDir) -> Frozen:
    index = json.loads((run.frozen / "index.json").read_text())
    plans = _FrozenReader(run, "plan", index["plan"])
    environments = _FrozenReader(run, "environment", index["environment"])
    plan = load_plan(index["plan"][0]["name"], plans)
    inline = inline_environment(plan) if not index["environment"] else None
    if inline is not None:
        return Frozen(plan, inline)
    return Frozen(plan, load_environment(index["environment"][0]["name"], environments))


def applied_from(run: RunDir) -> str:
    """The plan's file as it was applied; '' where that can't be told."""
    try:
        index = json.loads((run.frozen / "index.json").read_text())
        root, name = index["root"], index["plan"][0]["name"]
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    return str(Path(root) / name) if root else ""


def edited(run: RunDir) -> tuple[str, ...]:
    """The plan's files that are not any more what they were when the run began; the run goes on with what it froze.

    None where that can't be read: what is wrong with the run is for who resumes it.
    """
    try:
        index = json.loads((run.frozen / "index.json").read_text())
    except (OSError, ValueError):
        return ()
    root = index.get("root")
    if not root:
        return ()
    return tuple(entry["name"] for entry in index["plan"] if _differs(Path(root) / entry["name"], entry["sha256"]))


def _differs(path: Path, sha256: str) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() != sha256
    except OSError:
        return True


def _write(run: RunDir, folder: str, sources: Iterable[Source]) -> list[dict[str, str]]:
    index = []
    for number, source in enumerate(sources):
        name = f"{folder}-{number:03d}-{PurePosixPath(source.name).name}"
        _keep(run.frozen / name, source.text.encode())
        index.append({"name": source.name, "file": name, "sha256": source.sha256})
    return index


def _keep(path: Path, content: bytes) -> None:
    file = POSIX.create_fixed(path, content)
    try:
        POSIX.fdatasync(file)
    finally:
        POSIX.close(file)


def _changed(what: str) -> Problem:
    return Problem("E720", "a frozen file of the run was changed", f"{what} is not what the run began with", _FIX)


class _FrozenReader:
    """Reads sources by the names that they had, from the run's folder."""

    def __init__(self, run: RunDir, folder: str, index: list[dict[str, str]]) -> None:
        self._run = run
        self._folder = folder
        self._index = {entry["name"]: entry for entry in index}

    def read(self, name: str) -> bytes:
        entry = self._index[name]
        content = (self._run.frozen / Path(entry["file"]).name).read_bytes()
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise JournalFault(_changed(entry["file"]))
        return content
