"""What a bucket says of a fault is told without the keys, which it may hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runbook.walstore.objects import ObjectSegments
from runbook.walstore.store import Unavailable
from tests.canary.canaries import found, made
from tests.canary.servers import Servers


@pytest.fixture
def refusing() -> Iterator[Servers]:
    """Both servers, which refuse everything and say back what they were told."""
    servers = Servers()
    servers.memory.agreeable = False
    yield servers
    servers.close()


@pytest.mark.parametrize(
    "ask",
    [
        lambda segments, folder: list(segments.entries()),
        lambda segments, folder: segments.fetch("000000010000000000000001", folder / "into"),
    ],
    ids=["list", "fetch"],
)
def test_a_refusal_that_holds_the_keys_is_told_without_them(
    ask: Callable[[ObjectSegments, Path], object], refusing: Servers, tmp_path: Path
) -> None:
    access, secret = made("access", "+=%'\"_"), made("secret", "/+\u00fc'%")
    segments = ObjectSegments.at(
        "s3://canaries/wal/",
        endpoint=f"http://127.0.0.1:{refusing.web}",
        region="us-east-1",
        access_key=access.value,
        secret_key=secret.value,
    )
    with pytest.raises(Unavailable) as caught:
        ask(segments, tmp_path)
    assert all(map(refusing.memory.heard, access.words))
    assert "\N{BULLET}\N{BULLET}\N{BULLET}" in str(caught.value)
    assert found(str(caught.value).encode(), [access, secret]) == []
