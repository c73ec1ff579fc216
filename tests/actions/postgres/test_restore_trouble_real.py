"""Restoring while things go wrong: clients that come back at once, a server that dies, a full disk, odd names, what holds on."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import psycopg
import pytest

from runbook.action import Unreachable
from runbook.actions.postgres.dump import Dump
from runbook.actions.postgres.restore import Restore
from runbook.artifact import Artifact
from runbook.errors import Refused
from runbook.system import Postgres, Store
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.life import Life
from tests.actions.systems import on_this_machine
from tests.fixtures.patience import eventually, meanwhile
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.process import works_in
from tests.fixtures.standstill import held_while_there

A_MOMENT_S = 30.0
"""It is some hundredths of a second; a machine may stall for some seconds."""


def dumped(stage: Stage, db: Postgres, backups: Store, **written: str) -> Artifact:
    found = stage.live(Dump(), db, stage.scope("dump"), to=backups, **written).artifact
    assert isinstance(found, Artifact)
    return found


def life(stage: Stage, db: Postgres, artifact: Artifact, **written: object) -> Life:
    return Life(stage, Restore(), db, stage.scope("restore"), {"artifact": artifact, **written})


@contextlib.contextmanager
def impatient(server: PostgresServer, name: str, *, clients: int) -> Iterator[list[tuple[float, float, int]]]:
    """Clients that read, and connect again the moment they are thrown out. Gives when they asked, had the answer, and its rows."""
    answers: list[tuple[float, float, int]] = []
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            with contextlib.suppress(psycopg.Error), psycopg.connect(server.dsn(name), autocommit=True) as link:
                while not ended.is_set():
                    asked = time.monotonic()
                    row = link.execute("SELECT count(*) FROM users").fetchone()
                    assert row is not None
                    answers.append((asked, time.monotonic(), int(row[0])))

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_clients_that_come_back_at_once_find_the_new_database_in_a_moment(
    stage: Stage, db: Postgres, backups: Store, postgres_server: PostgresServer
) -> None:
    artifact = dumped(stage, db, backups)
    postgres_server.sql("DELETE FROM users WHERE id > 50", db.database)
    with impatient(postgres_server, db.database, clients=6) as answers:
        step = life(stage, db, artifact)
        eventually(lambda: answers)
        step.go()
        out = step.end()
        seen = len(answers)
        eventually(lambda: len(answers) > seen + 20)
    counted = [rows for _, _, rows in answers]
    assert counted[0] == 50 and counted[-1] == 200
    last_old = max(asked for asked, _, rows in answers if rows == 50)
    first_new = min(answered for _, answered, rows in answers if rows == 200)
    assert 0 < first_new - last_old < A_MOMENT_S
    closed, swapped = datetime.fromisoformat(out.closed_at), datetime.fromisoformat(out.swapped_at)
    assert 0 < (swapped - closed).total_seconds() < A_MOMENT_S


def test_a_database_may_be_called_anything(
    stage: Stage, db: Postgres, backups: Store, postgres_server: PostgresServer
) -> None:
    name = "a\"; DROP DATABASE postgres; -- é='\\ {x}"
    quoted = '"' + name.replace('"', '""') + '"'
    postgres_server.sql(f"CREATE DATABASE {quoted}")
    odd = db.model_copy(update={"database": name})
    kept = ""
    try:
        artifact = dumped(stage, odd, backups)
        step = life(stage, odd, artifact)
        step.go()
        out = step.end()
        kept = out.kept_as
        assert out.database == name
        assert kept.startswith('a"; DROP DATABASE') and len(kept.encode()) <= 63
    finally:
        for one in filter(None, (name, kept)):
            doubled = one.replace('"', '""')
            postgres_server.sql(f'DROP DATABASE "{doubled}" WITH (FORCE)')


def test_a_server_that_dies_in_the_middle(
    stage: Stage, backups: Store, tmp_path: Path, postgres_cluster: Callable[..., PostgresServer]
) -> None:
    server = postgres_cluster()
    flag = server.socket_dir / "held"
    server.sql("CREATE DATABASE shop")
    server.sql("CREATE TABLE users AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, 20000) AS i", "shop")
    server.sql(
        f"{held_while_there(flag)}; CREATE TABLE last AS SELECT 1 AS id; CREATE INDEX ON last (held(id))", "shop"
    )
    db = on_this_machine(server, tmp_path, database="shop", binaries=str(server.bin_dir))
    artifact = dumped(stage, db, backups, format="custom")
    step = life(stage, db, artifact)
    assert step.go(stop_after=1) == ["create"]

    def loading() -> bool:
        held = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'rb\\_%' AND wait_event = 'PgSleep'"
        return server.sql(held) == [(1,)]

    def die() -> None:
        assert server.process is not None
        server.process.kill()
        server.process.wait()

    flag.touch()
    with meanwhile(loading, die), pytest.raises((StepFailed, Unreachable)):
        step.go()
    flag.unlink()
    eventually(lambda: not works_in(server.data_dir))  # backends of a killed postmaster end by themselves
    server.start()
    assert server.sql("SELECT count(*) FROM users", "shop") == [(20000,)]
    assert "drop_unfinished" in step.go()
    step.end()
    assert server.sql("SELECT count(*) FROM users", "shop") == [(20000,)]


@pytest.mark.root
def test_a_full_disk_leaves_the_live_database_intact(
    stage: Stage, backups: Store, tmp_path: Path, postgres_cluster: Callable[..., PostgresServer]
) -> None:
    server = postgres_cluster()
    disk = server.data_dir.parent / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        (disk / "space").mkdir()
        server.account.give(disk / "space")
        server.sql(f"CREATE TABLESPACE small LOCATION '{disk}/space'")
        server.sql("CREATE DATABASE shop TABLESPACE small")
        server.sql(
            "CREATE TABLE users AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, 60000) AS i", "shop"
        )
        db = on_this_machine(server, tmp_path, database="shop", binaries=str(server.bin_dir))
        artifact = dumped(stage, db, backups, format="custom")
        with pytest.raises(Refused, match="not enough space"):
            life(stage, db, artifact).plan()
        step = life(stage, db, artifact, space_factor=0)
        with pytest.raises(StepFailed, match="No space left on device"):
            step.go()
        assert server.sql("SELECT count(*) FROM users", "shop") == [(60000,)]
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert step.go()[0] == "drop_unfinished"
        step.end()
    finally:
        server.stop()
        subprocess.run(["umount", str(disk)], check=True)


def test_what_holds_on_to_the_database_is_named(
    stage: Stage, backups: Store, tmp_path: Path, postgres_cluster: Callable[..., PostgresServer]
) -> None:
    server = postgres_cluster(wal_level="logical", max_prepared_transactions="5")
    server.sql("CREATE DATABASE shop")
    server.sql("CREATE TABLE users AS SELECT 1 AS id", "shop")
    db = on_this_machine(server, tmp_path, database="shop", binaries=str(server.bin_dir))
    artifact = dumped(stage, db, backups)
    server.sql("SELECT pg_create_logical_replication_slot('feed', 'pgoutput')", "shop")
    with server.connect("shop") as link:
        link.execute("BEGIN")
        link.execute("INSERT INTO users VALUES (2)")
        link.execute("PREPARE TRANSACTION 'half'")
    subscribed = "CREATE SUBSCRIPTION news CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false, slot_name = NONE)"
    server.sql(subscribed, "shop")
    with pytest.raises(Refused) as refused:
        life(stage, db, artifact).plan()
    for what in ("logical replication slot feed", "prepared transaction half", "subscription news"):
        assert what in str(refused.value)
    server.sql("SELECT pg_drop_replication_slot('feed')")
    server.sql("ROLLBACK PREPARED 'half'", "shop")
    server.sql("DROP SUBSCRIPTION news", "shop")
    step = life(stage, db, artifact)
    step.go()
    step.end()


def test_a_resume_goes_on_after_somebody_made_one_of_the_missing_roles(
    stage: Stage, db: Postgres, backups: Store, postgres_server: PostgresServer
) -> None:
    mine = ("late_app", "late_reader")
    drop = "DROP ROLE IF EXISTS " + ", ".join(mine)
    for role in mine:
        postgres_server.sql(f"CREATE ROLE {role}")
    try:
        artifact = dumped(stage, db, backups)
        postgres_server.sql(drop)
        step = life(stage, db, artifact)
        assert step.go(stop_after=0) == []
        postgres_server.sql("CREATE ROLE late_app")
        assert step.go()[0] == "roles"
        step.end()
        found = postgres_server.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'late_%' ORDER BY 1")
        assert [row[0] for row in found] == list(mine)
    finally:
        postgres_server.sql(drop)
