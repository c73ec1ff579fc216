"""Tablespaces of a server in a container: refused by name, before anything is made."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from runbook.actions.postgres.basebackup import Basebackup
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.errors import Refused
from runbook.system import Store
from runbook.units import parse_instant
from tests.actions.harness import Stage
from tests.actions.postgres.life import Life
from tests.actions.postgres.test_restore_container_real import ARCHIVE, archiving, inside  # noqa: F401 - fixture
from tests.actions.systems import in_container
from tests.fixtures.containers import PostgresContainer

pytestmark = [pytest.mark.docker]


def test_they_are_refused_by_name(
    stage: Stage,
    backups: Store,
    archiving: PostgresContainer,  # noqa: F811
    tmp_path: Path,
) -> None:
    pg = archiving
    db = in_container(pg, tmp_path, archive=f"file://{ARCHIVE}")
    pg.psql("SELECT pg_switch_wal()")
    base = stage.live(Basebackup(), db, stage.scope("base"), to=backups).artifact
    inside(pg, "install", "-d", "-o", "postgres", "/srv/fast")
    pg.psql("CREATE TABLESPACE fast LOCATION '/srv/fast'")
    moment = pg.psql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    given = {"artifact": base, "target": parse_instant(moment) - timedelta(milliseconds=1)}
    for mode in ("side", "swap"):
        with pytest.raises(Refused, match="has tablespaces of its own") as refused:
            Life(stage, RestoreToTime(), db, stage.scope("recover"), {**given, "mode": mode}).plan()
        assert "not on docker" in str(refused.value) or "not on compose" in str(refused.value)
    with pytest.raises(Refused, match="has the tablespaces fast"):
        stage.live(Basebackup(), db, stage.scope("again"), to=backups, name="again.tar")
