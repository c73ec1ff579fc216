"""The list of programs that only read."""

from __future__ import annotations

import shlex

import pytest

from runbook.transports.readonly import only_reads


@pytest.mark.parametrize(
    "line",
    [
        "pg_dump --version",
        "/usr/lib/postgresql/15/bin/pg_restore -V",
        "pg_restore --list /b/x.dump",
        "pg_restore -l /b/x.dump",
        "pg_controldata -D /data",
        "pg_ctl status -D /data",
        "pg_verifybackup /b",
        "stat -c %s -- /x",
        "df -Pk /",
        "redis-cli -h h -p 1 LASTSAVE",
        "valkey-cli --no-auth-warning CONFIG GET dir",
        "redis-check-rdb /x.rdb",
        "tar -tf x.tar",
        "test -e /x",
        "pgbackrest info --output=json",
        "runbook wal program",
        "/usr/lib/postgresql/15/bin/pg_basebackup --pgdata=/dev/null/none --format=plain --compress=client-zstd",
    ],
)
def test_reads_are_allowed(line: str) -> None:
    assert only_reads(shlex.split(line))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "psql -c 'SELECT 1'",
        "pg_basebackup --pgdata=/data --format=plain --compress=client-zstd",
        "pg_basebackup --pgdata=/dev/null/none --format=plain --compress=client-zstd --host=h",
        "psql --version -c 'DROP TABLE t'",
        "pg_dump db",
        "runbook wal end /spool",
        "pg_restore -d db x.dump",
        "pg_restore --list x.dump -f /etc/passwd",
        "pg_restore --list x.dump --file=/etc/passwd",
        "pg_restore --list -f/etc/passwd x.dump",
        "pg_ctl stop -D /data",
        "redis-cli FLUSHALL",
        "redis-cli -h h CONFIG SET dir /",
        "redis-cli EVAL x 0",
        "redis-cli",
        "redis-cli -x SET a",
        "tar -tf x.tar --to-command=sh",
        "tar -xf x.tar",
        "sh -c id",
        "cat /etc/shadow",
        "rm -rf /",
        "docker run x",
        "hostname other",
    ],
)
def test_everything_else_is_refused(line: str) -> None:
    assert not only_reads(shlex.split(line))
