"""The database that is dumped and restored: pgbench's tables, and wide ones."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

from benchmarks.server import Server

DATABASE = "shop"
WIDE_TABLES = 4
ROWS_PER_SCALE = 3_000
"""Rows of each wide table for each unit of pgbench's scale (which is 15 MB)."""

_WIDE = """
CREATE TABLE {table} AS
  SELECT i AS id, now() - i * interval '1 second' AS made_at, md5(i::text) AS reference,
         repeat(md5((i % 5000)::text), 34) AS body
  FROM generate_series(1, {rows}) AS i;
ALTER TABLE {table} ADD PRIMARY KEY (id);
CREATE INDEX ON {table} (reference);
"""


def fill(server: Server, scale: int) -> int:
    """Make and fill the database; its size in bytes. ``scale`` 50 gives about 1.5 GB."""
    server.run(f"CREATE DATABASE {DATABASE}")
    argv = [str(server.binaries / "pgbench"), "--initialize", "--quiet", f"--scale={scale}", DATABASE]
    with ThreadPoolExecutor(1) as pool:
        bench = pool.submit(
            subprocess.run, argv, env={**os.environ, **server.env}, check=True, stderr=subprocess.DEVNULL
        )
        for number in range(WIDE_TABLES):
            _make(server, f"documents_{number}", rows=ROWS_PER_SCALE * scale)
        bench.result()
    server.run("CREATE TABLE heartbeat (at timestamptz PRIMARY KEY)", DATABASE)
    server.run("VACUUM (ANALYZE)", DATABASE)
    server.run("CHECKPOINT")
    return int(str(server.run(f"SELECT pg_database_size('{DATABASE}')")[0][0]))


def _make(server: Server, table: str, *, rows: int) -> None:
    with server.connect(DATABASE) as connection:
        for statement in _WIDE.format(table=table, rows=rows).split(";"):
            if statement.strip():
                connection.execute(statement)
