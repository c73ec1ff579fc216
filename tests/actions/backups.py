"""Backups for the tests of actions, as data: a manifest with its artifact, and files that lie as one."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runbook.action import Scope
from runbook.artifact import Artifact, Format, Manifest, Piece
from runbook.system import Postgres, Store, System

NOON = datetime(2026, 2, 14, 12, 0, tzinfo=UTC)
HASH = "ab" * 32


def store(directory: Path | str = "/backups") -> Store:
    """A store in a directory, called ``backups``."""
    return Store(type="store", url=f"file://{directory}", key="backups")


def database(**more: object) -> Postgres:
    """A database system called ``db``, of civicq."""
    written = {"type": "postgres", "user": "civicq", "database": "civicq", "key": "db", **more}
    return Postgres.model_validate(written)


def scope(*systems: System, step: str = "step", run: str = "20260214-120000-test-4f3a") -> Scope:
    """The scope of a step at noon."""
    return Scope(run, step, NOON, "/run", "test", live=False, systems={system.key: system for system in systems})


def manifest(name: str = "a.dump", *, age: timedelta = timedelta(hours=1), **more: object) -> Manifest:
    """A custom dump of civicq, of version 15, finished that long before noon."""
    body: dict[str, object] = {
        "name": name,
        "format": Format.CUSTOM,
        "database": "civicq",
        "server_version": 150018,
        "started_at": NOON - age - timedelta(minutes=1),
        "finished_at": NOON - age,
        "pieces": (Piece(path=name, bytes=5, sha256=HASH),),
    }
    return Manifest.model_validate(body | more)


def artifact(of: Manifest | None = None, **more: object) -> Artifact:
    """The artifact of a manifest, in the store ``backups``."""
    of = of or manifest()
    body: dict[str, object] = {
        "store": "backups",
        "url": f"file:///backups/{of.name}",
        "name": of.name,
        "format": of.format,
        "database": of.database,
        "bytes": 5,
        "sha256": HASH,
        "finished_at": of.finished_at,
        "manifest": of,
    }
    return Artifact.model_validate(body | more)


def lay(
    directory: Path, name: str, *, age: timedelta = timedelta(hours=1), data: bytes = b"bytes", **more: object
) -> Manifest:
    """Write a backup of one file and its manifest."""
    piece = Piece(path=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    of = manifest(name, age=age, **{"pieces": (piece,), **more})
    (directory / name).write_bytes(data)
    (directory / f"{name}.manifest.json").write_text(of.model_dump_json())
    return of
