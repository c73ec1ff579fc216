"""Looking into a bucket of a real S3 server."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook.action import Unreachable
from runbook.secret import FromFile
from runbook.system import Store
from runbook.transports.world import World
from tests.fixtures.s3 import S3Server


@pytest.fixture
def store(s3_server: S3Server, tmp_path: Path) -> Store:
    """A prefix that nobody else uses."""
    return bucket(s3_server, tmp_path, s3_server.secret_key)


def bucket(server: S3Server, tmp_path: Path, secret: str) -> Store:
    for name, value in (("access", server.access_key), ("secret", secret)):
        (tmp_path / name).write_text(value)
        (tmp_path / name).chmod(0o600)
    return Store(
        type="store",
        url=f"s3://{server.bucket}/{tmp_path.name}",
        endpoint=server.endpoint,
        region="us-east-1",
        access_key=FromFile(str(tmp_path / "access")),
        secret_key=FromFile(str(tmp_path / "secret")),
    )


def test_objects_are_listed_and_read(world: World, store: Store, s3_server: S3Server, tmp_path: Path) -> None:
    client = s3_server.client()
    for name, body in (("b", b"two"), ("a", b"one"), ("below/c", b"three")):
        client.put_object(Bucket=s3_server.bucket, Key=f"{tmp_path.name}/{name}", Body=body)
    found = world.look.objects(store)
    assert [(one.path, one.bytes, one.kind) for one in found] == [("a", 3, "file"), ("b", 3, "file")]
    assert all(one.modified.tzinfo is not None for one in found)
    assert world.look.object_text(store, "b") == "two"
    assert world.look.object_text(store, "none") is None


def test_more_than_a_page(world: World, store: Store, s3_server: S3Server, tmp_path: Path) -> None:
    client = s3_server.client()
    for number in range(1005):
        client.put_object(Bucket=s3_server.bucket, Key=f"{tmp_path.name}/{number:04}", Body=b"")
    assert [one.path for one in world.look.objects(store)] == [f"{number:04}" for number in range(1005)]


def test_what_is_too_long_is_not_read(world: World, store: Store, s3_server: S3Server, tmp_path: Path) -> None:
    s3_server.client().put_object(Bucket=s3_server.bucket, Key=f"{tmp_path.name}/long", Body=b"x" * 70_000)
    with pytest.raises(Unreachable) as caught:
        world.look.object_text(store, "long")
    assert caught.value.problem.code == "E345"


def test_a_wrong_key_is_not_an_empty_bucket(world: World, s3_server: S3Server, tmp_path: Path) -> None:
    with pytest.raises(Unreachable) as caught:
        world.look.objects(bucket(s3_server, tmp_path, "another-secret-key"))
    assert caught.value.problem.code == "E345"
    assert "another-secret-key" not in caught.value.problem.render()


def test_an_endpoint_that_is_none_is_a_bucket_that_can_not_be_asked(world: World) -> None:
    for ask in (world.look.objects, lambda store: world.look.object_text(store, "x")):
        with pytest.raises(Unreachable) as caught:
            ask(Store(type="store", url="s3://b/p", endpoint="minio:9000", region="x"))
        assert "Invalid endpoint: minio:9000" in caught.value.problem.detail
