"""Where the WAL is: which archive a system has, whose keys are used, and what each archive plans. No server, no bucket."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runbook.action import Scope
from runbook.actions.postgres.server_tools import Tools
from runbook.actions.postgres.wal_source import (
    BucketArchive,
    DirectoryArchive,
    access_document,
    archive_of,
    bucket_of,
)
from runbook.errors import Refused
from runbook.host import LOCAL, Docker
from runbook.operation import Operations, Process, digest
from runbook.paste import paste
from runbook.secret import FromEnv
from runbook.system import Postgres, Store

SCOPE = Scope("20260214-120000-r-4f3a", "recover", datetime(2026, 2, 14, tzinfo=UTC), "/run/it", "here", False, {})
TOOLS = Tools("/usr/lib/postgresql/15/bin", LOCAL, "postgres")
SIDE, SIZE = "/data/rb_x_recover", 16 * 1024 * 1024


def db(archive: str, **more: object) -> Postgres:
    return Postgres.model_validate({"type": "postgres", "user": "u", "database": "d", "archive": archive, **more})


def store(url: str, region: str) -> Store:
    return Store(type="store", key=region, url=url, region=region, access_key=FromEnv("A"), secret_key=FromEnv("S"))


def bucket() -> BucketArchive:
    scope = replace(SCOPE, systems={"wal": store("s3://wal", "here")})
    found = archive_of(db("s3://wal/main/"), scope)
    assert isinstance(found, BucketArchive)
    return found


def test_a_directory_is_one_and_starts_nothing() -> None:
    found = archive_of(db("file:///backups/wal/"), SCOPE)
    assert found == DirectoryArchive("/backups/wal", LOCAL)
    nothing: tuple[Operations, ...] = (
        found.opened(),
        found.fed(SIDE, SIZE, TOOLS),
        found.fed_no_more("end", SIDE),
        found.forgotten(),
    )
    assert nothing == ((), (), (), ())
    assert found.restore_command(SIDE) == 'cp "/backups/wal/%f" "%p"'


def test_a_segment_that_is_still_being_copied_has_not_arrived(tmp_path: Path) -> None:
    look = DirectoryArchive(str(tmp_path), LOCAL).arrived("in_archive", "0A", TOOLS, segment_bytes=SIZE)
    assert subprocess.run(list(map(str, look.argv)), check=False).returncode == 1
    for size, code in ((0, 1), (SIZE - 1, 1), (SIZE, 0)):
        with (tmp_path / "0A").open("wb") as file:
            file.truncate(size)
        assert subprocess.run(list(map(str, look.argv)), check=False).returncode == code


@pytest.mark.parametrize("archive", ["", "file://relative", "file:///", "file:///a'b", "az://wal/main", "/backups/wal"])
def test_what_is_neither_is_refused(archive: str) -> None:
    with pytest.raises(Refused, match="E785"):
        archive_of(db(archive), SCOPE)


def test_a_server_in_a_container_has_no_bucket() -> None:
    with pytest.raises(Refused, match="E669"):
        archive_of(db("s3://wal/main", host=Docker("db")), SCOPE)


@pytest.mark.parametrize(
    ("archive", "region"),
    [
        ("s3://wal/main", "exact"),
        ("s3://wal/main/", "exact"),
        ("s3://wal/main/deeper", "exact"),
        ("s3://wal/mainly", "bucket"),
        ("s3://wal", "bucket"),
        ("s3://walrus/main", ""),
    ],
)
def test_the_nearest_store_gives_the_keys(archive: str, region: str) -> None:
    stores = {"a": store("s3://wal/", "bucket"), "b": store("s3://wal/main/", "exact"), "c": store("file:///x", "no")}
    found = bucket_of(db(archive), replace(SCOPE, systems=stores))
    assert (found.url, found.region) == (archive.rstrip("/"), region)
    assert (found.access_key is None) == (region == "")


def test_what_is_shown_can_be_pasted_and_holds_no_key() -> None:
    archive = bucket()
    made, feed = archive.fed(SIDE, SIZE, TOOLS)
    shown = [paste(one) for one in (*archive.opened(), made, feed, *archive.fed_no_more("end_feeding", SIDE))]
    file = "/run/it/rb_20260214_120000_r_4f3a_recover.archive_access"
    assert shown[2] == f"runbook wal feed --access {file} --segment-bytes {SIZE} {SIDE}/spool"
    assert shown[3] == f"runbook wal end {SIDE}/spool"
    assert isinstance(feed, Process) and feed.daemon
    assert archive.access == file
    assert (FromEnv("A"), FromEnv("S")) == tuple(value for _, value in access_document(archive.store).items[3:])


def test_a_resume_plans_what_was_approved() -> None:
    first, second = ([digest(one) for one in bucket().fed(SIDE, SIZE, TOOLS)] for _ in range(2))
    assert first == second
    assert all(one.owned for one in (*bucket().forgotten(), *bucket().fed_no_more("end", SIDE)))


def test_the_server_takes_out_of_the_spool() -> None:
    command = bucket().restore_command("/da'ta/100%")
    assert command.startswith("s='/da'\\''ta/100%%/spool'; ")
    assert command.endswith('mv "$s/%f" "%p"')
