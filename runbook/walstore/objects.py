"""A WAL archive in a bucket.

Promises: a name is taken by one conditional put (``If-None-Match: *``), which the service refuses where it is taken; the
SHA-256 of the file goes with the put, is compared by the service where it can, and by us with every byte that comes back; what the
service says of a fault is told without the keys, which it may hold.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runbook.secret import Redactor, Secret
from runbook.transports.objects import ABSENT, connect, place
from runbook.walstore.store import LARGEST, Damaged, Different, Entry, Put, Unavailable

HASH = "sha256"
"""The object's own metadata: the file's SHA-256 in hex. Services differ in which checksums they give back; this they all keep."""
CONNECTIONS = 16
_BLOCK = 1 << 20
_TAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")


class ObjectSegments:
    """The objects below ``prefix`` ('' or ending with a slash) of one bucket. Safe to use from several threads."""

    def __init__(self, client: Any, bucket: str, prefix: str, *, redactor: Redactor | None = None) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._redact = redactor or Redactor()

    @classmethod
    def at(cls, url: str, *, endpoint: str, region: str, access_key: str, secret_key: str) -> ObjectSegments:
        """A client for the bucket and prefix of ``url``."""
        bucket, prefix = place(url)
        client = connect(
            endpoint=endpoint, region=region, access_key=access_key, secret_key=secret_key, connections=CONNECTIONS
        )
        redactor = Redactor(tuple(Secret(key) for key in (access_key, secret_key) if key))
        return cls(client, bucket, prefix, redactor=redactor)

    def put(self, name: str, source: Path) -> Put:
        """One conditional put; a name that is taken is compared by its hash."""
        from botocore.exceptions import BotoCoreError, ClientError

        body = source.read_bytes()
        digest = hashlib.sha256(body)
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + name,
                Body=body,
                IfNoneMatch="*",
                ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
                Metadata={HASH: digest.hexdigest()},
            )
        except ClientError as error:
            if error.response["Error"].get("Code", "") not in _TAKEN:
                raise self._unavailable(error) from None
        except BotoCoreError as error:
            raise self._unavailable(error) from None
        else:
            return Put.ADDED
        there = self._hash_of(name)
        if there == digest.hexdigest():
            return Put.SAME
        if there is None:  # removed between the two requests
            raise Unavailable(f"{name} was there, and is not any more")
        raise Different(f"s3://{self._bucket}/{self._prefix}{name} holds something else than {source}")

    def fetch(self, name: str, into: Path, *, most_bytes: int = LARGEST) -> bool:
        """The object's bytes, counted and hashed on the way."""
        from botocore.exceptions import BotoCoreError, ClientError

        digest, left = hashlib.sha256(), most_bytes
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            with into.open("wb", buffering=0) as write:
                for block in answer["Body"].iter_chunks(_BLOCK):
                    left -= len(block)
                    if left < 0:
                        raise Damaged(f"s3://{self._bucket}/{self._prefix}{name}: it has more than {most_bytes} bytes")
                    digest.update(block)
                    write.write(block)
        except ClientError as error:
            if error.response["Error"].get("Code", "") in ABSENT:
                return False
            raise self._unavailable(error) from None
        except BotoCoreError as error:
            raise self._unavailable(error) from None
        expected = answer["Metadata"].get(HASH, "")
        if expected != digest.hexdigest():
            why = f"its SHA-256 is {digest.hexdigest()}, recorded was {expected or 'none'}"
            raise Damaged(f"s3://{self._bucket}/{self._prefix}{name}: {why}")
        return True

    def entries(self) -> Iterator[Entry]:
        """The objects right below the prefix, in pages of 1,000."""
        from botocore.exceptions import BotoCoreError, ClientError

        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix, Delimiter="/"
        )
        try:
            for page in pages:
                for one in page.get("Contents", ()):
                    yield Entry(one["Key"].removeprefix(self._prefix), one["Size"], one["LastModified"])
        except (ClientError, BotoCoreError) as error:
            raise self._unavailable(error) from None

    def _hash_of(self, name: str) -> str | None:
        """The recorded hash ('' if there is none); without one the object is read."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            metadata = self._client.head_object(Bucket=self._bucket, Key=self._prefix + name)["Metadata"]
            if recorded := str(metadata.get(HASH, "")):
                return recorded
            digest = hashlib.sha256()
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"]
            for block in body.iter_chunks(_BLOCK):
                digest.update(block)
            return digest.hexdigest()
        except ClientError as error:
            if error.response["Error"].get("Code", "") in ABSENT:
                return None
            raise self._unavailable(error) from None
        except BotoCoreError as error:
            raise self._unavailable(error) from None

    def _unavailable(self, error: Exception) -> Unavailable:
        return Unavailable(self._redact(str(error)))
