"""Recovery to each kind of target, on real clusters: exact, proven for what it is, and refused where it is not what was meant."""

from __future__ import annotations

import pytest

from runbook.actions.postgres.basebackup import Basebackup
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.artifact import Artifact
from runbook.units import parse_instant
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.archived import Cluster, with_tools
from tests.actions.postgres.life import Life

Given = dict[str, object]


def sided(stage: Stage, cluster: Cluster, base: Artifact, step: str, given: Given) -> Life:
    written = {"artifact": base, "mode": "side", **given}
    return Life(stage, RestoreToTime(), cluster.db, stage.scope(step), written)


def there(cluster: Cluster, out: object) -> list[str]:
    """The notes in a side copy."""
    argv = [cluster.server.tool("psql"), "-h", getattr(out, "address", ""), "-p", str(getattr(out, "port", 0))]
    asked = ["-U", cluster.server.user, "-XAtc", "SELECT word FROM notes ORDER BY 1", "postgres"]
    return cluster.server.account.run([*argv, *asked]).split("\n")[:-1]


def commit(cluster: Cluster, word: str) -> tuple[int, str, str]:
    """Commit a note; its transaction's id, and the position before and after its commit record."""
    with cluster.server.connect() as connection:
        row = connection.execute(f"INSERT INTO notes VALUES ('{word}') RETURNING pg_current_xact_id()::text").fetchone()
        assert row is not None
        after = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        assert after is not None
    return int(str(row[0])), str(row[0]), str(after[0])


def test_to_a_transaction_a_position_a_name_and_the_end(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    commit(cluster, "1 kept")
    cluster.server.sql("SELECT pg_create_restore_point('before the migration')")
    good, _, after = commit(cluster, "2 kept")
    bad, _, _ = commit(cluster, "3 accident")
    commit(cluster, "4 later")
    first, second, third = ["0 base", "1 kept"], ["2 kept"], ["3 accident"]
    wanted: dict[str, tuple[Given, list[str]]] = {
        "upto": ({"xid": good}, first + second),
        "before": ({"xid": bad, "inclusive": False}, first + second),
        "name": ({"name": "before the migration"}, first),
        "lsn": ({"lsn": after, "inclusive": False}, first + second),
        "end": ({"latest": True}, [*first, *second, *third, "4 later"]),
    }
    for step, (given, notes) in wanted.items():
        life = sided(stage, cluster, base, step, given)
        performed = life.go()
        out = life.end()
        assert there(cluster, out) == notes, step
        assert performed.index("proof") < performed.index("promote")
        assert out.lsn and parse_instant(out.last_transaction)
        assert out.timeline == 2
        life.undo()
        assert cluster.beside() == set()
        assert parse_instant(str(out.recovery_point)) == parse_instant(out.last_transaction)
    assert out.target == "the end of the archive"


def test_the_end_takes_the_live_ones_place(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    commit(cluster, "1 kept")
    life = Life(stage, RestoreToTime(), cluster.db, stage.scope("recover"), {"artifact": base, "latest": True})
    life.go()
    out = life.end()
    assert cluster.notes() == ["0 base", "1 kept"]
    assert not (cluster.data / "standby.signal").exists()
    assert (out.timeline, out.address) == (2, "")


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", ["name_side", "start_side", "recovered", "promote", "set_aside"])
def test_the_end_stopped_anywhere_and_resumed(
    stage: Stage,
    cluster: Cluster,
    base: Artifact,
    stop_after: str,
) -> None:
    commit(cluster, "1 kept")
    life = Life(stage, RestoreToTime(), cluster.db, stage.scope("recover"), {"artifact": base, "latest": True})
    names = [one.name for one in life.plan()]
    life.go(stop_after=names.index(stop_after) + 1)
    life.go()
    life.end()
    assert cluster.notes() == ["0 base", "1 kept"]


def test_just_before_a_moment_leaves_its_commit_out(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    cluster.server.sql("ALTER SYSTEM SET track_commit_timestamp = on")
    cluster.server.restart()
    commit(cluster, "1 kept")
    xid, _, _ = commit(cluster, "2 at the moment")
    at = cluster.server.sql(f"SELECT pg_xact_commit_timestamp('{xid}'::xid)")[0][0]
    found = {}
    for step, inclusive in (("with", True), ("before", False)):
        life = sided(stage, cluster, base, step, {"target": at, "inclusive": inclusive})
        life.go()
        found[step] = there(cluster, life.end())
        life.undo()
    assert found == {"with": ["0 base", "1 kept", "2 at the moment"], "before": ["0 base", "1 kept"]}


def test_a_transaction_that_was_rolled_back_is_not_what_was_meant(
    stage: Stage,
    cluster: Cluster,
    base: Artifact,
) -> None:
    with cluster.server.connect() as connection, connection.transaction(force_rollback=True):
        row = connection.execute("INSERT INTO notes VALUES ('never') RETURNING pg_current_xact_id()::text").fetchone()
        assert row is not None
    commit(cluster, "1 kept")
    life = sided(stage, cluster, base, "recover", {"xid": int(str(row[0])), "inclusive": False})
    with pytest.raises(StepFailed, match="recovery stopping before abort of transaction"):
        life.go()
    assert cluster.notes() == ["0 base", "1 kept"]
    life.undo()


@pytest.mark.parametrize("given", [{"xid": 900_000}, {"name": "nobody made it"}], ids=["xid", "name"])
def test_what_is_not_in_the_wal_is_never_reached(
    stage: Stage,
    cluster: Cluster,
    base: Artifact,
    given: Given,
) -> None:
    life = sided(stage, cluster, base, "recover", given)
    with pytest.raises(StepFailed, match="recovery ended before configured recovery target") as failed:
        life.go()
    assert "last completed transaction was at log time" in str(failed.value), "how far it came is told"
    life.undo()
    assert cluster.beside() == set()


def test_what_the_base_backup_has_configured_does_not_matter(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    """Recovery settings of an earlier recovery, a standby's delay, and a command that would empty the archive."""
    for setting in (
        "recovery_target_time = '2001-01-01 00:00:00+00'",
        "recovery_min_apply_delay = '1h'",
        "archive_cleanup_command = 'rm -rf /nowhere/%r; false'",
        "recovery_end_command = 'false'",
        "restore_command = 'false'",
        "primary_conninfo = 'host=nowhere.invalid'",
    ):
        cluster.server.sql(f"ALTER SYSTEM SET {setting}")
    store = stage.systems["backups"]
    made = stage.live(Basebackup(), with_tools(cluster), stage.scope("again"), to=store, name="again.tar").artifact
    xid, _, _ = commit(cluster, "1 kept")
    commit(cluster, "2 accident")
    life = sided(stage, cluster, made, "recover", {"xid": xid})
    life.go()
    assert there(cluster, life.end()) == ["0 base", "1 kept"]
    life.undo()


@pytest.mark.parametrize("stop_after", ["promote", "check_1", "checked", "stop_side", "set_aside"])
def test_a_check_of_the_table_that_was_dropped_just_after_the_target(
    stage: Stage,
    cluster: Cluster,
    base: Artifact,
    stop_after: str,
) -> None:
    """While recovery is paused it holds the lock of the transaction that the target has cut: the very one of the accident."""
    commit(cluster, "1 kept")
    moment = cluster.server.sql("SELECT clock_timestamp()")[0][0]
    cluster.server.sql("DROP TABLE notes")
    checks = [{"query": "SELECT count(*) FROM notes", "equals": 2}]
    given = {"artifact": base, "target": moment, "checks": checks, "database": "postgres"}
    life = Life(stage, RestoreToTime(), cluster.db, stage.scope("recover"), given)
    names = [one.name for one in life.plan()]
    life.go(stop_after=names.index(stop_after) + 1)
    if stop_after == "promote":
        cluster.end_beside()
        assert "start_side" in [one.name for one in life.plan()], "it is started again to be asked"
    rest = life.go()
    assert ("check_1" in rest) == (stop_after in ("promote", "check_1"))
    life.end()
    assert cluster.notes() == ["0 base", "1 kept"]


def test_a_check_that_does_not_hold_leaves_the_live_one_alone(stage: Stage, cluster: Cluster, base: Artifact) -> None:
    commit(cluster, "1 kept")
    given = {"artifact": base, "latest": True, "checks": [{"query": "SELECT count(*) FROM notes", "at_least": 9}]}
    life = Life(stage, RestoreToTime(), cluster.db, stage.scope("recover"), {**given, "database": "postgres"})
    with pytest.raises(StepFailed, match="check_1"):
        life.go()
    with pytest.raises(StepFailed, match="check_1"):
        life.go()
    assert cluster.notes() == ["0 base", "1 kept"], "the live one runs as before"
    life.undo()
    assert cluster.beside() == set()


@pytest.mark.parametrize("which", ["last", "another"])
def test_a_flaw_in_the_wal_is_not_its_end(stage: Stage, cluster: Cluster, base: Artifact, which: str) -> None:
    for word in ("1", "2", "3"):
        commit(cluster, word)
        cluster.server.sql("SELECT pg_switch_wal()")
    commit(cluster, "4")
    if which == "last":
        cluster.server.stop()  # then the last one is what the archive has now
        named(cluster)
    else:
        cluster.server.sql("SELECT pg_switch_wal()")
        cluster.archived()
    life = sided(stage, cluster, base, "recover", {"latest": True})
    segments = sorted(path for path in cluster.archive.iterdir() if len(path.name) == 24)
    flawed = segments[-1] if which == "last" else segments[-3]
    with flawed.open("r+b") as file:
        file.seek(0x60)
        file.write(b"\xff" * 64)
    said = "last_is_whole: .*pg_waldump: error" if which == "last" else "proof: .*within the target: f"
    with pytest.raises(StepFailed, match=f"(?s){said}"):
        life.go()
    if which == "another":
        life.undo()


def named(cluster: Cluster) -> Cluster:
    """The cluster, whose server is down, with its directory in the environment."""
    update = {"data_directory": str(cluster.data), "binaries": str(cluster.server.bin_dir)}
    cluster.db = cluster.db.model_copy(update=update)
    return cluster
