"""The document service's web server as a part of the stack; what it answers is in :mod:`runbook.sandbox.web`.

Owns its start. It runs as the operator, not as nobody: it needs the Python that runs this, which may lie where nobody
can't go. It takes no input but a path. Promises: its settings are a file that it reads at each request, so a database
that moved to another port is found again.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import runbook
from runbook.sandbox.account import OPERATOR
from runbook.sandbox.layout import Layout
from runbook.sandbox.part import Wait, environment
from runbook.sandbox.ports import LOOPBACK
from runbook.sandbox.postgres import Login
from runbook.sandbox.process import Command, ProcessId, Step
from runbook.sandbox.s3 import http_get
from runbook.sandbox.state import write_private


@dataclass(frozen=True, slots=True)
class Site:
    """The web server in ``layout`` on ``port``, in front of the database that ``login`` reaches."""

    layout: Layout
    port: int
    login: Login

    name = "web"
    ending = (Step(signal.SIGTERM, 30.0), Step(signal.SIGKILL, 30.0))

    @property
    def address(self) -> str:
        """The service's URL."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def settings(self) -> Path:
        """Its settings: the database's place, and the name of the password's file."""
        return self.layout.directory / "web.json"

    def prepare(self) -> None:
        """Write the settings."""
        body = {
            "host": self.login.address,
            "port": self.login.port,
            "user": self.login.user,
            "dbname": self.login.database,
            "password_file": str(self.login.password_file),
        }
        write_private(self.settings, json.dumps(body, indent=2) + "\n")

    def command(self) -> Command:
        """This Python, finding modules where this process finds them; ``-P`` keeps the working directory out."""
        path = os.pathsep.join([str(Path(runbook.__file__).resolve().parent.parent), *filter(os.path.isabs, sys.path)])
        argv = (sys.executable, "-P", "-m", "runbook.sandbox.web", str(self.port), str(self.settings))
        directory = self.layout.directory
        return Command(argv, environment(directory, PYTHONPATH=path), directory, OPERATOR)

    def ready(self, wait: Wait) -> str:
        """Wait until it answers, healthy or not: an empty database isn't the web server's fault."""
        wait.until(lambda: http_get(self.port, "/api/health")[0] in (200, 503))
        return runbook.__version__

    def found(self) -> ProcessId | None:
        """Nobody but the stack starts it."""
        return None

    def left(self) -> tuple[ProcessId, ...]:
        """Nothing but the server itself."""
        return ()

    def cleared(self) -> bool:
        """It leaves nothing."""
        return True
