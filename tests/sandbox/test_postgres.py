"""The cluster: its settings, its roles, its archive."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from runbook.sandbox.process import wait_until
from runbook.sandbox.stack import Stack
from runbook.sandbox.state import write_private


def setting(stack: Stack, name: str) -> str:
    with stack.login("postgres").connect() as connection:
        row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("server_encoding", "UTF8"),
        ("data_checksums", "on"),
        ("wal_level", "replica"),
        ("archive_mode", "on"),
        ("archive_timeout", "1min"),
        ("listen_addresses", "127.0.0.1"),
        ("password_encryption", "scram-sha-256"),
    ],
)
def test_settings(shared: Stack, name: str, value: str) -> None:
    assert setting(shared, name) == value


def test_the_application_role_owns_its_database_and_nothing_more(shared: Stack) -> None:
    with shared.login().connect() as connection:
        row = connection.execute(
            "SELECT current_user, rolsuper, pg_get_userbyid(datdba) FROM pg_roles, pg_database "
            "WHERE rolname = current_user AND datname = current_database()"
        ).fetchone()
    assert row == ("docs", False, "docs")


def test_vectors_work(shared: Stack) -> None:
    with shared.login().connect() as connection:
        row = connection.execute("SELECT ('[3,4]'::vector <-> '[0,0]'::vector)::text").fetchone()
    assert row == ("5",)


def test_a_dump_carries_the_extension(shared: Stack) -> None:
    """pg_dump leaves out what has an id below 16384, as the things that initdb makes have."""
    with shared.login().connect() as connection:
        row = connection.execute("SELECT oid >= 16384 FROM pg_extension WHERE extname = 'vector'").fetchone()
    assert row == (True,)


def test_a_wrong_password_is_refused(shared: Stack, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    write_private(wrong, "guessed\n")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        replace(shared.login(), password_file=wrong).connect()


def test_the_unix_socket_answers(shared: Stack) -> None:
    with replace(shared.login(), address=str(shared.layout.sockets)).connect() as connection:
        assert connection.info.host == str(shared.layout.sockets)


def test_wal_is_archived_whole(shared: Stack) -> None:
    with shared.login("postgres").connect() as connection:
        connection.autocommit = True
        row = connection.execute("SELECT pg_walfile_name(pg_current_wal_insert_lsn())").fetchone()
        connection.execute("SELECT pg_logical_emit_message(true, 'test', 'a record')")
        connection.execute("SELECT pg_switch_wal()")
    assert row is not None
    segment = shared.layout.archive / row[0]
    assert wait_until(segment.exists, within_s=60)
    assert segment.stat().st_size == 16 * 1024 * 1024
    with shared.login("postgres").connect() as connection:
        assert connection.execute("SELECT failed_count FROM pg_stat_archiver").fetchone() == (0,)


def test_the_archiver_accepts_the_same_segment_and_refuses_another(shared: Stack, tmp_path: Path) -> None:
    name = "00000001000000FF00000001"
    script, archived = shared.layout.binaries / "archive-wal", shared.layout.archive / name
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"one")
    second.write_bytes(b"two")

    def archive(path: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([script, path, name], capture_output=True, text=True, check=False)

    try:
        assert archive(first).returncode == 0
        assert archive(first).returncode == 0
        refused = archive(second)
        assert refused.returncode == 1
        assert "refused" in refused.stderr
        assert archived.read_bytes() == b"one"
        assert not list(shared.layout.archive.glob(f".*{name}*"))  # the server may archive another one now
    finally:
        archived.unlink(missing_ok=True)
