"""Archives in a directory and in a bucket of a real S3 server: the same promises."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from runbook.errors import Refused
from runbook.walstore.access import Access, read_access
from runbook.walstore.directory import DirectorySegments
from runbook.walstore.push import push
from runbook.walstore.store import Damaged, Different, Put, Segments, Unavailable
from runbook.walstore.summary import summary
from tests.fixtures.s3 import S3Server
from tests.walstore.segments import SIZE, name, segment

Opens = Callable[[], Segments]


@pytest.fixture(params=["directory", "bucket"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Segments:
    """An archive that nobody else has."""
    return access_of(request, tmp_path).open()


def access_of(request: pytest.FixtureRequest, tmp_path: Path) -> Access:
    if request.param == "directory":
        (tmp_path / "archive").mkdir()
        return Access(f"file://{tmp_path}/archive")
    server: S3Server = request.getfixturevalue("s3_server")
    return Access(
        f"s3://{server.bucket}/{tmp_path.name}", server.endpoint, "us-east-1", server.access_key, server.secret_key
    )


def test_what_was_put_is_fetched(archive: Segments, tmp_path: Path) -> None:
    source, copy = segment(tmp_path, 5), tmp_path / "copy"
    assert archive.put(source.name, source) is Put.ADDED
    assert archive.fetch(source.name, copy)
    assert copy.read_bytes() == source.read_bytes()
    assert not archive.fetch(name(6), tmp_path / "none")
    assert [(one.name, one.bytes) for one in archive.entries()] == [(source.name, SIZE)]


def test_a_name_keeps_its_content(archive: Segments, tmp_path: Path) -> None:
    source, copy = segment(tmp_path, 5), tmp_path / "copy"
    first = source.read_bytes()
    assert archive.put(source.name, source) is Put.ADDED
    assert archive.put(source.name, source) is Put.SAME
    source.write_bytes(first[:-1] + b"!")
    with pytest.raises(Different):
        archive.put(source.name, source)
    with pytest.raises(Refused, match="E638"):
        push(archive, source, SIZE)
    assert archive.fetch(source.name, copy)
    assert copy.read_bytes() == first


def test_of_many_at_once_one_adds(archive: Segments, tmp_path: Path) -> None:
    source, ends = segment(tmp_path, 7), list[str]()

    def put() -> None:
        try:
            ends.append(archive.put(source.name, source))
        except Unavailable as error:
            ends.append(str(error))

    threads = [threading.Thread(target=put) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # SeaweedFS has told two of six at once that they had added it (AWS does not): the content is the same all the same
    assert ends.count(Put.ADDED) in ((1,) if isinstance(archive, DirectorySegments) else (1, 2, 3))
    assert set(ends) <= {Put.ADDED, Put.SAME}
    assert len(list(archive.entries())) == 1


@pytest.mark.parametrize("spoil", ["short", "foreign", "missing"])
def test_what_is_no_segment_is_not_archived(archive: Segments, spoil: str, tmp_path: Path) -> None:
    source = segment(tmp_path, 3)
    if spoil == "short":
        source.write_bytes(source.read_bytes()[:-1])
    elif spoil == "foreign":
        source = source.rename(tmp_path / "archive_status")
    else:
        source.unlink()
    with pytest.raises(Refused, match="E639"):
        push(archive, source, SIZE)
    assert list(archive.entries()) == []


def test_what_was_changed_in_the_bucket_is_not_fetched(s3_server: S3Server, tmp_path: Path) -> None:
    access = Access(
        f"s3://{s3_server.bucket}/{tmp_path.name}",
        s3_server.endpoint,
        "us-east-1",
        s3_server.access_key,
        s3_server.secret_key,
    )
    source, archive = segment(tmp_path, 4), access.open()
    archive.put(source.name, source)
    flipped = bytearray(source.read_bytes())
    flipped[SIZE // 2] ^= 1
    recorded = s3_server.client().head_object(Bucket=s3_server.bucket, Key=f"{tmp_path.name}/{source.name}")["Metadata"]
    s3_server.client().put_object(
        Bucket=s3_server.bucket, Key=f"{tmp_path.name}/{source.name}", Body=bytes(flipped), Metadata=recorded
    )
    with pytest.raises(Damaged, match="SHA-256"):
        archive.fetch(source.name, tmp_path / "copy")


def test_what_is_larger_than_a_segment_is_not_fetched(archive: Segments, tmp_path: Path) -> None:
    source, copy = segment(tmp_path, 5), tmp_path / "copy"
    archive.put(source.name, source)
    assert archive.fetch(source.name, copy, most_bytes=SIZE)
    copy.unlink()
    with pytest.raises(Damaged, match=f"more than {SIZE - 1} bytes"):
        archive.fetch(source.name, copy, most_bytes=SIZE - 1)
    assert not copy.exists() or copy.stat().st_size < SIZE


def test_wrong_keys_and_a_silent_endpoint_are_unavailable(s3_server: S3Server, tmp_path: Path) -> None:
    source = segment(tmp_path, 4)
    wrong = Access(
        f"s3://{s3_server.bucket}/x", s3_server.endpoint, "us-east-1", s3_server.access_key, "another-secret"
    )
    with pytest.raises(Unavailable):
        wrong.open().put(source.name, source)
    with pytest.raises(Refused, match="E639") as caught:
        push(wrong.open(), source, SIZE)
    assert "another-secret" not in str(caught.value)


def test_the_summary_names_gaps_and_histories(archive: Segments, tmp_path: Path) -> None:
    for number in (3, 4, 6):
        source = segment(tmp_path, number)
        archive.put(source.name, source)
    (tmp_path / "junk").write_text("x")
    archive.put("junk", tmp_path / "junk")
    forked = segment(tmp_path, 7, timeline=2)
    archive.put(forked.name, forked)
    said = summary(archive, SIZE)
    assert said["gaps"] == [name(5)]
    assert said["newest"] == forked.name
    assert said["missing_histories"] == ["00000002.history"]
    assert said["foreign"] == ["junk"]
    assert (said["files"], said["timelines"], said["short"]) == (5, [1, 2], [])


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        ("{", 0o600, "not JSON"),
        ('{"url": "file:///x"}', 0o644, "others may read it"),
        ('{"url": "file:///x", "token": "t"}', 0o600, "other things"),
        ('{"url": "az://x"}', 0o600, "neither"),
        ("[]", 0o600, "other things"),
    ],
)
def test_an_access_file_that_is_unfit(text: str, mode: int, why: str, tmp_path: Path) -> None:
    path = tmp_path / "access.json"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(Refused, match="E640") as caught:
        read_access(path)
    assert why in str(caught.value)


def test_an_access_file(tmp_path: Path) -> None:
    path = tmp_path / "access.json"
    path.write_text('{"url": "s3://wal/x", "secret_key": "hush-hush"}')
    path.chmod(0o600)
    found = read_access(path)
    assert (found.url, found.secret_key) == ("s3://wal/x", "hush-hush")
    assert "hush" not in repr(found)
