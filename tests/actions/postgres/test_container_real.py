"""Dumping out of a container, and proving the dump in it: the programs run inside, the bytes are piped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runbook.actions.backup.select import Select
from runbook.actions.postgres.assertion import Assert
from runbook.actions.postgres.dump import Dump
from runbook.actions.postgres.rotate_password import RotatePassword
from runbook.actions.postgres.verify_dump import VerifyDump
from runbook.artifact import Format, Proof
from runbook.errors import Refused
from runbook.host import LOCAL
from runbook.system import Postgres, Store
from tests.actions.harness import Stage, StepFailed
from tests.actions.systems import in_container
from tests.fixtures.containers import PostgresContainer

pytestmark = pytest.mark.docker


@pytest.fixture
def inside(stage: Stage, pg_container: PostgresContainer, tmp_path: Path) -> Postgres:
    """The container's database, found by its Compose labels, with three rows in it."""
    pg_container.psql("CREATE TABLE t AS SELECT generate_series(1, 3) AS n")
    system = in_container(pg_container, tmp_path)
    stage.systems = {**stage.systems, "db": system}
    return system


def test_from_dump_to_proof(stage: Stage, inside: Postgres, backups: Store) -> None:
    made = stage.live(Dump(), inside, to=backups).artifact
    assert made.manifest.format is Format.CUSTOM
    folder = Path(backups.directory)
    assert json.loads((folder / made.manifest.counts).read_text()) == {"table": "public.t", "rows": 3}
    assert "CREATE ROLE civicq" in (folder / made.manifest.globals).read_text()
    chosen = stage.live(Select(), backups).artifact
    proven = stage.live(VerifyDump(), inside, artifact=chosen).artifact
    assert proven.proof is Proof.READ
    assert stage.live(Assert(), inside, counts_of={"artifact": proven}).tables == 1
    path = folder / made.name
    path.write_bytes(path.read_bytes()[:-20])
    path.write_bytes(path.read_bytes() + b"x" * 20)
    with pytest.raises(StepFailed):
        stage.live(VerifyDump(), inside, artifact=chosen)


def test_a_directory_would_stay_inside(stage: Stage, inside: Postgres, backups: Store) -> None:
    with pytest.raises(Refused, match="can't be piped"):
        stage.live(Dump(), inside, to=backups, format="directory")


def test_a_directory_made_here_is_read_here(
    stage: Stage, inside: Postgres, backups: Store, pg_container: PostgresContainer, postgres_bin: Path
) -> None:
    here = inside.model_copy(
        update={"host": LOCAL, "address": pg_container.host, "binaries": str(postgres_bin), "key": "here"}
    )
    made = stage.live(Dump(), here, to=backups, format="directory").artifact
    assert stage.live(VerifyDump(), inside, artifact=made).artifact.proof is Proof.READ


def test_a_new_password(stage: Stage, inside: Postgres, pg_container: PostgresContainer) -> None:
    stage.live(RotatePassword(), inside, role=pg_container.user, escrow="civicq.password")
    assert stage.planned(RotatePassword(), inside, role=pg_container.user, escrow="civicq.password") == ()
