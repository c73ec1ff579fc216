"""The program itself, where an operation calls it: operations say ``runbook``, as a person would type it.

Owns where that is on this machine. Promises: what is run is the installation that runs the plan, whatever the PATH holds; the
program itself, and no other, is given the variables of the AWS SDK beside those of every child: its credentials are the engine's.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

NAME = "runbook"


def own_program() -> str:
    """The path of the console script; its bare name where it is not found."""
    beside = Path(sys.executable).with_name(NAME)
    return str(beside) if os.access(beside, os.X_OK) else shutil.which(NAME) or NAME


def resolved(argv: Sequence[str]) -> tuple[str, ...]:
    """The argv as it is run here."""
    return (own_program(), *argv[1:]) if argv and argv[0] == NAME else tuple(argv)


def own_environment(argv: Sequence[str]) -> Mapping[str, str]:
    """What it gets beside the environment of every child: the variables of the SDK; nothing for another program."""
    if not argv or argv[0] != NAME:
        return {}
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
