"""A world for the tests of actions: a real one, with a run's directory of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook.secret import Redactor
from runbook.transports.commands import Commands
from runbook.transports.database import Databases
from runbook.transports.docker import DockerEngine
from runbook.transports.look import LiveLook
from runbook.transports.secrets import SecretStore


@pytest.fixture
def look(tmp_path: Path) -> LiveLook:
    """The reads of an observer, and nothing that acts."""
    redactor = Redactor()
    secrets, engine = SecretStore(tmp_path / "run", redactor), DockerEngine()
    return LiveLook(
        secrets=secrets, engine=engine, databases=Databases(secrets, engine, redactor), commands=Commands(engine)
    )
