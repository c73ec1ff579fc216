"""Archiving into a bucket, as text and as a look at modes: the command, and who may run the program. No server, no bucket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import pytest

from runbook.action import FileFacts, Look, Ran
from runbook.actions.postgres.archive_bucket import BucketWriter, access_beside, bucket_command, closed
from runbook.actions.postgres.archiving import Purpose, purpose_of
from runbook.host import Host
from runbook.operation import Process, Write
from runbook.secret import FromEnv
from runbook.system import Store

PROGRAM, ACCESS = "/opt/runbook/bin/runbook", "/srv/pg/main.wal_archive.json"
STORE = Store(type="store", url="s3://wal/main", access_key=FromEnv("A"), secret_key=FromEnv("S"))


@dataclass
class Modes:
    """A machine as far as it is looked at: (kind, owner, mode) by path, what links lead to, what scripts begin with."""

    files: Mapping[str, tuple[str, str, int]]
    links: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    def file(self, host: Host, path: str) -> FileFacts | None:
        if path not in self.files:
            return None
        kind, owner, mode = self.files[path]
        return FileFacts(path, kind, 1, datetime(2026, 2, 14, tzinfo=UTC), mode, owner, 1, 1)

    def run(self, host: Host, argv: tuple[str, ...]) -> Ran:
        return Ran(0, self.links.get(argv[-1], argv[-1]) + "\n", "")

    def text(self, host: Host, path: str) -> str | None:
        return self.texts.get(path)


OPEN = {
    "/opt": ("directory", "root", 0o755),
    "/opt/runbook": ("directory", "root", 0o755),
    "/opt/runbook/bin": ("directory", "root", 0o755),
    PROGRAM: ("file", "root", 0o755),
}
HOME = {
    "/home": ("directory", "root", 0o755),
    "/home/ada": ("directory", "ada", 0o700),
    "/home/ada/python": ("file", "ada", 0o755),
}


@pytest.mark.parametrize(
    ("machine", "owner", "why"),
    [
        (Modes(OPEN), "postgres", ""),
        (Modes({**OPEN, "/opt/runbook": ("directory", "root", 0o700)}), "postgres", "/opt/runbook is closed"),
        (Modes({**OPEN, "/opt/runbook": ("directory", "postgres", 0o700)}), "postgres", ""),
        (Modes({**OPEN, "/opt/runbook": ("directory", "root", 0o750)}), "postgres", ""),  # its groups aren't known
        (Modes({**OPEN, PROGRAM: ("file", "root", 0o644)}), "postgres", f"{PROGRAM} is closed"),
        (Modes({}), "postgres", "/opt does not exist"),
        (
            Modes({**OPEN, **HOME}, texts={PROGRAM: "#!/home/ada/python\nimport sys\n"}),
            "postgres",
            "needs /home/ada/python",
        ),
        (
            Modes(
                {**OPEN, **HOME, "/opt/runbook/bin/python": ("link", "root", 0o777)},
                {"/opt/runbook/bin/python": "/home/ada/python"},
                {PROGRAM: "#!/opt/runbook/bin/python -I\n"},
            ),
            "postgres",
            "/home/ada is closed to postgres (it belongs to ada, mode 0700)",
        ),
    ],
)
def test_who_may_run_the_program(machine: Modes, owner: str, why: str) -> None:
    found = closed(cast(Look, machine), PROGRAM, owner)
    assert [one.code for one in found] == (["E668"] if why else [])
    assert all(why in one.detail and "/opt/runbook" in one.fix for one in found)


def test_the_command_names_a_file_and_no_key() -> None:
    command = bucket_command("/opt/100%/run book", ACCESS, 16 * 1024 * 1024)
    assert command == f": runbook; '/opt/100%%/run book' wal push --access {ACCESS} \"%p\" >&2 || exit 1"
    assert "--segment-bytes 1048576" in bucket_command(PROGRAM, ACCESS, 1024 * 1024)


@pytest.mark.parametrize(
    ("command", "purpose"),
    [
        (bucket_command("/elsewhere/runbook", ACCESS, 16 * 1024 * 1024), Purpose.HERE),
        ("wal-g wal-push %p", Purpose.TOOL),
        ("cp %p /backups/%f", Purpose.ELSEWHERE),
    ],
)
def test_another_programs_path_is_the_same_archive(command: str, purpose: Purpose) -> None:
    assert purpose_of(command, ACCESS) is purpose


def test_the_servers_account_does_it_with_a_file_of_its_own() -> None:
    writer = BucketWriter(STORE, PROGRAM, access_beside("/srv/pg/main"), "postgres")
    (written,) = writer.prepared()
    assert isinstance(written, Write)
    assert (written.path, written.mode, written.owner) == (ACCESS, 0o600, "postgres")
    for one in (writer.probe("7"), writer.arrived("000000010000000000000001", 1)):
        assert isinstance(one, Process)
        assert one.reads and one.user == "postgres"
        assert PROGRAM in one.argv and ACCESS in one.argv
