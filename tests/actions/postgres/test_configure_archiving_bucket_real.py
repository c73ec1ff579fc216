"""Archiving into a bucket turned on for a real cluster, on a real S3 server: proven, resumed, refused, and no key anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runbook.action import CheckFailed
from runbook.actions.postgres.check_archive import CheckArchive
from runbook.actions.postgres.configure_archiving import ConfigureArchiving
from runbook.errors import Refused
from runbook.operation import Process, Write
from runbook.system import Postgres, Store
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.life import Life
from tests.actions.postgres.test_configure_archiving_real import end_servers
from tests.actions.systems import bucket, on_this_machine
from tests.fixtures.account import Account, server_folder
from tests.fixtures.own_program import runnable_by
from tests.fixtures.patience import eventually
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.s3 import S3Server


@dataclass
class Site:
    """A cluster, the bucket's prefix for its WAL, the program that its account can run, and the system ``db``."""

    stage: Stage
    server: PostgresServer
    program: Path
    s3: S3Server
    db: Postgres

    @property
    def prefix(self) -> str:
        return self.db.archive.partition(f"{self.s3.bucket}/")[2]

    @property
    def access(self) -> Path:
        return Path(f"{self.server.data_dir}.wal_archive.json")

    def life(self, step: str = "archive", **written: object) -> Life:
        given = {"within": "4m", "program": str(self.program), **written}
        return Life(self.stage, ConfigureArchiving(), self.db, self.stage.scope(step), given)

    def check(self, **written: object) -> Life:
        return Life(self.stage, CheckArchive(), self.db, self.stage.scope("check"), written)

    def objects(self) -> dict[str, int]:
        found = self.s3.client().list_objects_v2(Bucket=self.s3.bucket, Prefix=f"{self.prefix}/").get("Contents", ())
        return {str(one["Key"]).rpartition("/")[2]: int(one["Size"]) for one in found}

    def show(self, name: str) -> str:
        return str(self.server.sql(f"SHOW {name}")[0][0])


@pytest.fixture
def make(
    stage: Stage,
    tmp_path: Path,
    postgres_account: Account,
    postgres_cluster: Callable[..., PostgresServer],
    s3_server: S3Server,
) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []
    with server_folder(postgres_account, "program") as folder:

        def site(**settings: str) -> Site:
            server = postgres_cluster(**settings)
            stage.systems = {**stage.systems, "wal": bucket(s3_server, tmp_path)}
            archive = f"s3://{s3_server.bucket}/{server.data_dir.parent.name}"
            db = on_this_machine(server, tmp_path, archive=archive)
            made.append(Site(stage, server, runnable_by(postgres_account, folder), s3_server, db))
            return made[-1]

        yield site
        for one in made:
            end_servers(one.server.data_dir)


def test_from_nothing_to_a_proven_object(make: Callable[..., Site]) -> None:
    site = make(wal_level="minimal", max_wal_senders="0")
    life = site.life()
    planned = life.plan()
    done = life.go()
    assert done[:3] == ["remember", "server_access", "writable"]
    assert done[-4:] == ["switch_wal", "archived", "counted", "without_failure"]
    out = life.end()
    assert site.objects()[out.segment] == 16 * 1024 * 1024
    assert out.directory == site.db.archive
    assert "base backup" in out.advice
    found = site.access.stat()
    assert (found.st_mode & 0o777, found.st_uid) == (0o600, site.server.data_dir.stat().st_uid)
    assert json.loads(site.access.read_text())["url"] == site.db.archive
    command = site.show("archive_command")
    assert f"{site.program} wal push --access {site.access}" in command

    secrets = (site.s3.access_key, site.s3.secret_key)
    argvs = [str(one.argv) for one in planned if isinstance(one, Process)]
    documents = [str(one.content) for one in planned if isinstance(one, Write)]
    printed = [*site.stage.directory.rglob("*"), *site.server.data_dir.parent.rglob("*log")]
    logs = [path.read_text(errors="replace") for path in printed if path.is_file()]
    settings = str(site.server.sql("SELECT name, setting FROM pg_settings"))
    for text in (*argvs, *documents, *logs, settings):
        assert not any(secret in text for secret in secrets)


def test_a_second_run_sets_nothing_and_writes_the_keys_anew(make: Callable[..., Site]) -> None:
    site = make()
    first = site.life()
    first.go()
    first.end()
    site.access.write_text("{}")
    second = site.life("again")
    assert second.go() == ["server_access", "writable", "switch_wal", "archived", "counted", "without_failure"]
    second.end()
    third = site.life("undone")
    third.go()
    third.end()
    assert first.undo()
    assert "wal push" not in site.show("archive_command")


@pytest.mark.parametrize("stop_after", ["server_access", "set_archive_command", "stop_server", "switch_wal"])
def test_stopped_and_resumed(make: Callable[..., Site], stop_after: str) -> None:
    site = make(wal_level="minimal", max_wal_senders="0")
    life = site.life()
    names = [one.name for one in life.plan()]
    life.go(stop_after=names.index(stop_after) + 1)
    life.go()
    assert life.end().segment in site.objects()


def test_a_program_that_the_servers_account_can_not_run_is_refused(
    make: Callable[..., Site], tmp_path: Path, postgres_account: Account
) -> None:
    if postgres_account.own:
        return  # whoever runs the server can run everything of his own
    site = make()
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "runbook").write_text("#!/bin/sh\n")
    (home / "runbook").chmod(0o755)
    with pytest.raises(Refused, match="E668") as caught:
        site.life(program=str(home / "runbook")).plan()
    assert "mode 0700" in str(caught.value)
    assert "/opt/runbook" in str(caught.value)
    interpreted = site.program.with_name("interpreted")
    (home / "python").symlink_to("/bin/sh")
    interpreted.write_text(f"#!{home}/python\n")
    interpreted.chmod(0o755)
    with pytest.raises(Refused, match=f"needs {home}/python"):
        site.life(program=str(interpreted)).plan()
    assert site.show("archive_mode") == "off"


def test_wrong_keys_and_another_clusters_prefix_are_told_before_anything_is_set(make: Callable[..., Site]) -> None:
    site = make()
    bucket = site.stage.systems["wal"]
    assert isinstance(bucket, Store)
    site.stage.systems = {**site.stage.systems, "wal": bucket.model_copy(update={"access_key": bucket.secret_key})}
    with pytest.raises(Exception, match=r"could not be asked|can't be fetched"):
        site.life().go()
    assert site.show("archive_mode") == "off"
    site.stage.systems = {**site.stage.systems, "wal": bucket}
    first = site.life()
    first.go()
    first.end()
    other = make()
    other.db = other.db.model_copy(update={"archive": site.db.archive})
    with pytest.raises(StepFailed, match="was written by cluster"):
        other.life().go()
    assert other.show("archive_mode") == "off"


def test_the_archive_is_checked_and_a_gap_is_named(make: Callable[..., Site]) -> None:
    site = make()
    step = site.life()
    step.go()
    step.end()
    for _ in range(3):
        site.server.sql("SELECT pg_logical_emit_message(true, 'x', 'y')")
        last = str(site.server.sql("SELECT pg_walfile_name(pg_switch_wal())")[0][0])
        _await_object(site, last)
    check = site.check()
    assert check.go() == ["archive_access", "listing", "forget_access"]
    out = check.end()
    assert out.newest == last
    assert out.segments >= 4
    assert out.bytes >= 4 * 16 * 1024 * 1024
    assert out.age_s < 3600
    names = sorted(name for name in site.objects() if len(name) == 24)
    site.s3.client().delete_object(Bucket=site.s3.bucket, Key=f"{site.prefix}/{names[-2]}")
    again = site.check()
    again.go()
    with pytest.raises(CheckFailed, match=names[-2]):
        again.end()


def _await_object(site: Site, name: str) -> None:
    eventually(lambda: name in site.objects())
