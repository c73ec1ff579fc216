"""Records beside a dump that are larger than an ordinary answer: of many tables, of long roles. None is passed over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runbook.actions.postgres.assertion import Assert
from runbook.actions.postgres.counts import LONGEST_RECORD
from runbook.actions.postgres.drop_beside import DropBeside
from runbook.actions.postgres.dump import Dump
from runbook.actions.postgres.restore_beside import RestoreBeside
from runbook.errors import Refused
from runbook.system import Postgres, Store
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.life import Life
from tests.fixtures.postgres import PostgresServer

TABLES = 800
MANY = f"""
DO $$ BEGIN FOR n IN 1..{TABLES} LOOP
  EXECUTE format('CREATE TABLE measurements_of_a_sensor_that_has_a_long_name_number_%s (at timestamptz)', lpad(n::text, 5, '0'));
END LOOP; END $$
"""
LAST = f"measurements_of_a_sensor_that_has_a_long_name_number_{TABLES:05}"


def test_rows_of_many_tables_and_roles_with_long_settings(
    stage: Stage, db: Postgres, backups: Store, postgres_server: PostgresServer
) -> None:
    run, role = postgres_server.sql, f"{db.database}_wordy"
    run(MANY, db.database)
    run(f"INSERT INTO {LAST} VALUES (now()), (now())", db.database)
    run(f"CREATE ROLE {role}")
    for number in range(8):
        run(f"ALTER ROLE {role} SET app.word_{number} TO '{'x' * 9000}'")
    run(f"ALTER TABLE {LAST} OWNER TO {role}", db.database)
    dumped = stage.live(Dump(), db, stage.scope("dump"), to=backups).artifact
    records = [Path(backups.directory) / f"{dumped.name}{part}" for part in (".counts.jsonl", ".globals.sql")]
    assert all(64 * 1024 < record.stat().st_size < LONGEST_RECORD for record in records)
    run(f"ALTER TABLE {LAST} OWNER TO {db.user}", db.database)
    run(f"DROP ROLE {role}")

    step = Life(stage, RestoreBeside(), db, stage.scope("look"), {"artifact": dumped})
    assert step.go() == ["roles", "create", "load", "loaded", "rows", "analyze", "finish"]
    out = step.end()
    assert (out.tables_counted, out.rows) == (TABLES + 2, 1202)
    assert run(f"SELECT tableowner FROM pg_tables WHERE tablename = '{LAST}'", out.database) == [(role,)]
    asked = {"counts_of": {"artifact": dumped}, "database": out.database}
    assert stage.live(Assert(), db, stage.scope("right"), **asked).tables == TABLES + 2
    run(f"DELETE FROM {LAST}", out.database)
    with pytest.raises(StepFailed, match=f"{LAST}: 0 rows, expected 2"):
        stage.live(Assert(), db, stage.scope("wrong"), **asked)

    records[0].write_text(records[0].read_text() + " " * LONGEST_RECORD)
    with pytest.raises(Refused, match=r"too large to be read|not the one that was chosen"):
        Life(stage, RestoreBeside(), db, stage.scope("again"), {"artifact": dumped}).plan()
    Life(stage, DropBeside(), db, replace(stage.scope("drop"), held=step.pinned), {}).go()
    run(f"DROP ROLE {role}")
