"""Adopting backups that real tools made."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runbook.action import CheckFailed
from runbook.actions.backup import unpacked_size
from runbook.actions.backup.adopt import Adopt
from runbook.actions.backup.select import Select
from runbook.actions.postgres.verify_dump import VerifyDump
from runbook.artifact import Artifact, Format, Proof
from runbook.errors import Refused
from runbook.system import Postgres, Store
from tests.actions.harness import Stage, StepFailed
from tests.fixtures.postgres import PostgresServer

NAME = "old.dump"
FORMS = {"c": Format.CUSTOM, "d": Format.DIRECTORY, "p": Format.PLAIN, "gz": Format.PLAIN_GZIP}


@pytest.fixture
def old(backups: Store) -> Path:
    """Where the old backup lies."""
    return Path(backups.directory) / NAME


def make(old: Path, server: PostgresServer, db: Postgres, form: str) -> None:
    """Dump as a script of old would: c, d, p as pg_dump calls them, gz through gzip."""
    argv = [
        str(server.tool("pg_dump")),
        f"--format={form.replace('gz', 'p')}",
        f"--file={old}",
        server.dsn(db.database),
    ]
    subprocess.run(argv, check=True)
    if form == "gz":
        old.write_bytes(gzip.compress(old.read_bytes()))


def adopt(stage: Stage, backups: Store, db: Postgres, **more: Any) -> Artifact:
    written: dict[str, Any] = {"name": NAME, "database": db.database, "binaries": db.binaries, **more}
    found = stage.live(Adopt(), backups, stage.scope("adopt"), **written).artifact
    assert isinstance(found, Artifact)
    return found


@pytest.mark.parametrize("form", FORMS)
def test_what_pg_dump_wrote_is_adopted_and_proven(
    stage: Stage, db: Postgres, backups: Store, old: Path, postgres_server: PostgresServer, form: str
) -> None:
    make(old, postgres_server, db, form)
    with pytest.raises(Refused, match="no backup has a manifest"):
        stage.live(Select(), backups)
    made = adopt(stage, backups, db)
    manifest = made.manifest
    assert manifest is not None
    assert manifest.format is FORMS[form]
    assert manifest.server_version // 10_000 >= 13
    assert manifest.unproven
    chosen = stage.live(Select(), backups).artifact
    assert chosen == made
    assert stage.live(VerifyDump(), db, artifact=chosen).artifact.proof is Proof.READ


def test_what_is_packed_says_what_it_unpacks_to(
    stage: Stage, db: Postgres, backups: Store, old: Path, postgres_server: PostgresServer
) -> None:
    make(old, postgres_server, db, "gz")
    manifest = adopt(stage, backups, db).manifest
    assert manifest is not None
    assert manifest.pieces[0].unpacked_bytes == len(gzip.decompress(old.read_bytes()))


def test_a_bomb_is_not_adopted(
    stage: Stage, db: Postgres, backups: Store, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line as long as the whole file, which no program here may take into its memory."""
    monkeypatch.setattr(unpacked_size, "ALWAYS_BYTES", 1 << 20)
    monkeypatch.setattr(unpacked_size, "MOST_TIMES", 2)
    old.write_bytes(gzip.compress(bytes(100 << 20), 1))
    with pytest.raises(StepFailed, match=rf"E308[^$]*{old}: after 1048576 bytes"):
        adopt(stage, backups, db)
    assert not (old.parent / f"{NAME}.manifest.json").exists()


@pytest.mark.parametrize("form", FORMS)
def test_what_was_cut_off_is_not_adopted(
    stage: Stage, db: Postgres, backups: Store, old: Path, postgres_server: PostgresServer, form: str
) -> None:
    make(old, postgres_server, db, form)
    victim = max((path for path in old.rglob("*") if path.name != "toc.dat"), key=_size) if form == "d" else old
    victim.write_bytes(victim.read_bytes()[: _size(victim) * 2 // 3])
    with pytest.raises((StepFailed, CheckFailed)):
        adopt(stage, backups, db)
    assert not (old.parent / f"{NAME}.manifest.json").exists()


@pytest.mark.parametrize("stop_after", ["hash", "read", "draft", "publish_sums"])
def test_stopped_anywhere_and_resumed(
    stage: Stage, db: Postgres, backups: Store, old: Path, postgres_server: PostgresServer, stop_after: str
) -> None:
    make(old, postgres_server, db, "d")
    written: dict[str, Any] = {"name": NAME, "database": db.database, "binaries": db.binaries}
    assert stage.live(Adopt(), backups, stage.scope("adopt"), stop_after=stop_after, **written) is None
    made = adopt(stage, backups, db)
    assert stage.live(VerifyDump(), db, artifact=made).artifact.proof is Proof.READ
    assert [path.name for path in old.parent.iterdir() if path.name.endswith(".partial")] == []


def test_what_it_is_not_is_refused(
    stage: Stage, db: Postgres, backups: Store, old: Path, postgres_server: PostgresServer
) -> None:
    with pytest.raises(CheckFailed, match="no such backup"):
        adopt(stage, backups, db)
    old.touch()
    with pytest.raises(CheckFailed, match="empty"):
        adopt(stage, backups, db)
    old.write_bytes(b"\x00\x01\x02")
    with pytest.raises(Refused, match="format is not known"):
        adopt(stage, backups, db)
    old.unlink()
    old.mkdir()
    with pytest.raises(Refused, match="format is not known"):
        adopt(stage, backups, db)
    old.rmdir()
    make(old, postgres_server, db, "c")
    with pytest.raises(Refused, match="another database"):
        adopt(stage, backups, db, database="another")
    adopt(stage, backups, db)
    with pytest.raises(Refused, match="already a backup of this name"):
        stage.live(Adopt(), backups, stage.scope("again"), name=NAME, database=db.database)


def _size(path: Path) -> int:
    return path.stat().st_size
