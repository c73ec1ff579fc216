"""The sandbox as an environment for plans: ``environment.yaml``.

Owns that file's text. Promises: it names secrets by their files and holds none; it is never live; it is written anew by
every ``up``, with the ports that hold now.
"""

from __future__ import annotations

import json
from pathlib import Path

from runbook.sandbox.postgres import APPLICATION, SUPERUSER, Postgres
from runbook.sandbox.s3 import BUCKET, REGION, S3
from runbook.sandbox.site import Site
from runbook.sandbox.state import write_private
from runbook.sandbox.valkey import Valkey

_TEXT = """\
# Written by `runbook sandbox up`; changes are lost.
environment: sandbox
live: false
inputs:
  writers: []
  probe: "SELECT count(*) FROM documents"
systems:
  db:
    type: postgres
    host: local
    address: {pg_address}
    port: {pg_port}
    user: {pg_user}
    database: {pg_database}
    password: {{file: {pg_password}}}
    binaries: {pg_binaries}
    data_directory: {pg_data}
    archive: {archive}
  cache:
    type: redis
    host: local
    address: {redis_address}
    port: {redis_port}
    password: {{file: {redis_password}}}
    data_directory: {redis_data}
  app:
    type: compose
    project: sandbox
  site:
    type: web
    url: {web}
  backups:
    type: store
    url: {backups}
  bases:
    type: store
    url: {bases}
  evidence:
    type: store
    url: {evidence}
  objects:
    type: store
    url: {bucket}
    endpoint: {endpoint}
    region: {region}
    access_key: {{file: {access_key}}}
    secret_key: {{file: {secret_key}}}
"""


def write_environment(path: Path, postgres: Postgres, *, valkey: Valkey, s3: S3, site: Site) -> None:
    """Write the environment file (0600) for these servers."""
    login = postgres.login(SUPERUSER)
    values: dict[str, str | int | Path] = {
        "pg_address": login.address,
        "pg_port": login.port,
        "pg_user": login.user,
        "pg_database": APPLICATION,
        "pg_password": login.password_file,
        "pg_binaries": postgres.binaries,
        "pg_data": postgres.data,
        "archive": f"file://{postgres.layout.archive}",
        "redis_address": valkey.address.partition(":")[0],
        "redis_port": valkey.port,
        "redis_password": valkey.password_file,
        "redis_data": valkey.home,
        "web": site.address,
        "backups": f"file://{postgres.layout.backups}",
        "bases": f"file://{postgres.layout.bases}",
        "evidence": f"file://{postgres.layout.evidence}",
        "bucket": f"s3://{BUCKET}/",
        "endpoint": s3.address,
        "region": REGION,
        "access_key": s3.access_key_file,
        "secret_key": s3.secret_key_file,
    }
    # A JSON scalar is a YAML scalar, whatever a path has in it.
    write_private(path, _TEXT.format(**{name: _scalar(value) for name, value in values.items()}))


def _scalar(value: str | int | Path) -> str:
    return json.dumps(value if isinstance(value, int) else str(value), ensure_ascii=False)
