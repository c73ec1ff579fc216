"""Facts of a machine in good health, to be changed where a test wants them otherwise."""

from __future__ import annotations

from datetime import UTC, datetime

from runbook.doctor.facts import (
    Clock,
    Engine,
    Facts,
    Filter,
    Library,
    Need,
    Program,
    Python,
    Seen,
    ServerFacts,
    StateDirectory,
    StoreFacts,
)
from runbook.host import LOCAL, Docker

NOW = datetime(2026, 12, 1, 3, 0, tzinfo=UTC)
GIB = 1024**3
PYTHON = Python((3, 13, 5), Filter.MENDED)
LIBRARIES = (Library("jinja2", "3.1.6"), Library("ruamel.yaml.clib", "0.2.15"), Library("psycopg", "3.2.4"))
STATE = StateDirectory("/srv/.runbook", there=True, mode=0o700, owner=1000, writable=True, free_bytes=40 * GIB)
ENGINE = Engine("unix:///var/run/docker.sock", there=True, answered=True)
CONTAINER = Docker("pg")
SERVER = ServerFacts(
    version=170_011,
    database="civicq",
    database_there=True,
    superuser=True,
    database_bytes=2 * GIB,
    data_directory="/var/lib/postgresql/data",
    free_bytes=30 * GIB,
    offset_s=0.01,
    slack_s=0.02,
)
STORE = StoreFacts(there=True, writable=True, mode=0o700, free_bytes=30 * GIB, newest="d.dump", newest_bytes=GIB)
DB = Seen("db", "postgres", "docker:pg", 0.012, "answers", None, SERVER, changed=True)
BACKUPS = Seen("backups", "store", "this machine", 0.001, "/backups", None, STORE, changed=True)
RESTORES = Need(CONTAINER, "pg_restore", ("db",), ("restore",))
DUMPS = Need(LOCAL, "pg_dump")


def says(program: str, version: str) -> Program:
    """A program as it is found where it is called."""
    return Program(f"/usr/bin/{program}", f"{program} (PostgreSQL) {version}")


def healthy() -> Facts:
    """A plan in an environment, with nothing to find fault with."""
    return Facts(
        python=PYTHON,
        libraries=LIBRARIES,
        user=1000,
        clock=Clock(NOW),
        state=STATE,
        engine=ENGINE,
        engine_needed=True,
        plans_given=True,
        environment="production",
        needs=(RESTORES,),
        programs={RESTORES.key: says("pg_restore", "17.11")},
        seen=(DB, BACKUPS),
    )
