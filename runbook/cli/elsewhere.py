"""Commands that are shown to be typed, where the state directory is not the one that they would look into.

Owns the line that says so: a command that is copied from the screen finds its run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from runbook.cli.options import STATE
from runbook.errors import Problem
from runbook.journal.layout import RunDir
from runbook.quoting import shell_word
from runbook.report.line import Line

_NAMED = re.compile(r"\brunbook (?:[a-z]+ (\d{8}-\d{6}-[a-z0-9-]+)|runs\b)")


def elsewhere(run: RunDir) -> tuple[Line, ...]:
    """What to add to commands about the run; nothing where they find it as they are."""
    words = _words(run.path.parent.parent)
    return (Line(" ", f"each with {words}", "dim"),) if words else ()


def remedies(problems: Iterable[Problem], state: Path) -> str:
    """What to add to the remedies of problems that were met in that state directory: it holds the runs that they name."""
    named = [match[1] for problem in problems for match in _NAMED.finditer(problem.fix)]
    found = any(name is None or (state / "runs" / name).is_dir() for name in named)
    words = _words(state) if found else ""
    return f"  with {words}" if words else ""


def _words(state: Path) -> str:
    usual = Path(os.environ.get("RUNBOOK_STATE") or STATE).absolute()
    if state == usual or (usual.exists() and state.exists() and usual.samefile(state)):
        return ""
    word = shell_word(str(state))
    return f"--state {word}; or, once: export RUNBOOK_STATE={word}"
