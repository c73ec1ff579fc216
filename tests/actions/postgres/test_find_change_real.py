"""Finding what did the damage in real WAL, archived or not yet; and a recovery to just before it."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from runbook.action import CheckFailed
from runbook.actions.postgres.find_change import FindChange
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.artifact import Artifact
from runbook.errors import Refused
from tests.actions.harness import Stage
from tests.actions.postgres.archived import Cluster
from tests.actions.postgres.life import Life
from tests.actions.postgres.test_restore_targets_real import there


def now(cluster: Cluster) -> datetime:
    found = cluster.server.sql("SELECT clock_timestamp()")[0][0]
    assert isinstance(found, datetime)
    return found


def transaction(cluster: Cluster, *statements: str) -> int:
    """One transaction with these statements; its id."""
    with cluster.server.connect() as connection, connection.transaction():
        for statement in statements:
            connection.execute(statement)
        row = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
    assert row is not None
    return int(str(row[0]))


def segments(cluster: Cluster) -> list[str]:
    return sorted(path.name for path in cluster.archive.iterdir() if len(path.name) == 24)


def found(stage: Stage, cluster: Cluster, since: datetime, **given: Any) -> Any:
    until = given.pop("until", now(cluster) + timedelta(seconds=1))
    return stage.live(FindChange(), cluster.db, stage.scope("find"), since=since, until=until, **given)


@pytest.mark.parametrize("archived", [True, False], ids=["archived", "not yet"])
def test_each_kind_of_damage_is_found(stage: Stage, cluster: Cluster, base: Artifact, archived: bool) -> None:
    cluster.server.sql("CREATE TABLE users AS SELECT n FROM generate_series(1, 500) n")
    cluster.server.sql("CREATE TABLE emptied AS SELECT 1 AS n")
    cluster.server.sql("CREATE TABLE gone AS SELECT 1 AS n")
    transaction(cluster, "DELETE FROM users WHERE n > 490")
    time.sleep(0.05)
    since = now(cluster)
    good = transaction(cluster, "UPDATE users SET n = n + 1000 WHERE n < 4")
    with cluster.server.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("DELETE FROM users WHERE n > 300")
    bad = transaction(cluster, "DELETE FROM users WHERE n < 100", "SAVEPOINT a", "DELETE FROM users WHERE n < 200")
    emptied = transaction(cluster, "TRUNCATE emptied")
    dropped = transaction(cluster, "DROP TABLE gone")
    if archived:
        cluster.server.sql("SELECT pg_switch_wal()")
        cluster.archived()
    out = found(stage, cluster, since)
    told = {one.xid: (one.did, one.table) for one in out.transactions}
    assert told == {
        good: ("updated 3 rows", "users"),
        bad: ("deleted 196 rows", "users"),
        emptied: ("emptied or rewrote 1 file", ""),
        dropped: ("dropped 1 file", ""),
    }
    assert (out.xid, out.did) == (bad, "deleted 196 rows")
    only = found(stage, cluster, since, table="public.notes")
    assert {one.xid for one in only.transactions} == {emptied, dropped}, "files are told in any case"


def test_what_is_found_is_where_a_recovery_ends(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    since = now(cluster)
    cluster.commit("1 kept")
    cluster.commit("2 kept")
    transaction(cluster, "DELETE FROM notes")
    cluster.commit("3 later")
    out = found(stage, cluster, since, table="notes")
    for step, given in (("xid", {"xid": out.xid}), ("lsn", {"lsn": out.lsn})):
        written = {"artifact": base, "mode": "side", "inclusive": False, **given}
        life = Life(stage, RestoreToTime(), cluster.db, stage.scope(step), written)
        life.go()
        assert there(cluster, life.end()) == ["0 base", "1 kept", "2 kept"]
        life.undo()


def test_what_can_not_be_looked_for_is_refused(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    since = now(cluster)
    cluster.commit("1 kept")
    with pytest.raises(CheckFailed, match="no such change was found"):
        found(stage, cluster, since)
    with pytest.raises(Refused, match=r"no table public\.nowhere"):
        found(stage, cluster, since, table="public.nowhere")
    with pytest.raises(ValueError, match="later than since"):
        found(stage, cluster, since, until=since)
    for word in ("2", "3"):
        cluster.server.sql("SELECT pg_switch_wal()")
        cluster.commit(word)
    cluster.server.sql("SELECT pg_switch_wal()")
    cluster.archived()
    names = segments(cluster)
    with pytest.raises(Refused, match="read are 1 to 1"):
        found(stage, cluster, since, segments=1)
    lost = cluster.archive / names[-2]
    lost.rename(cluster.data.parent / "lost")
    try:
        with pytest.raises(Refused, match="a gap in that window"):
            found(stage, cluster, since)
        lost.write_bytes(b"\0" * 16 * 2**20)
        with pytest.raises(CheckFailed, match="could not be read to the end"):
            found(stage, cluster, since)
    finally:
        (cluster.data.parent / "lost").unlink()
