"""A restore in a whole run: the plan that chooses the newest backup, and does with it what a test asks for."""

from __future__ import annotations

from pathlib import Path

from runbook.secret import FromFile
from runbook.system import Postgres, Store
from tests.actions.in_a_run import Rehearsal
from tests.fixtures.postgres import PostgresServer

PLAN = """\
runbook: 1
name: back
title: Restore the newest backup
environment:
  environment: here
  systems:
    db: {{type: postgres, address: {address}, port: {port}, user: {user}, database: {database},
          password: {{file: {secret}}}, binaries: {binaries}}}
    backups: {{type: store, url: "{store}"}}
systems: {{db: postgres, backups: store}}
steps:
  - {{id: pick, title: Choose, uses: backup.select, on: backups, timeout: 10m}}
"""

RESTORE = """\
  - id: restore
    title: Restore beside, then swap
    uses: postgres.restore
    on: db
    with: {artifact: "{{ steps.pick.artifact }}", jobs: 1}
    timeout: 10m
"""

BESIDE = """\
  - id: look
    title: Restore beside
    uses: postgres.restore_beside
    on: db
    with: {artifact: "{{ steps.pick.artifact }}", jobs: 1}
    timeout: 10m
"""

DROP = """\
finally:
  - {id: drop, title: Drop the copy, uses: postgres.drop_beside, on: db, releases: look, timeout: 10m}
"""


def drop_copies(server: PostgresServer) -> None:
    """Drop what restores of any run left under their own names, so that the next test finds none."""
    for (name,) in server.sql("SELECT datname FROM pg_database WHERE datname LIKE 'rb\\_%'"):
        server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')


def rehearsal(db: Postgres, backups: Store, state: Path, *steps: str) -> Rehearsal:
    """A run of ``steps`` (the text of each, in a plan's words) behind ``pick``, which chose the newest backup."""
    assert isinstance(db.password, FromFile)
    filled = PLAN.format(
        address=db.address,
        port=db.port,
        user=db.user,
        database=db.database,
        secret=db.password.path,
        binaries=db.binaries,
        store=backups.url,
    )
    return Rehearsal(filled + "".join(steps), state)
