"""Reading from object stores: what an observer asks of a bucket.

Owns :func:`connect`, the one place where an S3 client is made, and the bounded reads. Promises: timeouts and attempts are bounded;
no message holds a key.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from runbook.action import FileFacts
from runbook.errors import Bug
from runbook.system import Store
from runbook.transports.bound import Bound
from runbook.transports.secrets import SecretStore
from runbook.transports.trouble import unreachable

ABSENT = ("NoSuchKey", "404", "NotFound")
"""Codes by which services say that there is no such object."""
LONGEST_TEXT = 64 * 1024
MOST_OBJECTS = 100_000
_ATTEMPTS = 5


def connect(
    *, endpoint: str = "", region: str = "", access_key: str = "", secret_key: str = "", connections: int = 16
) -> Any:
    """An S3 client. Empty keys: the SDK's own chain (environment, profile, instance). With an endpoint paths, not host names."""
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "max_attempts": _ATTEMPTS},
        max_pool_connections=connections,
        connect_timeout=5,
        read_timeout=30,
        s3={"addressing_style": "path"} if endpoint else {},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.client(
        "s3",
        endpoint_url=endpoint or None,
        region_name=region or None,
        aws_access_key_id=access_key or None,
        aws_secret_access_key=secret_key or None,
        config=config,
    )


def place(url: str) -> tuple[str, str]:
    """The bucket, and the prefix with its slash ('' for the whole bucket), of ``s3://BUCKET/PREFIX``."""
    parts = urlsplit(url)
    if parts.scheme != "s3":
        raise Bug(f"{url} is not a bucket")
    prefix = parts.path.strip("/")
    return parts.netloc, f"{prefix}/" if prefix else ""


def listing(secrets: SecretStore, store: Store, bound: Bound) -> tuple[FileFacts, ...]:
    """The objects right below the store's prefix, by name: at most 100,000, or :class:`~runbook.action.Unreachable`."""
    bucket, prefix = place(store.url)
    found: list[FileFacts] = []
    with _asking(store):
        pages = _client(secrets, store).get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix, Delimiter="/"):
            if bound.over:
                raise unreachable(
                    "E345",
                    "the bucket is slow",
                    f"{store.url}: its objects could not be listed in time.",
                    "try again; if it stays slow, look at the network and at the endpoint",
                )
            for one in page.get("Contents", ()):
                name = one["Key"].removeprefix(prefix)
                found.append(FileFacts(name, "file", one["Size"], one["LastModified"], 0, "", 0, 0))
            if len(found) > MOST_OBJECTS:
                raise unreachable(
                    "E345",
                    "the bucket holds too much to look at",
                    f"{store.url}: {MOST_OBJECTS}+ objects.",
                    "use a prefix of its own for the backups",
                )
    return tuple(found)


def text(secrets: SecretStore, store: Store, name: str) -> str | None:
    """A small object whole, or None where it isn't."""
    from botocore.exceptions import ClientError

    bucket, prefix = place(store.url)
    with _asking(store):
        try:
            answer = _client(secrets, store).get_object(Bucket=bucket, Key=prefix + name)
        except ClientError as error:
            if error.response["Error"].get("Code", "") in ABSENT:
                return None
            raise
        data: bytes = answer["Body"].read(LONGEST_TEXT + 1)
    if len(data) > LONGEST_TEXT:
        raise unreachable(
            "E345",
            "the object is too long to look at",
            f"{store.url}: {name} has more than {LONGEST_TEXT} bytes.",
            "it is no manifest: take the object away, or use another prefix",
        )
    return data.decode("utf-8", "replace")


def _client(secrets: SecretStore, store: Store) -> Any:
    access_key, secret_key = (
        "" if ref is None else secrets.reveal(ref).reveal() for ref in (store.access_key, store.secret_key)
    )
    return connect(endpoint=store.endpoint, region=store.region, access_key=access_key, secret_key=secret_key)


@contextmanager
def _asking(store: Store) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError, ValueError) as error:  # that one: an endpoint without http:// before it
        fix = "Check the store's url, endpoint, region and keys."
        raise unreachable("E345", "the bucket could not be asked", f"{store.url}: {error}", fix) from None
