"""Dumping, proving, choosing and comparing, on a real server."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from runbook.action import CheckFailed
from runbook.actions.backup.select import Select
from runbook.actions.postgres.assertion import Assert
from runbook.actions.postgres.dump import Dump
from runbook.actions.postgres.verify_dump import VerifyDump
from runbook.artifact import Artifact, Format, Manifest, Proof
from runbook.errors import Refused
from runbook.system import Postgres, Store
from tests.actions.harness import Stage, StepFailed
from tests.actions.systems import in_file
from tests.fixtures.patience import eventually
from tests.fixtures.postgres import FreshDatabases, PostgresServer

STEPS = ["snapshot", "ended", "globals", "sums", "draft"]
NAMES = ["publish_data", "publish_sums", "publish_counts", "publish_globals", "publish_manifest"]


def folder(backups: Store) -> Path:
    return Path(backups.directory)


def dump(stage: Stage, db: Postgres, backups: Store, **written: Any) -> Artifact:
    found = stage.live(Dump(), db, stage.scope("dump"), to=backups, **written).artifact
    assert isinstance(found, Artifact)
    return found


@pytest.mark.parametrize("form", ["directory", "custom"])
def test_from_dump_to_proof(stage: Stage, db: Postgres, backups: Store, form: str) -> None:
    made = dump(stage, db, backups, format=form)
    manifest = made.manifest
    assert manifest is not None
    assert manifest.format is Format(form)
    assert manifest.server_version > 100000 and manifest.system_identifier
    assert manifest.started_at <= manifest.finished_at
    assert {path.name for path in folder(backups).iterdir()} == {
        made.name,
        f"{made.name}.manifest.json",
        f"{made.name}.counts.jsonl",
        f"{made.name}.globals.sql",
        *([f"{made.name}.sha256"] if form == "directory" else []),
    }
    for path in folder(backups).iterdir():
        assert path.stat().st_mode & 0o077 == 0, f"{path.name} can be read by others"
    lines = (folder(backups) / manifest.counts).read_text().splitlines()
    assert {line["table"]: line["rows"] for line in map(json.loads, lines)} == {
        "public.users": 200,
        "shop.orders": 1000,
    }

    chosen = stage.live(Select(), backups, name="newest").artifact
    assert chosen == made
    proven = stage.live(VerifyDump(), db, artifact=chosen).artifact
    assert proven.proof is Proof.READ
    compared = stage.live(Assert(), db, counts_of={"artifact": proven})
    assert compared.tables == 2


def test_rows_that_went_are_named(stage: Stage, db: Postgres, backups: Store, postgres_server: PostgresServer) -> None:
    made = dump(stage, db, backups)
    postgres_server.sql("DELETE FROM users WHERE id > 190", db.database)
    with pytest.raises(StepFailed, match=r"public\.users: 190 rows, expected 200"):
        stage.live(Assert(), db, counts_of={"artifact": made})
    only_orders = {"artifact": made, "tables": ["shop.*"]}
    assert stage.live(Assert(), db, counts_of=only_orders).tables == 1
    postgres_server.sql("INSERT INTO shop.orders (id, who) VALUES (5001, 1)", db.database)
    with pytest.raises(StepFailed, match=r"shop\.orders"):
        stage.live(Assert(), db, counts_of=only_orders)
    assert stage.live(Assert(), db, counts_of={**only_orders, "exact": False}).tables == 1
    postgres_server.sql("DROP TABLE shop.orders", db.database)
    with pytest.raises(StepFailed, match=r"shop\.orders: no such table, expected 1000"):
        stage.live(Assert(), db, counts_of=only_orders)


def test_counts_and_rows_are_of_one_instant_while_others_write(
    stage: Stage, db: Postgres, backups: Store, postgres_server: PostgresServer, fresh_database: FreshDatabases
) -> None:
    ended, written = threading.Event(), [0]

    def write() -> None:
        with postgres_server.connect(db.database) as connection:
            while not ended.is_set():
                connection.execute("INSERT INTO users (name) VALUES ('late')")
                written[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        eventually(lambda: written[0])
        made = dump(stage, db, backups)
        until_then = written[0]
        eventually(lambda: written[0] > until_then)
    finally:
        ended.set()
        writer.join()
    side = fresh_database()
    restore: list[str] = [
        str(postgres_server.tool("pg_restore")),
        "--exit-on-error",
        f"--dbname={postgres_server.dsn(side)}",
    ]
    subprocess.run([*restore, str(folder(backups) / made.name)], check=True)
    beside = db.model_copy(update={"database": side})
    assert stage.live(Assert(), beside, counts_of={"artifact": made}).tables == 2
    assert postgres_server.sql("SELECT count(*) FROM users", side) < postgres_server.sql(
        "SELECT count(*) FROM users", db.database
    )


@pytest.mark.parametrize("stop_after", [*STEPS, *NAMES])
def test_stopped_anywhere_and_resumed(stage: Stage, db: Postgres, backups: Store, stop_after: str) -> None:
    scope = stage.scope("dump")
    assert stage.live(Dump(), db, scope, stop_after=stop_after, to=backups) is None
    visible = [path for path in folder(backups).iterdir() if path.name.endswith(".manifest.json")]
    assert bool(visible) == (stop_after == NAMES[-1]), "there is no backup before its manifest has its name"
    stage.performed.clear()
    made = stage.live(Dump(), db, scope, to=backups)
    if stop_after in ("draft", *NAMES):
        at = NAMES.index(stop_after) + 1 if stop_after in NAMES else 0
        assert stage.performed == NAMES[at:]
    assert [path.name for path in folder(backups).iterdir() if path.name.endswith(".partial")] == []
    assert stage.live(VerifyDump(), db, artifact=made.artifact).artifact.proof is Proof.READ


def test_done_already_is_nothing_to_do(stage: Stage, db: Postgres, backups: Store) -> None:
    made = dump(stage, db, backups)
    assert stage.planned(Dump(), db, stage.scope("dump"), to=backups) == ()
    assert dump(stage, db, backups) == made


def test_a_name_that_something_else_has_is_refused(stage: Stage, db: Postgres, backups: Store) -> None:
    made = dump(stage, db, backups)
    with pytest.raises(Refused, match="already a backup of this name"):
        stage.live(Dump(), db, stage.scope("another"), to=backups)
    (folder(backups) / f"{made.name}.manifest.json").unlink()
    with pytest.raises(Refused, match="already a backup of this name"):
        stage.live(Dump(), db, stage.scope("dump"), to=backups)
    (folder(backups) / "foreign.dump").write_text("x")
    with pytest.raises(Refused, match="already a backup of this name"):
        stage.live(Dump(), db, stage.scope("dump"), to=backups, name="foreign.dump")


@pytest.mark.parametrize("form", ["directory", "custom"])
def test_a_database_may_be_called_anything(
    stage: Stage, db: Postgres, backups: Store, postgres_server: PostgresServer, form: str
) -> None:
    name = '-a\'b é=\\ "x"'
    quoted = '"' + name.replace('"', '""') + '"'
    postgres_server.sql(f"CREATE DATABASE {quoted}")
    try:
        odd = db.model_copy(update={"database": name})
        made = dump(stage, odd, backups, format=form)
        assert made.database == name
        assert stage.live(VerifyDump(), odd, artifact=made).artifact.proof is Proof.READ
    finally:
        postgres_server.sql(f"DROP DATABASE {quoted} WITH (FORCE)")


def test_a_plain_role_can_dump_what_it_owns(
    stage: Stage, db: Postgres, backups: Store, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    role = f"{db.database}_owner"
    postgres_server.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'pa:ss\\w o''rd'")
    postgres_server.sql(f"CREATE DATABASE {role} OWNER {role}")
    secret = in_file(tmp_path / "plain.password", "pa:ss\\w o'rd")
    try:
        plain = db.model_copy(update={"user": role, "database": role, "password": secret})
        made = dump(stage, plain, backups, format="custom")
        assert "SCRAM-SHA-256" not in (folder(backups) / f"{made.name}.globals.sql").read_text()
    finally:
        postgres_server.sql(f"DROP DATABASE {role} WITH (FORCE)")
        postgres_server.sql(f"DROP ROLE {role}")


def test_without_space_nothing_is_begun(stage: Stage, db: Postgres, backups: Store) -> None:
    with pytest.raises(Refused, match="not enough space"):
        stage.live(Dump(), db, to=backups, space_factor=1e12)
    shutil.rmtree(folder(backups))
    with pytest.raises(Refused, match="directory is not there"):
        stage.live(Dump(), db, to=backups)


def test_a_client_that_is_older_or_missing_is_refused(
    stage: Stage, db: Postgres, backups: Store, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match="is missing"):
        stage.live(Dump(), db.model_copy(update={"binaries": str(tmp_path)}), to=backups)
    (tmp_path / "pg_dump").write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
    (tmp_path / "pg_dump").chmod(0o755)
    with pytest.raises(Refused, match="older than the server"):
        stage.live(Dump(), db.model_copy(update={"binaries": str(tmp_path)}), to=backups)


def test_a_failed_pg_dump_leaves_no_backup(stage: Stage, db: Postgres, backups: Store) -> None:
    absent = db.model_copy(update={"database": "absent"})
    with pytest.raises(Exception, match="database"):
        dump(stage, absent, backups)
    assert list(folder(backups).iterdir()) == []


@pytest.mark.parametrize("form", ["directory", "custom"])
def test_damage_is_found(stage: Stage, db: Postgres, backups: Store, form: str) -> None:
    made = dump(stage, db, backups, format=form, compress=0)
    chance = random.Random(7)
    found = sorted(folder(backups).rglob("*"))
    files = [path for path in found if path.is_file() and not path.name.endswith(".manifest.json")]
    for _ in range(12):
        path = chance.choice([path for path in files if path.stat().st_size])
        whole = path.read_bytes()
        at = chance.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :])
        with pytest.raises((StepFailed, CheckFailed)):
            stage.live(VerifyDump(), db, artifact=made)
        path.write_bytes(whole)
    for length in (0, 1, 100):
        path = max(files, key=lambda file: file.stat().st_size) if form == "directory" else folder(backups) / made.name
        whole = path.read_bytes()
        path.write_bytes(whole[:length])
        with pytest.raises((StepFailed, CheckFailed)):
            stage.live(VerifyDump(), db, artifact=made)
        path.write_bytes(whole)
    assert stage.live(VerifyDump(), db, artifact=made).artifact.proof is Proof.READ


def test_what_must_not_be_restored_is_refused(stage: Stage, db: Postgres, backups: Store) -> None:
    made = dump(stage, db, backups)
    with pytest.raises(Refused, match="another database"):
        stage.live(VerifyDump(), db.model_copy(update={"database": "postgres"}), artifact=made)
    other = db.model_copy(update={"database": "postgres"})
    assert (
        stage.live(VerifyDump(), other, artifact=made, database=db.database, level="hashed").artifact.proof
        is Proof.HASHED
    )
    path = folder(backups) / f"{made.name}.manifest.json"
    manifest = Manifest.model_validate_json(path.read_text())
    path.write_text(manifest.model_copy(update={"server_version": 990001}).model_dump_json())
    with pytest.raises(Refused, match="replaced since it was chosen"):
        stage.live(VerifyDump(), db, artifact=made)
    with pytest.raises(Refused, match="newer server"):
        stage.live(VerifyDump(), db, artifact=stage.live(Select(), backups).artifact)
    path.unlink()
    with pytest.raises(Refused, match="no manifest"):
        stage.live(VerifyDump(), db, artifact=made)
