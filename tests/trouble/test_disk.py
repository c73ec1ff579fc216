"""A disk that runs full: where the server writes, where the backup is written, where the run's records are."""

from __future__ import annotations

import re

import pytest

from tests.evidence.witness import until
from tests.faults.house import BACKUP, DATABASE
from tests.trouble.night import DONE, FAILED, JOURNAL, REFUSED, WITHIN_S, Night
from tests.trouble.places import fill, small_disk

pytestmark = pytest.mark.root
FULL = "No space left on device"


def test_the_servers_disk_runs_full_in_the_middle_of_a_restore(night: Night) -> None:
    server = night.server
    with small_disk(server.data_dir.parent / "disk", 64) as disk:
        disk.chmod(0o711)
        space = disk / "space"
        space.mkdir()
        server.account.give(space)
        server.sql(f"CREATE TABLESPACE small LOCATION '{space}'")
        try:
            server.sql(f"ALTER DATABASE {DATABASE} SET TABLESPACE small")
            live = night.oid()
            with night.restoring() as engine:
                filler = fill(disk)
                night.open()
                ended = night.end(engine)
            assert ended.code == FAILED, ended.said
            steps = night.tells(ended, FULL, "done and not undone: create", status="failed")
            assert steps["restore"] == "failed"
            filler.unlink()  # who asks a server whose disk is full may be refused: it has blocks to write first
            night.untouched(live)
            resumed = night.resume()
            assert resumed.code == DONE, resumed.said
            night.restored(live)
        finally:
            for name in night.databases():
                server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')
            server.sql("DROP TABLESPACE small")


def test_the_stores_disk_runs_full_while_it_is_dumped_to(night: Night) -> None:
    waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%users_id_seq%'"
    with small_disk(night.store, 16) as disk:
        with night.server.connect(DATABASE) as holder:
            holder.execute("BEGIN")
            holder.execute("ALTER SEQUENCE users_id_seq RENAME TO held")  # pg_dump wants to read it
            engine = night.begin(BACKUP.replace("FORMAT", "format: custom"))
            until(lambda: night.server.sql(waits) == [(True,)] or engine.poll() is not None, WITHIN_S, "pg_dump waits")
            assert engine.poll() is None, night.said
            filler = fill(disk)
            holder.execute("ROLLBACK")
        ended = night.end(engine)
        assert ended.code == FAILED, ended.said
        assert night.tells(ended, FULL, status="failed") == {"dump": "failed"}
        assert f"df -h {disk}" in ended.said, "which disk it is"
        assert re.search(r"\.dump\.rb_\S+\.partial: ", ended.said), "the dump itself, not what is written after it"
        assert not list(disk.glob("*.manifest.json")), "without a manifest it is no backup"

        refused = night.resume()
        assert refused.code == REFUSED, refused.said
        night.tells(refused, "E635: there is not enough space for the backup", status="failed")

        filler.unlink()
        resumed = night.resume()
        assert resumed.code == DONE, resumed.said
        made = night.program.outputs("dump")["artifact"]["name"]
        assert len(list(disk.glob("*.manifest.json"))) == 1
        assert (disk / made).exists()
        night.nothing_left()


def test_the_disk_of_the_records_runs_full_in_the_middle_of_a_restore(night: Night) -> None:
    live = night.oid()
    with small_disk(night.program.state, 16) as disk:
        with night.restoring() as engine:
            filler = fill(disk)
            night.open()
            ended = night.end(engine)
        assert ended.code == JOURNAL, ended.said
        steps = night.tells(ended, "no space left for the journal", "the file system is full", status="interrupted")
        assert steps["restore"] == "running", "a resume finds out how it ended"
        night.untouched(live)
        early = night.resume()
        assert early.code == JOURNAL, early.said
        assert "E706" in early.said
        night.untouched(live)

        filler.unlink()
        resumed = night.resume()
        assert resumed.code == DONE, resumed.said
        night.restored(live)
