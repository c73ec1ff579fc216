"""A shop after an accident: a live database that lost rows and went on, and a copy of it from before."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from runbook.system import Postgres
from tests.fixtures.postgres import FreshDatabases, PostgresServer

SHOP = (
    "CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text UNIQUE NOT NULL, note text, "
    "shout text GENERATED ALWAYS AS (upper(email)) STORED)",
    "INSERT INTO users (email, note) SELECT 'u' || i || '@x', CASE WHEN i % 7 = 0 THEN E'a\\tb\\\\n' END "
    "FROM generate_series(1, 1000) AS i",
    "CREATE TABLE orders (id bigserial PRIMARY KEY, who int NOT NULL REFERENCES users ON DELETE CASCADE, at timestamptz)",
    "INSERT INTO orders (who, at) SELECT 1 + i % 1000, '2026-02-14 10:00+01' FROM generate_series(1, 3000) AS i",
    "CREATE TABLE items (orders_id bigint REFERENCES orders ON DELETE CASCADE, n int, what jsonb, PRIMARY KEY (orders_id, n))",
    "INSERT INTO items SELECT i, 1, jsonb_build_object('i', i) FROM generate_series(1, 3000) AS i",
)
ACCIDENT = (
    "DELETE FROM users WHERE id BETWEEN 101 AND 200",
    "UPDATE users SET note = 'changed since' WHERE id = 5",
    "INSERT INTO users (email, note) VALUES ('new@x', 'good'), ('new2@x', 'good')",
    "INSERT INTO orders (who, at) SELECT id, now() FROM users WHERE note = 'good'",
)
"""100 users with their 300 orders and 300 items are deleted; one user is changed; two users with an order each are new."""
TABLES = ("public.items", "public.orders", "users")


@dataclass
class Accident:
    """Both databases."""

    server: PostgresServer
    live: str
    copy: str

    def sql(self, statement: str, *, copy: bool = False) -> list[tuple[object, ...]]:
        """In the live database, or the copy."""
        return self.server.sql(statement, self.copy if copy else self.live)

    def one(self, statement: str, *, copy: bool = False) -> object:
        """The one value."""
        return self.sql(statement, copy=copy)[0][0]

    def rows(self) -> tuple[object, ...]:
        """Hashes of the live tables, whole."""
        tables = ("users", "orders", "items")
        return tuple(self.one(f"SELECT md5(string_agg(t::text, ';' ORDER BY t::text)) FROM {t} t") for t in tables)

    def system(self, db: Postgres, *, port: int = 0) -> Postgres:
        """The live database as a system."""
        return db.model_copy(update={"database": self.live, **({"port": port} if port else {})})


def happened(server: PostgresServer, fresh_database: FreshDatabases, *accident: str) -> Accident:
    """Make the shop, keep a copy of it as a dump restores it, and let the accident happen."""
    live, copy = fresh_database(*SHOP), fresh_database()
    environment = {**os.environ, **server.environment(live)}
    dumped = subprocess.run([server.tool("pg_dump"), "-Fc"], env=environment, check=True, capture_output=True).stdout
    subprocess.run([server.tool("pg_restore"), "-d", copy], input=dumped, env=environment, check=True)
    found = Accident(server, live, copy)
    for statement in accident or ACCIDENT:
        found.sql(statement)
    return found
