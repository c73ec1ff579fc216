"""The archive command and the settings: what it does with files, in every shell that is here, and what is made of others."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from runbook.actions.postgres.archiving import (
    MARK,
    Purpose,
    Setting,
    command_for,
    purpose_of,
    seconds_of,
    wanted_settings,
)

SEGMENT = "000000010000000000000007"
SHELLS = [[path] for name in ("sh", "dash", "bash") if (path := shutil.which(name))]
if busybox := shutil.which("busybox"):
    SHELLS.append([busybox, "sh"])


class Cluster:
    """A data directory with one segment, an archive beside it, and the server's way of running its command."""

    def __init__(self, folder: Path, shell: list[str], archive: str = "a wal;archive %f $(no)*") -> None:
        self.shell = shell
        self.data, self.archive = folder / "data", folder / archive.replace("$", "")
        (self.data / "pg_wal").mkdir(parents=True)
        self.archive.mkdir()
        self.source.write_bytes(os.urandom(70_000))

    @property
    def source(self) -> Path:
        return self.data / "pg_wal" / SEGMENT

    def run(self, path: str = "") -> subprocess.CompletedProcess[bytes]:
        """As the server does it (chapter Setting Up WAL Archiving): %p and %f in place, %% for one %."""
        found, command = {"p": f"pg_wal/{SEGMENT}", "f": SEGMENT, "%": "%"}, command_for(str(self.archive))
        out, at = "", 0
        while at < len(command):
            if command[at] == "%":
                out, at = out + found[command[at + 1]], at + 2
            else:
                out, at = out + command[at], at + 1
        environment = {"PATH": path or os.environ["PATH"]}
        return subprocess.run(
            [*self.shell, "-c", out], cwd=self.data, env=environment, capture_output=True, check=False, timeout=120
        )

    def held(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.archive.iterdir()}


@pytest.fixture(params=SHELLS, ids=lambda shell: " ".join(shell))
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Cluster:
    return Cluster(tmp_path, request.param)


def test_it_copies_under_the_segments_name_and_leaves_nothing_else(cluster: Cluster) -> None:
    assert cluster.run().returncode == 0
    assert cluster.held() == {SEGMENT: cluster.source.read_bytes()}
    assert (cluster.archive / SEGMENT).stat().st_mode & 0o777 == 0o600, "WAL holds data: its owner's alone"


def test_the_same_file_again_is_a_success(cluster: Cluster) -> None:
    cluster.run()
    before = (cluster.archive / SEGMENT).stat()
    assert cluster.run().returncode == 0
    assert (cluster.archive / SEGMENT).stat().st_ino == before.st_ino, "it was not copied again"


def test_another_file_of_that_name_is_never_overwritten(cluster: Cluster) -> None:
    (cluster.archive / SEGMENT).write_bytes(b"another cluster's")
    ran = cluster.run()
    assert ran.returncode == 1
    assert b"differ" in ran.stderr or b"EOF" in ran.stderr
    assert cluster.held() == {SEGMENT: b"another cluster's"}


def test_a_half_copy_of_a_command_that_was_killed_is_swept(cluster: Cluster) -> None:
    (cluster.archive / f".{SEGMENT}.aB3xYz").write_bytes(b"half")
    (cluster.archive / ".000000010000000000000008.aB3xYz").write_bytes(b"another segment's")
    assert cluster.run().returncode == 0
    assert set(cluster.held()) == {SEGMENT, ".000000010000000000000008.aB3xYz"}


def test_the_second_name_that_a_killed_command_left_is_swept_too(cluster: Cluster) -> None:
    """It had given the copy its name, and was killed before it took the first one away; then the server archives the file again."""
    cluster.run()
    (cluster.archive / f".{SEGMENT}.aB3xYz").hardlink_to(cluster.archive / SEGMENT)
    assert cluster.run().returncode == 0
    assert cluster.held() == {SEGMENT: cluster.source.read_bytes()}


def test_no_segment_no_archive_no_programs_all_return_1(cluster: Cluster, tmp_path: Path) -> None:
    cluster.source.rename(tmp_path / "away")
    assert cluster.run().returncode == 1
    assert cluster.held() == {}
    (tmp_path / "away").rename(cluster.source)
    cluster.archive.rename(tmp_path / "unmounted")
    assert cluster.run().returncode == 1
    (tmp_path / "unmounted").rename(cluster.archive)
    (tmp_path / "empty").mkdir()
    if "busybox" not in cluster.shell[0]:  # that one has its programs inside
        assert cluster.run(path=str(tmp_path / "empty")).returncode == 1
    assert cluster.held() == {}


def without(tmp_path: Path, **instead: str) -> str:
    """A PATH on which some programs are scripts of ours."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in instead.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_a_file_system_without_hard_links_will_do(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, ["sh"])
    path = without(tmp_path, ln="exit 1")
    assert cluster.run(path).returncode == 0
    assert cluster.held() == {SEGMENT: cluster.source.read_bytes()}
    (cluster.archive / SEGMENT).write_bytes(b"another")
    assert cluster.run(path).returncode == 1
    assert cluster.held() == {SEGMENT: b"another"}


@pytest.mark.parametrize("broken", ["cp", "sync"])
def test_a_copy_that_fails_half_way_gets_no_name(tmp_path: Path, broken: str) -> None:
    cluster = Cluster(tmp_path, ["sh"])
    halfway = {"cp": 'head -c 9 "$1" > "$2"; echo "No space left on device" >&2; exit 1', "sync": "exit 1"}
    ran = cluster.run(without(tmp_path, **{broken: halfway[broken]}))
    assert ran.returncode == 1
    assert cluster.held() == {}


def test_one_that_comes_in_between_is_not_overwritten(tmp_path: Path) -> None:
    """Two servers archive to one place: the other one's file appears after the look, before the link."""
    cluster = Cluster(tmp_path, ["sh"], archive="wal")
    path = without(tmp_path, sync=f'[ -e "{cluster.archive}/{SEGMENT}" ] || echo other > "{cluster.archive}/{SEGMENT}"')
    assert cluster.run(path).returncode == 1
    assert cluster.held() == {SEGMENT: b"other\n"}


def test_it_is_one_line_as_alter_system_asks() -> None:
    command = command_for("/srv/50% full's/wal")
    assert "\n" not in command and command.startswith(MARK)
    assert command.replace("%%", "").replace("%p", "").replace("%f", "").count("%") == 0


@pytest.mark.parametrize(
    ("command", "purpose"),
    [
        ("", Purpose.IDLE),
        ("(disabled)", Purpose.IDLE),
        ("/bin/true", Purpose.IDLE),
        ("/usr/bin/true", Purpose.IDLE),
        (":", Purpose.IDLE),
        ("exit 0", Purpose.IDLE),
        (command_for("/backups/wal"), Purpose.OURS),
        (command_for("/backups/other"), Purpose.ELSEWHERE),
        (command_for("/backups/wal2"), Purpose.ELSEWHERE),
        (command_for("/more/backups/wal"), Purpose.ELSEWHERE),
        ("cp %p /backups/wal/%f", Purpose.HERE),
        ("test ! -f /backups/wal/%f && cp %p '/backups/wal/%f'", Purpose.HERE),
        ("aws s3 cp %p s3://civicq-backups/wal/%f", Purpose.ELSEWHERE),
        ("rsync %p standby:/backups/wal/%f", Purpose.ELSEWHERE),
        ("pgbackrest --stanza=main archive-push %p", Purpose.TOOL),
        ("barman-wal-archive backup pg %p", Purpose.TOOL),
        ("/usr/local/bin/wal-g wal-push %p && cp %p /backups/wal/%f", Purpose.TOOL),
    ],
)
def test_what_a_command_that_is_there_means(command: str, purpose: Purpose) -> None:
    assert purpose_of(command, "/backups/wal") is purpose


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300", 300), ("5min", 300), ("1 h", 3600), ("1500ms", 1.5), ("0", 0), ("soon", 0), ("", 0)],
)
def test_a_span_as_files_have_it(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("name", "fits", "doesnt"),
    [
        ("wal_level", ["replica", "logical"], ["minimal"]),
        ("max_wal_senders", ["1", "10"], ["0"]),
        ("archive_mode", ["on", "always"], ["off"]),
        ("archive_library", [""], ["basic_archive"]),
        ("archive_command", [command_for("/a")], ["", "cp %p /a/%f", command_for("/b")]),
        ("archive_timeout", ["300", "1", "5min"], ["0", "301", "1h"]),
    ],
)
def test_what_a_setting_has_to_be(name: str, fits: list[str], doesnt: list[str]) -> None:
    (wanted,) = (one for one in wanted_settings(command_for("/a"), 300) if one.name == name)
    assert all(wanted.fits(value) for value in (*fits, wanted.value))
    assert not any(wanted.fits(value) for value in doesnt)


def test_what_a_setting_will_be() -> None:
    assert Setting("archive_mode", "off", "default", file="on", auto="on").next == "on"
    assert Setting("archive_mode", "off", "default", file=None, auto=None).next == "off"
    assert Setting("archive_mode", "off", "command line", file="on", auto="on").next == "off", "the files don't count"
