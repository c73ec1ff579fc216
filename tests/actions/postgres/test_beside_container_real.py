"""A copy beside a database that is in a container without a published port."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runbook.actions.postgres.drop_beside import DropBeside
from runbook.actions.postgres.dump import Dump
from runbook.actions.postgres.restore_beside import RestoreBeside
from runbook.system import Store
from tests.actions.harness import Stage
from tests.actions.postgres.life import Life
from tests.actions.postgres.test_restore_container_real import inside, seen
from tests.actions.systems import in_container
from tests.fixtures.containers import PostgresContainer

pytestmark = [pytest.mark.docker]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_copy_in_a_container(
    stage: Stage, backups: Store, pg_container: PostgresContainer, tmp_path: Path, jobs: int
) -> None:
    pg = pg_container
    pg.psql("CREATE TABLE users AS SELECT i AS id FROM generate_series(1, 500) AS i")
    db = in_container(pg, tmp_path)
    artifact = stage.live(Dump(), db, stage.scope("dump"), to=backups).artifact
    pg.psql("DELETE FROM users")
    step = Life(stage, RestoreBeside(), db, stage.scope("look"), {"artifact": artifact, "jobs": jobs})
    drop = Life(stage, DropBeside(), db, replace(stage.scope("drop"), held={}), {})
    step.plan()
    drop.scope = replace(drop.scope, held=step.pinned)
    step.go(stop_after=3)
    assert drop.go() == (["unstage", "drop"] if jobs > 1 else ["drop"]), "half a copy goes, with what was copied over"
    assert seen(pg) == {"civicq"}
    step.go()
    out = step.end()
    assert (out.rows, pg.psql("SELECT count(*) FROM users", out.database)) == (500, "500")
    assert out.connect.startswith("docker compose -p ")
    assert drop.go() == ["drop"]
    assert seen(pg) == {"civicq"}
    assert "rb_" not in inside(pg, "ls", "/tmp"), "nothing stays in the container"
