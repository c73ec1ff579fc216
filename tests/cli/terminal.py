"""What the tests of commands type, and what they see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from runbook.cli.main import run
from runbook.journal.layout import runs
from runbook.operation import Json


@dataclass(frozen=True)
class Said:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Json]:
        """Its only line on stdout, as an object."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


@dataclass(frozen=True)
class Terminal:
    """Runs commands in this process, on one state directory; nobody is there to type."""

    state: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Said:
        """``runbook ARGUMENTS --state …``."""
        self.capture.readouterr()
        code = run([*arguments, "--state", str(self.state)])
        seen = self.capture.readouterr()
        return Said(code, seen.out, seen.err)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The same as a process of its own."""
        argv = [sys.executable, "-m", "runbook.cli", *arguments, "--state", str(self.state)]
        environment = {**os.environ, "NO_COLOR": "1"}
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, env=environment)

    def run(self) -> Path:
        """The directory of the youngest run."""
        return runs(self.state)[-1].path
