"""A database of the guides' size on a real server, the guides' own commands against it, and the program beside them.

Every test below `tests/faults/` has the number of the fault in its name, shows the guide's command make it, and then what the
program does where that fault would have come.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.evidence.program import Program, Ran
from tests.fixtures.postgres import PostgresServer

DATABASE = "civicq"
ROLE = "civicq"
SECRET = "canary-77e1-wrong-horse"

BACKUP = """\
runbook: 1
name: backup
systems: {db: postgres, backups: store}
steps:
  - {id: dump, uses: postgres.dump, on: db, with: {to: backups, FORMAT}, timeout: 5m}
"""
VERIFY = """\
runbook: 1
name: verify
systems: {db: postgres, backups: store}
steps:
  - {id: pick, uses: backup.select, on: backups, with: {pattern: "*"}, timeout: 1m}
  - {id: prove, uses: postgres.verify_dump, on: db, with: {artifact: "{{ steps.pick.artifact }}"}, timeout: 5m}
"""
ADOPT = """\
runbook: 1
name: adopt
inputs: {name: {type: string}}
systems: {db: postgres, backups: store}
steps:
  - {id: adopt, uses: backup.adopt, on: backups, with: {name: "{{ inputs.name }}", database: civicq}, timeout: 1m}
"""
RESTORE = (
    VERIFY.replace("name: verify", "name: restore")
    + """\
  - id: restore
    uses: postgres.restore
    on: db
    with: {artifact: "{{ steps.prove.artifact }}"}
    timeout: 5m
"""
)

TABLES = (
    "CREATE TABLE cities (id serial PRIMARY KEY, name text NOT NULL UNIQUE)",
    "CREATE TABLE users (id serial PRIMARY KEY, email text NOT NULL UNIQUE, city_id int REFERENCES cities)",
    "INSERT INTO cities (name) SELECT 'town ' || n FROM generate_series(1, 100) n",
    "INSERT INTO users (email, city_id) SELECT 'u' || n || '@example.org', 1 + n % 100 FROM generate_series(1, 1000) n",
)
COUNTS = {"cities": 100, "users": 1000}


@dataclass
class House:
    """A server with the database, a store, and a state folder. The role's own database does not exist (as in the guides)."""

    server: PostgresServer
    folder: Path
    role: str = ROLE

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def program(self) -> Program:
        return Program(self.folder, {"DB_PASSWORD": SECRET, "NO_COLOR": "1"})

    def environment(self) -> Path:
        path = self.folder / "environment.yaml"
        path.write_text(
            "environment: faults\nsystems:\n"
            f"  db: {{type: postgres, address: 127.0.0.1, port: {self.server.port}, user: {self.role}, "
            f'database: {DATABASE}, password: {{env: DB_PASSWORD}}, binaries: "{self.server.bin_dir}"}}\n'
            f'  backups: {{type: store, url: "file://{self.store}"}}\n'
        )
        return path

    def apply(self, plan: str, *more: str) -> Ran:
        """Run a plan's text to its end, confirming what it asks."""
        return self.program.run("apply", *self._words(plan), *more)

    def begin(self, plan: str) -> subprocess.Popen[bytes]:
        """Start it, and don't wait."""
        return self.program.start("apply", *self._words(plan))

    def _words(self, plan: str) -> list[str | Path]:
        path = self.folder / "plan.yaml"
        path.write_text(plan)
        return [path, "--env", self.environment(), "--confirm", DATABASE, "--yes"]

    def back_up(self, form: str = "format: custom") -> Path:
        """A backup by the program; the dump's path. A backup is named by its second, so another one waits for the next."""
        if any(self.store.iterdir()):
            time.sleep(1.1)
        ran = self.apply(BACKUP.replace("FORMAT", form))
        assert ran.code == 0, ran.said
        return self.store / str(self.program.outputs("dump")["artifact"]["name"])

    def adopt(self, name: str) -> Ran:
        """Take a dump that the guide's script made into the store's books."""
        return self.apply(ADOPT, "-i", f"name={name}")

    def guide(self, script: str, **more: str) -> subprocess.CompletedProcess[bytes]:
        """Run the guide's lines as its cron job would: bash, no terminal."""
        path = f"{self.server.bin_dir}:{os.environ['PATH']}"
        words = {
            "PATH": path,
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.server.port),
            "PGPASSWORD": SECRET,
            "HOME": "/",
        }
        return subprocess.run(
            ["bash", "-c", script],
            env=words | {"STORE": str(self.store)} | more,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )

    def rows(self, database: str = DATABASE) -> Mapping[str, int]:
        """The rows of both tables; a table that is not there has none."""
        found = {}
        for table in COUNTS:
            there = self.server.sql(f"SELECT to_regclass('{table}') IS NOT NULL", database)[0][0]
            found[table] = int(str(self.server.sql(f"SELECT count(*) FROM {table}", database)[0][0])) if there else 0
        return found

    def oid(self, database: str = DATABASE) -> int:
        """Which database has that name now; 0: none."""
        rows = self.server.sql(f"SELECT oid::int FROM pg_database WHERE datname = '{database}'")
        return int(str(rows[0][0])) if rows else 0

    def databases(self) -> set[str]:
        """All but the templates and the maintenance database."""
        rows = self.server.sql(
            "SELECT datname::text FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"
        )
        return {str(name) for (name,) in rows}


def build(server: PostgresServer, folder: Path, *, role: str = ROLE) -> House:
    """The database with its rows, owned by the role, and an empty store."""
    server.sql(
        f"DO $$ BEGIN CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{SECRET}'; "
        f"EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    server.sql(f"CREATE DATABASE {DATABASE} OWNER {role}")
    for statement in TABLES:
        server.sql(statement, DATABASE)
    house = House(server, folder, role)
    house.store.mkdir(mode=0o700)
    return house
