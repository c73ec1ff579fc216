"""Secrets that are written out are found; references to secrets and ordinary words aren't taken for some."""

from __future__ import annotations

import pytest

from runbook.plan.leak import is_shy, leaks, mask

PLAIN = [
    "password: {env: DB_PASSWORD}",
    "password: {command: [pass, show, db]}",
    "secret_key: {aws_secret: civicq/s3}",
    'password: "{{ inputs.x }}"',
    "password:",
    "url: https://civicq.org/path?x=1",
    'url: "https://{{ inputs.host }}:8080/"',
    "help: The password is asked for by the provider",
    "argv: [psql, --no-password]",
    "title: Rotate the token",
    "# password lives in the vault",
]


@pytest.mark.parametrize("line", PLAIN)
def test_ordinary_lines_hold_no_secret(line: str) -> None:
    assert list(leaks(line, keys=True)) == []


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("a: AKIAABCDEFGHIJKLMNOP", "AKIAABCDEFGHIJKLMNOP"),
        ("url: postgres://u:opensesame@db/x", "opensesame"),
        ("argv: [tool, --password=opensesame]", "opensesame"),
        ("script: PGPASSWORD=opensesame psql", "opensesame"),
        ("script: redis-cli -h x -a opensesame ping", "opensesame"),
        ("Authorization: Bearer opensesame", "opensesame"),
        ("  api_key: opensesame", "opensesame"),
        ("x: {password: opensesame, y: 1}", "opensesame"),
        ("t: ghp_" + "a" * 36, "ghp_" + "a" * 36),
        ("-----BEGIN RSA PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY"),
    ],
)
def test_secrets_are_found_and_masked(line: str, secret: str) -> None:
    (leak,) = leaks(line, keys=True)
    assert line[leak.offset :][: leak.length] == secret
    assert secret not in mask(line)


@pytest.mark.parametrize("line", PLAIN)
def test_ordinary_lines_are_shown_whole(line: str) -> None:
    assert mask(line) == line or "help" in line or "title" in line


def test_shy_keys() -> None:
    assert is_shy("db_password")
    assert is_shy("secret_key")
    assert not is_shy("database")


def test_a_long_line_costs_its_length_and_no_more() -> None:
    assert list(leaks("# password:" + " " * 1_000_000 + "\nname: x", keys=True)) == []
