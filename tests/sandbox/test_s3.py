"""The S3 endpoint, asked with the SDK that users have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from runbook.sandbox import state
from runbook.sandbox.credentials import read
from runbook.sandbox.s3 import BUCKET, REGION
from runbook.sandbox.stack import Stack


@contextmanager
def client(stack: Stack, *, anonymous: bool = False) -> Iterator[Any]:
    """A client, closed afterwards: a server that ends waits some seconds for open connections."""
    s3: Any = boto3.client(
        "s3",
        endpoint_url=stack.status().part("s3").address,
        region_name=REGION,
        aws_access_key_id=read(stack.layout.secret("s3-access-key")).reveal(),
        aws_secret_access_key=read(stack.layout.secret("s3-secret-key")).reveal(),
        config=Config(signature_version=UNSIGNED) if anonymous else Config(retries={"max_attempts": 1}),
    )
    with closing(s3):
        yield s3


def test_the_bucket_is_there_at_once_and_objects_and_versions_are_kept(stack: Stack) -> None:
    others = set(Path("/tmp").glob("seaweedfs-*.sock"))  # of servers that were killed, or run beside us
    stack.up(lambda line: None)
    with client(stack) as s3:
        assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [BUCKET]
        s3.put_object(Bucket=BUCKET, Key="kept", Body=b"here")
    stack.down(lambda line: None)
    ports = state.load(stack.layout.state).ports.values()
    left = {path for port in ports for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")}
    assert left - others == set()
    stack.up(lambda line: None)
    with client(stack) as s3:
        assert s3.get_object(Bucket=BUCKET, Key="kept")["Body"].read() == b"here"
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        first = s3.put_object(Bucket=BUCKET, Key="kept", Body=b"one")["VersionId"]
        s3.put_object(Bucket=BUCKET, Key="kept", Body=b"two")
        s3.delete_object(Bucket=BUCKET, Key="kept")
        assert s3.get_object(Bucket=BUCKET, Key="kept", VersionId=first)["Body"].read() == b"one"


def test_it_refuses_what_s3_refuses(shared: Stack) -> None:
    with client(shared) as s3:
        s3.put_object(Bucket=BUCKET, Key="there", Body=b"x")
        with pytest.raises(ClientError, match="BucketNotEmpty"):
            s3.delete_bucket(Bucket=BUCKET)
        with pytest.raises(ClientError, match="NoSuchBucket"):
            s3.put_object(Bucket="nowhere", Key="a", Body=b"x")
    with client(shared, anonymous=True) as s3, pytest.raises(ClientError, match="AccessDenied"):
        s3.get_object(Bucket=BUCKET, Key="there")
