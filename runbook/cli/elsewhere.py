"""Commands that are shown to be typed, where the state directory is not the one that they would look into.

Owns the line that says so: a command that is copied from the screen finds its run.
"""

from __future__ import annotations

import os
from pathlib import Path

from runbook.cli.options import STATE
from runbook.journal.layout import RunDir
from runbook.quoting import shell_word
from runbook.report.line import Line


def elsewhere(run: RunDir) -> tuple[Line, ...]:
    """What to add to commands about the run; nothing where they find it as they are."""
    state = run.path.parent.parent
    usual = Path(os.environ.get("RUNBOOK_STATE") or STATE).absolute()
    if state == usual or (usual.exists() and state.exists() and usual.samefile(state)):
        return ()
    word = shell_word(str(state))
    return (Line(" ", f"each with --state {word}; or, once: export RUNBOOK_STATE={word}", "dim"),)
