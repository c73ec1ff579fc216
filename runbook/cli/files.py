"""Plan and environment files on disk: where names lead, and what must not be read.

Owns :class:`Files`, the reader that the pure loader is given. Promises: a name stays below the plan root, through links too; a
directory that anybody may write is refused (exit 4), since a plan is code.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from runbook.errors import InvalidInput, Problem, Refused, UsageFault, suggest


@dataclass(frozen=True, slots=True)
class Files:
    """Reads files below ``root`` by their names relative to it."""

    root: Path

    def read(self, name: str) -> bytes:
        """The bytes. Raises ``OSError``, or :class:`InvalidInput` for a name that leads out of the root."""
        path = (self.root / name).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise InvalidInput(
                Problem(
                    "E151", "a file outside the plan root", f"{name} leads to {path}", "copy it below the plan root"
                )
            )
        return path.read_bytes()


def rooted(path: Path) -> tuple[Files, str]:
    """The reader for a file and its name there: the working directory is the root for what is below it, so that messages
    have the path as it was typed; for anything else the file's own directory.
    """
    here = Path.cwd()
    whole = path if path.is_absolute() else here / path
    if ".." not in whole.parts and whole.is_relative_to(here):
        return Files(here), whole.relative_to(here).as_posix()
    return Files(whole.parent), whole.name


def present(path: Path) -> bool:
    """Whether there is something of that name. :class:`InvalidInput` where this user may not look."""
    try:
        return path.exists()
    except PermissionError as error:
        fix = f"work as the user whose it is (`namei -l {path}`)"
        raise InvalidInput(Problem("E100", "the file can't be read", f"{path}: {error.strerror}.", fix)) from None


def refuse_missing(path: Path) -> None:
    """Refuse (exit 2) what is no file."""
    there = present(path)
    if path.is_dir():
        raise UsageFault(Problem("E205", "a folder is not a plan", str(path), f"{path}/*.yaml, or one of them"))
    if not there:
        raise UsageFault(Problem("E205", "there is no such plan", str(path), _near(path)))


def _near(path: Path) -> str:
    """What may have been meant: a file beside it with such a name, else where to look."""
    beside = sorted(each.name for each in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
    near = [each.name for each in (path.with_suffix(".yaml"), path.with_suffix(".yml")) if each.exists()]
    return (f"did you mean '{near[0]}'?" if near else suggest(path.name, beside)) or "check the path"


def refuse_writable(path: Path) -> None:
    """Refuse (exit 4) a file or its directory that anybody may write."""
    for place in (path, path.resolve().parent):
        mode = place.stat().st_mode
        sticky = stat.S_ISDIR(mode) and mode & stat.S_ISVTX
        if mode & stat.S_IWOTH and not sticky:
            raise Refused(
                Problem(
                    "E474",
                    "anybody may change the plan",
                    f"{place} is writable for all (mode {stat.S_IMODE(mode):o}); a plan is code",
                    f"chmod o-w {place}",
                )
            )
