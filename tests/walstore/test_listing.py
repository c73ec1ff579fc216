"""An archive in lines: the same that the shell script tells of a directory; and a newest segment that is not what was archived."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

from runbook.actions.postgres.archive_listing import listed, parse_listing
from runbook.host import LOCAL
from runbook.operation import Process
from runbook.walstore.access import Access
from runbook.walstore.listing import lines
from tests.fixtures.s3 import S3Server
from tests.walstore.segments import SIZE, name, segment


def archive(folder: Path) -> Path:
    """Two timelines with a gap, a short segment, a history, and things that are no WAL."""
    for number in (3, 4, 6, 7):
        segment(folder, number)
    segment(folder, 8, timeline=2)
    (folder / name(6)).write_bytes(b"short")
    (folder / "00000002.history").write_text(f"1\t0/{8 * SIZE:X}\tbefore 2026-02-14 12:00:00+00\n")
    (folder / f"{name(3)}.00000028.backup").write_text("START WAL LOCATION")
    (folder / "junk").write_text("x")
    (folder / "with a space").write_text("x")
    return folder


def test_both_ways_of_listing_tell_the_same(tmp_path: Path) -> None:
    told = "\n".join(lines(Access(f"file://{archive(tmp_path)}").open(), SIZE))
    script = listed(str(tmp_path), LOCAL, SIZE)
    assert isinstance(script, Process)
    printed = subprocess.run([str(word) for word in script.argv], capture_output=True, text=True, check=True).stdout
    ours, theirs = parse_listing(told, SIZE), parse_listing(printed, SIZE)
    # `stat` tells whole seconds, and the script does not look into files
    assert (int(ours.newest_at), int(ours.oldest_at)) == (theirs.newest_at, theirs.oldest_at)
    assert replace(ours, newest_at=0, oldest_at=0, writer="") == replace(theirs, newest_at=0, oldest_at=0)
    assert (ours.segments, ours.damaged, ours.foreign, ours.foreign_count) == (5, ((name(6), 5),), ("junk",), 2)
    assert ours.coverage.histories[2][0].timeline == 1


def test_a_newest_segment_that_was_replaced_is_told(s3_server: S3Server, tmp_path: Path) -> None:
    access = Access(
        f"s3://{s3_server.bucket}/{tmp_path.name}-listing",
        s3_server.endpoint,
        "us-east-1",
        s3_server.access_key,
        s3_server.secret_key,
    )
    for number in (3, 4):
        path = segment(tmp_path, number)
        access.open().put(path.name, path)
    assert parse_listing("\n".join(lines(access.open(), SIZE)), SIZE).flaw == ""
    s3_server.client().put_object(
        Bucket=s3_server.bucket, Key=f"{tmp_path.name}-listing/{name(4)}", Body=(tmp_path / name(3)).read_bytes()
    )
    found = parse_listing("\n".join(lines(access.open(), SIZE)), SIZE)
    assert name(4) in found.flaw
    assert "SHA-256" in found.flaw
    assert (found.newest, found.segments) == (name(4), 2)
