"""The plans about the archive: turned on, checked, and read for the transaction that did the damage."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.sweep.cases import base_there, here, inputs, same, there
from tests.sweep.ground import Ground, archives, ground
from tests.sweep.proofs import hashes, stamps
from tests.sweep.trials import Case, End

OFF = {
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "archive_mode": "off",
    "archive_command": "",
    "archive_timeout": "0",
}


def _archive_off(ground: Ground) -> list[str]:
    """A server that has never archived, an empty archive, no base backup."""
    for name, value in OFF.items():
        ground.made.sql(f"ALTER SYSTEM SET {name} = '{value}'", "postgres")
    ground.restarted()
    ground.made.sql("SELECT pg_stat_reset_shared('archiver')")
    ground.emptied(ground.made.bases)
    for path in ground.archive.iterdir():
        path.unlink()
    assert ground.made.sql("SHOW archive_mode") == [("off",)]
    assert ground.made.sql("SHOW wal_level") == [("minimal",)]
    return []


def _archive_on(ground: Ground) -> End:
    """The settings count, a segment arrives whole, and the archive leads from the one base backup to now."""
    made = ground.made
    settings = {name: str(made.sql(f"SHOW {name}")[0][0]) for name in (*OFF, "archive_library")}
    pending = made.sql("SELECT count(*) FROM pg_settings WHERE pending_restart")
    [(failed,)] = made.sql("SELECT failed_count FROM pg_stat_archiver")
    return {"settings": settings, "pending": pending, "failed": failed, **base_there(ground)}


def _archived(ground: Ground) -> list[str]:
    """A base backup of now, and a segment after it: the archive leads on."""
    ground.emptied(ground.made.bases)
    assert ground.made.apply("base-backup").code == 0
    assert archives(ground)
    ground.made.archived()  # a history or a label may come after the segment that was waited for
    ground.noted["archive"] = _listed(ground)
    return []


def _listed(ground: Ground) -> dict[str, Any]:
    """The archive and the base backups."""
    return {"wal": stamps(ground.archive), "bases": hashes(ground.made.bases)}


def _checked(ground: Ground) -> End:
    """What it says is what lies there, and it changed none of it."""
    found = ground.program.outputs("check")
    bases = [json.loads(path.read_text()) for path in ground.made.bases.glob("*.manifest.json")]
    segments = [name for name in ground.noted["archive"]["wal"] if len(name) == 24]
    oldest = min(datetime.fromisoformat(one["finished_at"]) for one in bases)
    return {
        "newest": found["newest"] == max(segments),
        "segments": found["segments"] == len(segments),
        "earliest": abs(datetime.fromisoformat(found["earliest"]) - oldest) < timedelta(seconds=1),
        "foreign": found["foreign"],
        "untouched": _listed(ground) == ground.noted["archive"],
        **same(ground),
    }


def _rows_deleted(ground: Ground) -> list[str]:
    """A transaction that deleted half of a table, between two that did less."""
    made = ground.made
    made.sql("DROP TABLE IF EXISTS gone")
    made.sql("CREATE TABLE gone AS SELECT n FROM generate_series(1, 200) n")
    since = datetime.now(UTC) - timedelta(milliseconds=1)
    made.sql("DELETE FROM gone WHERE n = 1")
    with made.server.connect(made.database) as connection, connection.transaction():
        xid = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
        connection.execute("DELETE FROM gone WHERE n % 2 = 0")
    made.sql("DELETE FROM gone WHERE n = 3")
    assert xid is not None
    ground.noted["xid"] = int(xid[0])
    return inputs(since=since.isoformat(), until=(datetime.now(UTC) + timedelta(minutes=5)).isoformat(), table="gone")


def _found(ground: Ground) -> End:
    """It is the one, with its rows; the table is as it was left, and nothing else is another."""
    found = ground.program.outputs("find")
    rows = ground.made.sql("SELECT count(*), sum(n) FROM gone")
    ground.made.sql("DROP TABLE gone")
    return {
        "found": found["xid"] == ground.noted["xid"],
        "transactions": [(one["deleted"], one["table"]) for one in found["transactions"]],
        "rows": rows,
        **same(ground),
    }


CASES = (
    Case("find-change", _rows_deleted, _found, opened=here, opened_there=there),
    Case("check-archive", _archived, _checked, opened=here, opened_there=there),
    Case(
        "enable-archiving",
        _archive_off,
        _archive_on,
        opened=lambda client: ground(client, there=False, archive=False),
        opened_there=lambda client: ground(client, there=True, archive=False),
    ),
)
