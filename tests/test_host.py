"""Hosts: their written form, there and back."""

from __future__ import annotations

import pytest

from runbook.host import LOCAL, Compose, Docker, Ssh, host_json, parse_host


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("local", LOCAL),
        ({"docker": "pg"}, Docker("pg")),
        ({"compose": {"project": "p", "service": "s"}}, Compose("p", "s")),
        ({"ssh": "ops@db1"}, Ssh("ops@db1")),
        ({"docker": "pg", "via": {"ssh": "ops@db1"}}, Docker("pg", Ssh("ops@db1"))),
    ],
)
def test_written_forms(written: object, host: object) -> None:
    assert parse_host(written) == host
    assert host_json(parse_host(written)) == written


@pytest.mark.parametrize(
    "written",
    [
        "pg",
        "",
        None,
        7,
        {},
        {"docker": ""},
        {"docker": "a", "ssh": "b"},
        {"compose": {"project": "p"}},
        {"docker": "-v"},
    ],
)
def test_what_is_no_host(written: object) -> None:
    with pytest.raises(ValueError, match=r"expected local|may not begin"):
        parse_host(written)
