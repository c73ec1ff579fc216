"""Plan and environment files on disk: where names lead, and what must not be read.

Owns :class:`Files`, the reader that the pure loader is given. Promises: a name stays below the plan root, through links too; a
directory that anybody may write is refused (exit 4), since a plan is code.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from runbook.errors import InvalidInput, Problem, Refused, UsageFault


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
        fix = "write it to a file, and name that" if str(path) == "-" else _near(path)
        raise UsageFault(Problem("E205", "there is no such plan", str(path), fix))
    if not path.is_file():
        detail = (
            f"{path} is a pipe or a device. A run keeps the files that it was made of, by their names, for its resume."
        )
        raise UsageFault(Problem("E205", "a plan is a file", detail, "write it to a file, and name that"))


def _near(path: Path) -> str:
    """What may have been meant: a file beside it with such a name, else where to look."""
    beside = {each.stem: each for each in sorted(path.parent.glob("*.y*ml"))} if path.parent.is_dir() else {}
    near = get_close_matches(path.stem, beside, n=1, cutoff=0.6)
    return f"did you mean '{beside[near[0]]}'?" if near else "check the path"


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
