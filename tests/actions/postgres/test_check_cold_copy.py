"""Can the files be copied? Asked of a real server and a real file system, before anything is stopped."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from runbook.action import Done, Effect, Scope
from runbook.actions.postgres.check_cold_copy import CheckColdCopy, CheckColdCopyFacts, CheckColdCopyInputs
from runbook.actions.postgres.copyable import full, left_behind
from runbook.errors import Refused
from runbook.host import Docker
from runbook.system import Postgres, Store
from tests.actions.harness import Stage

STORE = Store(type="store", key="evidence", url="file:///srv/evidence")
SCOPE = Scope("r1", "room", datetime(2026, 2, 14, tzinfo=UTC), "/run/r1", "here", False, {})
DB = Postgres(type="postgres", key="db", user="civicq", database="civicq")


def test_it_only_looks() -> None:
    inputs = CheckColdCopyInputs(to=STORE)
    facts = CheckColdCopyFacts(bytes=100, directory="/var/lib/pg")
    assert CheckColdCopy().plan(DB, inputs, facts, SCOPE) == ()
    out = CheckColdCopy().verify(None, DB, inputs, Done(facts, {}))  # type: ignore[arg-type]
    assert (out.bytes, out.data_directory) == (100, "/var/lib/pg")
    assert CheckColdCopy().effect is Effect.READS


def test_tablespaces_are_missed_in_containers_only() -> None:
    there = DB.model_copy(update={"host": Docker("pg")})
    assert left_behind(DB, "fast") == []
    assert left_behind(there, "") == []
    assert [one.code for one in left_behind(there, "fast, slow")] == ["E688"]


def test_a_real_one(stage: Stage, db: Postgres, backups: Store, tmp_path: Path) -> None:
    found = stage.live(CheckColdCopy(), db, to=backups)
    assert found.bytes > 10_000_000
    assert Path(found.data_directory, "PG_VERSION").exists()
    assert full(stage.look, backups, found.bytes) == []
    assert [one.code for one in full(stage.look, backups, 10**18)] == ["E635"]
    nowhere = Store(type="store", url=f"file://{tmp_path}/nowhere", key="nowhere")
    with pytest.raises(Refused, match="not there"):
        stage.live(CheckColdCopy(), db, to=nowhere)
