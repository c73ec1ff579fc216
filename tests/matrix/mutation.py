"""A defence taken out of the source: one text of one file replaced by another, for every process that runs from that tree."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutation:
    """In ``file`` (below the checkout) ``text`` stands exactly once, and is replaced by ``instead``: without the defence."""

    file: str
    text: str
    instead: str

    def of(self, source: str) -> str:
        """The source without the defence. ``ValueError`` where the text does not stand there exactly once."""
        if (times := source.count(self.text)) != 1:
            raise ValueError(f"{self.file}: the text of a mutation stands there {times} times, not once: {self.text!r}")
        return source.replace(self.text, self.instead)

    def apply(self, checkout: Path) -> None:
        """Write it into a checkout that is thrown away afterwards; what Python kept of the file goes."""
        path = checkout / self.file
        mutated = self.of(path.read_text())
        path.unlink()
        path.write_text(mutated)
        for kept in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            kept.unlink()

    def fault(self, checkout: Path) -> str:
        """Why it can't be applied here, or what is left is no program; empty where all is well. Nothing is written."""
        try:
            mutated = self.of((checkout / self.file).read_text())
            if self.file.endswith(".py"):
                compile(mutated, self.file, "exec")
            elif self.file.endswith(".sh"):
                subprocess.run(["sh", "-n"], input=mutated, text=True, check=True, capture_output=True)
        except (OSError, ValueError, SyntaxError, subprocess.CalledProcessError) as error:
            return str(error)
        return ""
