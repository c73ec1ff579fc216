"""Real servers as the systems of an environment, their passwords and keys in files, as an operator keeps them."""

from __future__ import annotations

from pathlib import Path

from runbook.host import Compose
from runbook.secret import FromFile
from runbook.system import Postgres, Store
from tests.fixtures.containers import PostgresContainer
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.s3 import S3Server


def in_file(path: Path, secret: str) -> FromFile:
    """The secret, in a file that nobody else may read."""
    path.touch(mode=0o600)
    path.write_text(secret)
    return FromFile(str(path))


def on_this_machine(server: PostgresServer, folder: Path, **more: object) -> Postgres:
    """The server as the system ``db``: its database ``postgres``, unless ``more`` names another; its password in ``folder``."""
    body: dict[str, object] = {
        "type": "postgres",
        "key": "db",
        "address": server.host,
        "port": server.port,
        "user": server.user,
        "database": "postgres",
        "password": in_file(folder / f"{server.port}.password", server.password),
    }
    return Postgres.model_validate(body | more)


def in_container(pg: PostgresContainer, folder: Path, **more: object) -> Postgres:
    """The server as the system ``db``, found by its Compose labels."""
    body: dict[str, object] = {
        "type": "postgres",
        "key": "db",
        "host": Compose(pg.project.name, pg.service),
        "user": pg.user,
        "database": pg.database,
        "password": in_file(folder / f"{pg.project.name}.password", pg.password),
    }
    return Postgres.model_validate(body | more)


def bucket(s3: S3Server, folder: Path) -> Store:
    """The bucket as the store ``wal``."""
    return Store(
        type="store",
        key="wal",
        url=f"s3://{s3.bucket}",
        endpoint=s3.endpoint,
        region="us-east-1",
        access_key=in_file(folder / "access", s3.access_key),
        secret_key=in_file(folder / "secret", s3.secret_key),
    )
