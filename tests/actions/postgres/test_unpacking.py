"""A base backup that somebody else wrote: what no backup of a cluster has is refused, and nothing of it stays or gets out.

The archives are crafted; they are unpacked by the very stages that a restore runs, as those run here.
"""

from __future__ import annotations

import io
import os
import re
import stat
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runbook.actions.postgres.cluster import Paths
from runbook.actions.postgres.packing import most_of
from runbook.actions.postgres.recovery import Goal, extracted
from runbook.actions.postgres.server_tools import Tools
from runbook.actions.postgres.tablespace_copies import unpacked_apart
from runbook.actions.postgres.tablespaces import SpaceCopy
from runbook.actions.postgres.target import Moment
from runbook.actions.postgres.unpacking import untarred
from runbook.actions.postgres.wal_source import DirectoryArchive
from runbook.host import LOCAL
from runbook.operation import Pipeline
from tests.actions.backups import NOON
from tests.actions.postgres.test_tablespaces import SPACES, spaced


class Archive:
    """A tar file that is written member by member."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tar = tarfile.TarFile(path, "w")

    def put(self, name: str, content: bytes = b"", **more: object) -> Archive:
        """A member of that name, with whatever else a header can say."""
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), 0o600
        for key, value in more.items():
            setattr(member, key, value)
        self._tar.addfile(member, io.BytesIO(content))
        return self

    def closed(self) -> Path:
        """The whole file."""
        self._tar.close()
        return self.path


Put = Callable[[Archive], Archive]


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """The new directory of a restore, beside which a secret lies."""
    (tmp_path / "outside").write_text("as it was")
    place = tmp_path / "partial"
    place.mkdir(mode=0o700)
    return place


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """A backup that begins as one does."""
    return Archive(tmp_path / "base.tar").put("PG_VERSION", b"15\n").put("base/", type=tarfile.DIRTYPE, mode=0o700)


def unpack(archive: Archive, into: Path) -> subprocess.CompletedProcess[str]:
    """What comes of the stage, run here."""
    argv = untarred(str(into), LOCAL, "", most_bytes=0, without=("standby.signal", "pg_tblspc/*")).argv
    with archive.closed().open("rb") as source:
        ended = subprocess.run([str(word) for word in argv], stdin=source, capture_output=True, check=False)
    return subprocess.CompletedProcess(ended.args, ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def test_a_backup_as_it_should_be_is_unpacked_with_its_modes(archive: Archive, into: Path) -> None:
    archive.put("base/1", b"rows", mode=0o640).put("standby.signal").put(
        "pg_tblspc/16400", type=tarfile.SYMTYPE, linkname="/live/fast"
    )
    ended = unpack(archive, into)
    assert (ended.returncode, ended.stderr) == (0, "")
    found = {path.relative_to(into).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in into.rglob("*")}
    assert found == {"PG_VERSION": 0o600, "base": 0o700, "base/1": 0o640}


ODD: dict[str, Put] = {
    "link out": lambda tar: tar.put("etc", type=tarfile.SYMTYPE, linkname="/etc"),
    "link upwards": lambda tar: tar.put("up", type=tarfile.SYMTYPE, linkname="../outside"),
    "link inside": lambda tar: tar.put("alias", type=tarfile.SYMTYPE, linkname="PG_VERSION"),
    "hard link inside": lambda tar: tar.put("twin", type=tarfile.LNKTYPE, linkname="PG_VERSION"),
    "pipe": lambda tar: tar.put("pipe", type=tarfile.FIFOTYPE),
    "set-uid": lambda tar: tar.put("shell", b"#!/bin/sh\n", mode=0o4755),
    "set-gid": lambda tar: tar.put("shell", b"#!/bin/sh\n", mode=0o2755),
    "name with a newline": lambda tar: tar.put("a\nb", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_no_backup_of_a_cluster_has_is_refused_and_nothing_stays(name: str, archive: Archive, into: Path) -> None:
    ODD[name](archive)
    ended = unpack(archive, into)
    assert ended.returncode == 1
    assert ended.stderr.startswith(
        "refused, since no backup of a cluster has links, devices or set-id files; nothing of it was kept:\n"
    )
    assert str(into) in ended.stderr
    assert list(into.iterdir()) == []
    assert (into.parent / "outside").read_text() == "as it was"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a device")
def test_a_device_is_refused(archive: Archive, into: Path) -> None:
    archive.put("disk", type=tarfile.BLKTYPE, devmajor=8, devminor=0)
    assert unpack(archive, into).returncode == 1
    assert list(into.iterdir()) == []


OUTWARDS: dict[str, Put] = {
    "upwards": lambda tar: tar.put("../outside", b"changed"),
    "upwards in the middle": lambda tar: tar.put("base/../../outside", b"changed"),
    "through a link": lambda tar: tar.put("out", type=tarfile.SYMTYPE, linkname="..").put("out/outside", b"changed"),
    "through a long link": lambda tar: (
        tar.put("a", type=tarfile.SYMTYPE, linkname="b")
        .put("b", type=tarfile.SYMTYPE, linkname="..")
        .put("a/outside", b"changed")
    ),
    "through a hard link": lambda tar: tar.put("twin", type=tarfile.LNKTYPE, linkname="../outside").put(
        "twin", b"changed"
    ),
    "over a link": lambda tar: tar.put("twin", type=tarfile.SYMTYPE, linkname="../outside").put("twin", b"changed"),
}


@pytest.mark.parametrize("name", OUTWARDS)
def test_no_member_gets_out(name: str, archive: Archive, into: Path) -> None:
    OUTWARDS[name](archive)
    unpack(archive, into)
    assert (into.parent / "outside").read_text() == "as it was"
    assert sorted(path.name for path in into.parent.iterdir()) == ["base.tar", "outside", "partial"]
    assert all(path.is_file() or path.is_dir() for path in into.rglob("*"))


def test_an_absolute_name_is_one_below_the_directory(archive: Archive, into: Path) -> None:
    archive.put(f"{into.parent}/outside", b"changed")
    assert unpack(archive, into).returncode == 0
    assert (into.parent / "outside").read_text() == "as it was"
    assert (into / str(into.parent).lstrip("/") / "outside").read_text() == "changed"


def test_each_extraction_of_a_restore_is_this_one() -> None:
    """A recovery's data directory, and each tablespace's: what the two give to a pipeline ends with the stage that refuses."""
    where = Paths(data="/data", side="/side", partial="/partial", old="/old", run="/run")
    goal = Goal(Moment(NOON), "latest", DirectoryArchive("/wal", LOCAL), 60)
    made = extracted("/base.tar", "", where, goal, Tools("", LOCAL, "postgres"), most_bytes=7)
    spaces = unpacked_apart(
        spaced(), "/store", (SpaceCopy(16400, "fast", "/fast", "/copy"),), "/partial", host=LOCAL, owner="o"
    )
    last = {one.name: one.stages[-1] for one in (*made, *spaces) if isinstance(one, Pipeline)}
    assert last["extract"].argv[:5] == untarred("/partial", LOCAL, "postgres", most_bytes=0).argv
    assert last["extract_16400"].argv == untarred("/copy", LOCAL, "o", most_bytes=0).argv
    assert (last["extract"].most_bytes, last["extract_16400"].most_bytes) == (7, most_of(spaced(), SPACES[0].piece))


def test_nothing_else_unpacks_an_archive_that_somebody_may_have_written() -> None:
    """Python's own way has had holes, and is nobody's; what else calls tar takes one member's text, or packs the files itself."""
    root = Path(__file__).parents[3] / "runbook"
    sources = {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*.py")}
    python = r"\.extract(all|file)?\(|unpack_archive|zipfile"
    assert {name for name, text in sources.items() if re.search(python, text)} == set()
    extracting = r"tar\b.*(--extract(?!.*--to-stdout)|\"-xf\")"
    named = {name for name, text in sources.items() if re.search(extracting, text)}
    assert named == {"actions/postgres/unpacking.py", "actions/postgres/load.py"}
