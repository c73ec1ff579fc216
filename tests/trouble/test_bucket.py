"""A bucket that fails: errors of the service, connections reset in the middle, objects that are not what was stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.evidence.program import Program, Ran
from tests.fixtures.s3 import S3Server
from tests.trouble.gateway import Fault, Gateway
from tests.trouble.night import DONE, FAILED, REFUSED
from tests.walstore.segments import SIZE, segment


@dataclass
class Archive:
    """A WAL archive in a bucket behind a gateway, and the program with an access file for it."""

    folder: Path
    gateway: Gateway
    s3: S3Server

    def wal(self, verb: str, *words: str | Path) -> Ran:
        """`runbook wal VERB`."""
        access = self.folder / "access.json"
        access.touch(mode=0o600)
        keys = {"access_key": self.s3.access_key, "secret_key": self.s3.secret_key, "region": "us-east-1"}
        url = f"s3://{self.s3.bucket}/{self.folder.name}"
        access.write_text(json.dumps({"url": url, "endpoint": self.gateway.endpoint, **keys}))
        program = Program(self.folder, {"NO_COLOR": "1"})
        program.argv = lambda *argv: [*Program.argv(program, "wal")[:2], *map(str, argv)]  # type: ignore[method-assign]
        return program.run(verb, "--access", access, *words)

    @property
    def stored(self) -> list[str]:
        listed = self.s3.client().list_objects_v2(Bucket=self.s3.bucket, Prefix=f"{self.folder.name}/")
        return [one["Key"].rpartition("/")[2] for one in listed.get("Contents", ())]


@pytest.fixture
def archive(s3_server: S3Server, tmp_path: Path) -> Iterator[Archive]:
    with Gateway(s3_server.endpoint) as gateway:
        yield Archive(tmp_path, gateway, s3_server)


def test_a_service_that_is_busy_is_asked_again_within_bounds(archive: Archive) -> None:
    source = segment(archive.folder, 4)
    archive.gateway.faults["PUT"] = [Fault.SLOW_DOWN, Fault.UNANSWERED]
    pushed = archive.wal("push", "--segment-bytes", str(SIZE), source)
    assert pushed.code == DONE, pushed.said
    assert archive.gateway.asked == ["PUT", "PUT", "PUT", "HEAD"], (
        "the third finds that the second was done, and compares"
    )
    assert archive.stored == [source.name]
    archive.gateway.faults["GET"] = [Fault.ERROR, Fault.SLOW_DOWN]
    there = archive.wal("has", source.name)
    assert there.code == DONE, there.said


def test_a_service_that_stays_broken_is_told_and_nothing_is_archived(archive: Archive) -> None:
    source = segment(archive.folder, 4)
    archive.gateway.faults["PUT"] = [Fault.ERROR] * 50
    refused = archive.wal("push", "--segment-bytes", str(SIZE), source)
    assert refused.code == REFUSED, refused.said
    assert "E639" in refused.said
    assert archive.gateway.asked.count("PUT") <= 10, "the attempts are bounded"
    assert archive.stored == []


def test_what_does_not_come_whole_is_not_taken(archive: Archive) -> None:
    source = segment(archive.folder, 4)
    assert archive.wal("push", "--segment-bytes", str(SIZE), source).code == DONE
    told = {Fault.RESET: "Connection broken", Fault.SHORTER: "its SHA-256 is", Fault.OTHER: "its SHA-256 is"}
    for fault, why in told.items():
        archive.gateway.faults["GET"] = [fault] * 50
        missing = archive.wal("has", source.name)
        assert missing.code == FAILED, missing.said
        assert why in missing.said, fault
    archive.gateway.faults["GET"] = []
    assert archive.wal("has", source.name).code == DONE
