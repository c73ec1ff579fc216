"""Archiving turned on for real clusters: from nothing to a proven segment, stopped anywhere and resumed, and undone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from runbook.action import CheckFailed
from runbook.actions.postgres.archiving import command_for
from runbook.actions.postgres.configure_archiving import ConfigureArchiving
from runbook.errors import Refused
from runbook.operation import Wait
from runbook.system import Postgres
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.life import Life
from tests.actions.systems import on_this_machine
from tests.fixtures.account import Account, server_folder
from tests.fixtures.patience import eventually
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.process import works_in


@dataclass
class Site:
    """A cluster, a folder for its archive that its account owns, and the system ``db``."""

    stage: Stage
    server: PostgresServer
    folder: Path
    db: Postgres

    @property
    def archive(self) -> Path:
        return self.folder / "wal"

    def life(self, step: str = "archive", **written: object) -> Life:
        return Life(self.stage, ConfigureArchiving(), self.db, self.stage.scope(step), {"within": "4m", **written})

    def show(self, name: str) -> str:
        return str(self.server.sql(f"SHOW {name}")[0][0])

    def segments(self) -> set[str]:
        return {path.name for path in self.archive.iterdir()} if self.archive.exists() else set()


def end_servers(data: Path) -> None:
    """End the server of a data directory by its own process id: a step may have started it anew."""
    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
    except (FileNotFoundError, ProcessLookupError):
        return
    eventually(lambda: not lock.exists() and not works_in(data))


@pytest.fixture
def make(
    stage: Stage, tmp_path: Path, postgres_account: Account, postgres_cluster: Callable[..., PostgresServer]
) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []
    with server_folder(postgres_account, "archive") as folder:

        def site(**settings: str) -> Site:
            server = postgres_cluster(**settings)
            db = on_this_machine(server, tmp_path, archive=f"file://{folder}/wal")
            made.append(Site(stage, server, folder, db))
            return made[-1]

        yield site
        for one in made:
            end_servers(one.server.data_dir)


def test_from_nothing_to_a_proven_segment(make: Callable[..., Site]) -> None:
    # no checkpoint takes away what is compared below
    site = make(wal_level="minimal", max_wal_senders="0", archive_timeout="0", checkpoint_timeout="1h")
    life = site.life(archive_timeout="90s")
    done = life.go()
    assert done[:3] == ["remember", "make_archive", "writable"]
    assert {"set_wal_level", "set_archive_mode", "set_archive_command", "stop_server", "start_server"} <= set(done)
    assert done[-4:] == ["switch_wal", "archived", "counted", "without_failure"]
    out = life.end()
    assert out.segment in site.segments()
    assert (site.archive / out.segment).stat().st_size == 16 * 1024 * 1024
    assert (site.archive / out.segment).read_bytes() == (site.server.data_dir / "pg_wal" / out.segment).read_bytes()
    assert site.archive.stat().st_mode & 0o777 == 0o700
    assert site.archive.stat().st_uid == site.server.data_dir.stat().st_uid
    assert (site.show("wal_level"), site.show("archive_mode"), site.show("archive_timeout")) == ("replica", "on", "90s")
    assert site.show("archive_command") == command_for(str(site.archive))
    assert out.may_be_lost == "1m 30s"
    assert "base backup" in out.advice
    assert any("one file system" in note for note in out.notes) == (
        site.archive.stat().st_dev == site.server.data_dir.stat().st_dev
    )


def test_a_second_run_sets_nothing_and_proves_again(make: Callable[..., Site]) -> None:
    site = make()
    first = site.life()
    first.go()
    before = first.end()
    started = site.server.sql("SELECT pg_postmaster_start_time()")
    second = site.life("again")
    assert second.go() == ["writable", "switch_wal", "archived", "counted", "without_failure"]
    assert second.end().segment > before.segment
    assert site.server.sql("SELECT pg_postmaster_start_time()") == started
    shorter = site.life("shorter", archive_timeout="1m")
    assert shorter.go()[1:4] == ["set_archive_timeout", "reload", "in_effect"]
    shorter.end()
    longer = site.life("longer", archive_timeout="1h")
    assert "set_archive_timeout" not in longer.go(), "a shorter one that is set already is kept"
    assert longer.end().may_be_lost == "1m 00s"


@pytest.mark.parametrize("performed", [0, 1, 3, 5, 6, 7, 8, 9, 10, 11])
def test_stopped_after_any_operation_it_goes_on(make: Callable[..., Site], performed: int) -> None:
    site = make()
    life = site.life()
    begun = life.go(stop_after=performed)
    rest = life.go()
    assert life.end().segment in site.segments()
    if "start_server" in begun:
        assert "stop_server" not in rest, "one restart"
    assert not {one for one in rest if one.startswith("set_")} & set(begun), "nothing is set twice"
    assert site.show("archive_mode") == "on"


def test_a_server_killed_in_its_stop_is_started(make: Callable[..., Site]) -> None:
    site = make()
    life = site.life()
    names = [one.name for one in life.plan()]
    life.go(stop_after=names.index("stop_server"))
    end_servers(site.server.data_dir)
    assert life.go()[0] == "start_server"
    assert life.end().segment in site.segments()


def test_the_way_back(make: Callable[..., Site]) -> None:
    site = make(archive_timeout="77")
    site.server.set("archive_command", "/bin/true")
    auto = (site.server.data_dir / "postgresql.auto.conf").read_text().splitlines()
    life = site.life(archive_timeout="30s")
    life.go()
    kept = site.segments() | {life.end().segment}
    undone = life.undo()
    assert undone[-3:] == ["stop_server", "start_server", "answers"]
    assert sorted((site.server.data_dir / "postgresql.auto.conf").read_text().splitlines()) == sorted(auto)
    assert (site.show("archive_mode"), site.show("archive_timeout")) == ("off", "77s")
    assert site.segments() == kept, "what was archived stays"
    assert life.undo() == []


def test_a_copy_to_the_same_place_is_replaced_without_a_restart(make: Callable[..., Site]) -> None:
    site = make(archive_mode="on")
    site.archive.mkdir()
    site.server.account.give(site.archive)
    site.server.set("archive_command", f"cp %p {site.archive}/%f")
    life = site.life()
    assert life.go()[:5] == ["writable", "set_archive_command", "set_archive_timeout", "reload", "in_effect"]
    life.end()


def test_a_setting_that_waits_for_a_restart_is_not_taken_for_done(make: Callable[..., Site]) -> None:
    """Somebody has written archive_mode into the file and forgot the restart."""
    site = make()
    site.server.sql("ALTER SYSTEM SET archive_mode = 'on'")
    site.server.sql("SELECT pg_reload_conf()")
    waits = "SELECT pending_restart FROM pg_settings WHERE name = 'archive_mode'"
    eventually(lambda: site.server.sql(waits) == [(True,)])
    life = site.life()
    done = life.go()
    assert "set_archive_mode" not in done and "start_server" in done
    life.end()
    site.server.sql("ALTER SYSTEM SET archive_mode = 'off'")
    late = site.life("late")
    assert "set_archive_mode" in late.go(), "the next start would have turned it off"
    assert "stop_server" not in late.results
    late.end()


def test_a_synchronous_standby_that_is_away_does_not_hold_up_the_proof(make: Callable[..., Site]) -> None:
    site = make(archive_mode="on")
    site.server.set("synchronous_standby_names", "nowhere")
    life = site.life()
    assert life.go()[-4:] == ["switch_wal", "archived", "counted", "without_failure"]
    assert life.end().segment in site.segments()
    assert "wait for synchronous replication" not in site.server.log.read_text(), "nothing had to be cancelled"


def test_somebody_elses_file_in_the_archive_fails_the_proof(stage: Stage, make: Callable[..., Site]) -> None:
    site = make(archive_mode="on")
    site.archive.mkdir()
    site.server.account.give(site.archive)
    ((next_one,),) = site.server.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    (site.archive / str(next_one)).write_bytes(b"another cluster's")
    life = site.life(within="3s")
    arrived = next(one for one in life.plan() if isinstance(one, Wait) and one.name == "archived")
    with pytest.raises(StepFailed, match=r"^archived: "):
        life.go()
    with pytest.raises(StepFailed, match="bytes, a segment has 16777216"):  # said by a look that has time enough
        stage.perform(replace(arrived, deadline_s=0), life.results, life.scope)
    assert (site.archive / str(next_one)).read_bytes() == b"another cluster's"
    with pytest.raises((AssertionError, CheckFailed)):
        life.end()


@pytest.mark.parametrize(
    ("command", "worked", "refused"),
    [
        ("pgbackrest --stanza=main archive-push %p", False, True),
        ("cp %p {folder}/elsewhere/%f", True, True),
        ("cp %p {folder}/elsewhere/%f", False, False),
        ("/bin/true", False, False),
    ],
)
def test_what_somebody_elses_archiving_means(
    make: Callable[..., Site], command: str, worked: bool, refused: bool
) -> None:
    site = make(archive_mode="on", archive_command=command.format(folder="/nowhere"))
    if worked:
        (site.folder / "elsewhere").mkdir()
        site.server.account.give(site.folder / "elsewhere")
        site.server.set("archive_command", command.format(folder=site.folder))
        site.server.sql("SELECT pg_current_xact_id(); SELECT pg_switch_wal()")
        eventually(lambda: site.server.sql("SELECT last_archived_wal FROM pg_stat_archiver") != [(None,)])
    if refused:
        with pytest.raises(Refused, match="E651"):
            site.life().plan()
    assert "set_archive_command" in [one.name for one in site.life(replace=True).plan()]


def test_what_must_not_be_begun(make: Callable[..., Site]) -> None:
    site = make()
    inside = site.db.model_copy(update={"archive": f"file://{site.server.data_dir}/wal"})
    with pytest.raises(Refused, match=r"(?s)E650.*inside the data directory"):
        Life(site.stage, ConfigureArchiving(), inside, site.stage.scope(), {}).plan()
    with pytest.raises(Refused, match=r"(?s)E654.*archive_mode count"):
        site.life(restart="never").plan()
    site.server.sql("CREATE ROLE plain LOGIN PASSWORD 'correct-horse-battery'")
    with pytest.raises(Refused, match=r"(?s)E652.*plain is no superuser"):
        plain = site.db.model_copy(update={"user": "plain"})
        Life(site.stage, ConfigureArchiving(), plain, site.stage.scope(), {}).plan()
    link = site.folder / "link"
    link.symlink_to(site.server.data_dir)
    through = site.db.model_copy(update={"archive": f"file://{link}/wal"})
    with pytest.raises(Refused, match="E650"):
        Life(site.stage, ConfigureArchiving(), through, site.stage.scope(), {}).plan()
    assert site.show("archive_mode") == "off"
    assert (site.server.data_dir / "postgresql.auto.conf").read_text().count("=") == 0


@pytest.mark.root
def test_a_directory_that_the_server_may_not_write_into(make: Callable[..., Site]) -> None:
    site = make()
    site.archive.mkdir(mode=0o755)
    with pytest.raises(Refused, match=r"(?s)E653.*runs as .*chown"):
        site.life().plan()
    os.chown(site.archive, 0, site.server.data_dir.stat().st_gid)
    site.archive.chmod(0o770)
    life = site.life("by_group")
    life.go()
    assert life.end().segment in site.segments()
