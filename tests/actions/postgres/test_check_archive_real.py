"""The check of a WAL archive in front of real clusters: gaps, damage, timelines, other clusters, a broken archiver, idleness."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runbook.action import CheckFailed
from runbook.actions.postgres.basebackup import Basebackup
from runbook.actions.postgres.check_archive import ArchiveChecked, CheckArchive
from runbook.actions.postgres.wal import HEADER_BYTES, cluster_of
from runbook.system import Postgres, Store
from tests.actions.harness import Stage
from tests.actions.systems import on_this_machine
from tests.fixtures.account import Account, server_folder
from tests.fixtures.patience import eventually
from tests.fixtures.postgres import PostgresServer

MIB = 1024 * 1024


@dataclass
class Site:
    """A cluster that archives into a folder, and the system ``db``."""

    stage: Stage
    server: PostgresServer
    archive: Path
    db: Postgres
    store: Store

    def check(self, *, bases: bool = False, max_age: str | None = None) -> ArchiveChecked:
        found = self.stage.live(CheckArchive(), self.db, bases=self.store if bases else None, max_age=max_age)
        assert isinstance(found, ArchiveChecked)
        return found

    def fails(self, *, bases: bool = False, max_age: str | None = None) -> dict[str, str]:
        """The problems' details by code."""
        with pytest.raises(CheckFailed) as caught:
            self.check(bases=bases, max_age=max_age)
        return {one.code: one.detail for one in caught.value.problems}

    def switch(self) -> str:
        """Close a segment with a commit in it, and wait until it is archived; its name."""
        self.server.sql("SELECT pg_current_xact_id()")
        name = str(self.server.sql("SELECT pg_walfile_name(pg_switch_wal())")[0][0])
        eventually(lambda: (self.archive / name).exists() and self.archived >= name)
        return name

    @property
    def archived(self) -> str:
        return str(self.server.sql("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver")[0][0])[:24]

    def base(self, name: str) -> None:
        self.stage.live(Basebackup(), self.db, self.stage.scope(name), to=self.store, name=f"{name}.tar")


@pytest.fixture
def make(
    stage: Stage,
    tmp_path: Path,
    backups: Store,
    postgres_account: Account,
    postgres_cluster: Callable[..., PostgresServer],
) -> Iterator[Callable[..., Site]]:
    with server_folder(postgres_account, "wal") as archive:

        def site(**settings: str) -> Site:
            command = f"test ! -e {archive}/%f && cp %p {archive}/%f"
            given = {"archive_mode": "on", "archive_command": command, "archive_timeout": "300", **settings}
            server = postgres_cluster(**given)
            db = on_this_machine(server, tmp_path, archive=f"file://{archive}", binaries=str(server.bin_dir))
            return Site(stage, server, archive, db, backups)

        yield site


@pytest.fixture
def site(make: Callable[..., Site]) -> Site:
    made = make()
    made.switch()
    return made


def test_what_a_whole_archive_says(site: Site) -> None:
    site.base("one")
    last = site.switch()
    found = site.check(bases=True, max_age="1h")
    assert found.newest == last
    assert found.segments == len([one for one in site.archive.iterdir() if len(one.name) == 24])
    assert found.timelines == (1,)
    assert found.bytes == sum(one.stat().st_size for one in site.archive.iterdir())
    assert 0 <= found.rpo_s <= found.age_s < 3600
    assert found.earliest[:19] <= found.latest[:19], "files' times are told in seconds"
    assert found.foreign == ()
    assert cluster_of((site.archive / last).read_bytes()[:HEADER_BYTES]) == str(
        site.server.sql("SELECT system_identifier FROM pg_control_system()")[0][0]
    )


def test_a_gap_is_named_and_harmless_before_the_oldest_base(site: Site) -> None:
    first, second, third = site.switch(), site.switch(), site.switch()
    (site.archive / second).unlink()
    assert second in site.fails()["E657"] and first not in site.fails()["E657"]
    assert "There is none" in site.fails(bases=True)["E659"]
    site.base("after")
    site.switch()
    assert site.check(bases=True).newest > third
    lost = site.switch()
    site.switch()
    (site.archive / lost).unlink()
    said = site.fails(bases=True)["E659"]
    assert lost in said and second not in said and "after.tar" in said


def test_a_segment_that_was_copied_half(site: Site) -> None:
    name = site.switch()
    with (site.archive / name).open("r+b") as half:
        half.truncate(5 * MIB)
    assert f"{name} ({5 * MIB} bytes)" in site.fails()["E657"]


def test_a_file_that_is_no_wal_is_told_and_no_fault(site: Site) -> None:
    (site.archive / "README.txt").write_text("hello")
    (site.archive / "with a space").write_text("hello")
    found = site.check()
    assert found.foreign == ("README.txt",)


def test_a_timeline_whose_history_is_missing(site: Site) -> None:
    """What a promotion with archive_mode off leaves: a later recovery would follow timeline 1."""
    site.base("one")
    site.server.stop()
    (site.server.data_dir / "standby.signal").touch()
    site.server.account.give(site.server.data_dir / "standby.signal")
    site.server.start()
    site.server.sql("SELECT pg_promote()")
    site.switch()
    history = site.archive / "00000002.history"
    eventually(history.exists)
    found = site.check(bases=True)
    assert found.timelines == (1, 2)
    history.rename(site.archive / "away")
    assert "00000002.history" in site.fails()["E657"]
    (site.archive / "away").rename(history)
    site.check(bases=True)


def test_a_command_that_fails_and_one_that_throws_away(make: Callable[..., Site]) -> None:
    site = make()
    site.switch()
    site.server.set("archive_command", "exit 1")
    site.server.sql("SELECT pg_current_xact_id()")
    site.server.sql("SELECT pg_switch_wal()")
    failed = "SELECT last_failed_time > last_archived_time FROM pg_stat_archiver"
    eventually(lambda: site.server.sql(failed) == [(True,)])
    said = site.fails(max_age="1ms")
    assert "could not be archived" in said["E656"] and "1 segments wait" in said["E656"]
    assert "would be lost" in said["E658"]
    site.server.set("archive_command", "/bin/true")
    assert "thrown away" in site.fails()["E656"]


def test_an_archive_that_is_elsewhere(site: Site) -> None:
    (site.archive / "deep").mkdir()
    os.chown(site.archive / "deep", site.archive.stat().st_uid, -1)
    site.server.set("archive_command", f"cp %p {site.archive}/deep/%f")
    site.server.sql("SELECT pg_current_xact_id()")
    before = site.archived
    site.server.sql("SELECT pg_switch_wal()")
    eventually(lambda: site.archived > before)
    assert "archives to another place" in site.fails()["E656"]


def test_archiving_off_is_said_whatever_is_written_somewhere(make: Callable[..., Site]) -> None:
    assert "archive_mode is off" in make(archive_mode="off").fails()["E656"]


def test_another_clusters_archive(site: Site, make: Callable[..., Site]) -> None:
    for _ in range(3):
        site.switch()
    other = make(archive_command=f"cp %p {site.archive}/%f")  # the guide's: it overwrites
    other.switch()
    newest = max(one.name for one in site.archive.iterdir())
    (site.archive / newest).write_bytes((site.archive / other.archived).read_bytes())
    assert "was written by cluster" in site.fails()["E656"]


def test_a_quiet_cluster_is_not_a_fault(make: Callable[..., Site]) -> None:
    """Nothing is written, so no segment is closed: the newest one grows old, and nothing is lost."""
    site = make(archive_timeout="60")
    name = site.switch()
    long_ago = time.time() - 90_000
    os.utime(site.archive / name, (long_ago, long_ago))
    found = site.check(max_age="2m")
    assert found.age_s > 80_000 and found.rpo_s <= 60
    site.server.set("archive_timeout", "0")
    site.server.sql("CREATE TABLE t (id int)")
    assert "would be lost" in site.fails(max_age="2m")["E658"], "without it nobody knows when the segment is closed"


def test_a_role_that_may_only_monitor_is_enough(site: Site) -> None:
    site.server.sql("CREATE ROLE watcher LOGIN PASSWORD 'correct-horse-battery' IN ROLE pg_monitor")
    site.db = site.db.model_copy(update={"user": "watcher"})
    assert site.check().segments >= 1
