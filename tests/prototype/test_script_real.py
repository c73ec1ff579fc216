"""The lines that a dry-run shows, pasted into a shell against a real server: they reach the same end, without journal or resume.

A person does what a line only describes (mint a secret, type a password, write a password's file); everything else is given to
``bash`` as it stands. Lines with line feeds in them use ``$'…'``, which dash does not know.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from runbook.action import Scope
from runbook.actions.postgres.dump import Dump
from runbook.actions.postgres.restore import Restore
from runbook.actions.postgres.rotate_password import RotatePassword
from runbook.journal.layout import make_run
from runbook.operation import Generate, Operations, SetPassword, Wait
from runbook.paste import paste
from runbook.secret import FromEscrow, Redactor
from runbook.system import Postgres, Store
from runbook.transports.world import World
from tests.actions.harness import RUN, Stage
from tests.actions.systems import on_this_machine
from tests.fixtures.postgres import FreshDatabases, PostgresServer

DESCRIBED = re.compile(r"\$?'<a 0600 file with: [^']*'")
"""A file that a line only describes; whoever follows it writes that file."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    directory = make_run(tmp_path / "state", RUN).path
    world = World(directory, run=RUN, redactor=Redactor())
    yield Stage(world.look, world, directory)
    world.close()


@pytest.fixture
def db(stage: Stage, tmp_path: Path, postgres_server: PostgresServer, fresh_database: FreshDatabases) -> Postgres:
    name = fresh_database("CREATE TABLE users (id int PRIMARY KEY)", "INSERT INTO users SELECT generate_series(1, 50)")
    return on_this_machine(postgres_server, tmp_path, database=name, binaries=str(postgres_server.bin_dir))


def shell(line: str, server: PostgresServer, directory: Path, typed: str = "") -> str:
    """Paste one line into bash; without a terminal of its own, psql reads a password that is typed from its input."""
    environment = {"PATH": f"{server.bin_dir}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    ran = subprocess.run(
        ["bash", "-c", line],
        input=typed,
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert ran.returncode == 0, f"{line}\n{ran.stderr}"
    return ran.stdout


def followed(operations: Operations, server: PostgresServer, directory: Path) -> None:
    """What a person does who has nothing but the page."""
    service = directory / "service.conf"
    service.touch(mode=0o600)
    service.write_text(f"[runbook]\npassword={server.password}\n")
    for operation in operations:
        line = DESCRIBED.sub(str(service), paste(operation))
        match operation:
            case Generate(escrow=name, length=length):
                kept = directory / "escrow" / name
                kept.parent.mkdir(mode=0o700, exist_ok=True)
                kept.touch(mode=0o600)
                kept.write_text(secrets.token_hex(length // 2))
            case SetPassword(password=FromEscrow(name)):
                secret = (directory / "escrow" / name).read_text()
                assert secret not in line
                shell(line, server, directory, typed=f"{secret}\n{secret}\n")
            case Wait(until=conditions):
                shown = shell(line, server, directory)
                assert all(str(condition.value) in shown for condition in conditions)
            case _:
                shell(line, server, directory)


def scope(stage: Stage, *systems: Postgres | Store) -> Scope:
    stage.systems = {system.key: system for system in systems}
    return stage.scope("restore")


def rows(server: PostgresServer, database: str) -> int:
    return int(str(server.sql("SELECT count(*) FROM users", database)[0][0]))


def test_restore_beside_and_swap(stage: Stage, db: Postgres, postgres_server: PostgresServer, tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir(mode=0o700)
    store = Store(type="store", url=f"file://{tmp_path}/backups", key="backups")
    here = scope(stage, db, store)
    dump = stage.live(Dump(), db, here, to=store).artifact
    postgres_server.sql("DELETE FROM users WHERE id > 10", db.database)
    operations = stage.planned(Restore(), db, here, artifact=dump)
    followed(operations, postgres_server, stage.directory)
    assert rows(postgres_server, db.database) == 50
    kept = [str(name) for (name,) in postgres_server.sql("SELECT datname FROM pg_database") if "_old_" in str(name)]
    try:
        assert [rows(postgres_server, name) for name in kept if name.startswith(db.database)] == [10]
    finally:
        for name in kept:
            postgres_server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_a_new_password(stage: Stage, db: Postgres, postgres_server: PostgresServer) -> None:
    role = f"app_{db.database}"
    postgres_server.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'old and known'")
    try:
        here = scope(stage, db)
        operations = stage.planned(RotatePassword(), db, here, role=role, escrow="app.password")
        followed(operations, postgres_server, stage.directory)
        assert stage.planned(RotatePassword(), db, here, role=role, escrow="app.password") == ()
        verifier = postgres_server.sql(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'")[0][0]
        assert str(verifier).startswith("SCRAM-SHA-256$")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(host=db.address, port=db.port, user=role, dbname=db.database, password="old and known")
    finally:
        postgres_server.sql(f"DROP ROLE {role}")
