"""The head of an archive, as real pg_dumps write it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runbook.actions.backup.archive import Head, read_head
from tests.fixtures.postgres import FreshDatabases, PostgresServer


def head(number_bytes: int = 4, *, minor: int = 16) -> bytes:
    """A head as version 1.16 writes it, by hand."""

    def number(value: int) -> bytes:
        return b"\0" + value.to_bytes(number_bytes, "little")

    def text(value: str) -> bytes:
        return number(len(value.encode())) + value.encode()

    compression = b"\x01" if minor >= 15 else number(6)
    body = b"PGDMP\x01" + bytes((minor, 0, number_bytes, 8, 1)) + compression
    return body + b"".join(number(part) for part in (1, 2, 3, 4, 5, 126, 0)) + text("Zürich") + text("18.6")


@pytest.mark.parametrize("minor", [14, 15, 16])
def test_the_versions_of_the_format(minor: int) -> None:
    assert read_head(head(minor=minor)) == Head("Zürich", "18.6")


def test_too_few_bytes_are_no_head() -> None:
    whole = head()
    assert [read_head(whole[:length]) for length in range(len(whole))] == [None] * len(whole)
    assert read_head(b"SELECT 1") is None


@pytest.mark.parametrize("form", ["custom", "directory"])
def test_a_real_archive(
    form: str, tmp_path: Path, postgres_server: PostgresServer, fresh_database: FreshDatabases
) -> None:
    name = fresh_database("CREATE TABLE t AS SELECT 1 AS n")
    argv = [
        str(postgres_server.tool("pg_dump")),
        f"--format={form}",
        f"--file={tmp_path / 'd'}",
        f"--dbname={postgres_server.dsn(name)}",
    ]
    subprocess.run(argv, check=True)
    path = tmp_path / "d" / "toc.dat" if form == "directory" else tmp_path / "d"
    found = read_head(path.read_bytes()[:1024])
    assert found is not None
    assert found.database == name
    version = subprocess.run([postgres_server.tool("pg_dump"), "--version"], check=True, capture_output=True, text=True)
    assert found.server.split()[0] in version.stdout
