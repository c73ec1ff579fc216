"""A real cluster with two tablespaces of its own, and witnesses of what lies in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runbook.actions.postgres.basebackup import Basebackup
from runbook.artifact import Artifact
from runbook.system import Store
from tests.actions.harness import Stage
from tests.actions.postgres.archived import Cluster, with_tools
from tests.fixtures.account import server_folder

NAMES = ("fast", "slow")
SPACED = (
    "CREATE TABLE parted (id int, word text) PARTITION BY RANGE (id)",
    "CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (1000) TABLESPACE slow",
    "CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (1000) TO (9000)",
    "INSERT INTO parted SELECT i, 'row ' || i FROM generate_series(1, 3000) AS i",
    "CREATE INDEX parted_word ON parted_low (word) TABLESPACE fast",
    "CREATE TABLE quick (id int PRIMARY KEY USING INDEX TABLESPACE fast, word text) TABLESPACE fast",
    "INSERT INTO quick SELECT i, md5(i::text) FROM generate_series(1, 2000) AS i",
)
ROWS = "SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM (SELECT * FROM {table}) AS t"


@contextmanager
def spaced(cluster: Cluster) -> Iterator[dict[str, Path]]:
    """Two tablespaces in a folder of their own: an index in one, a partition in the other. Gives their places."""
    with server_folder(cluster.server.account, "spaces") as folder:
        places = {name: folder / name for name in NAMES}
        for name, place in places.items():
            place.mkdir(mode=0o700)
            cluster.server.account.give(place)
            cluster.server.sql(f"CREATE TABLESPACE {name} LOCATION '{place}'")
        for statement in ("ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()", *SPACED):
            cluster.server.sql(statement)
        yield places
        cluster.stop_all()


def rows(cluster: Cluster) -> list[str]:
    """A digest of the rows of each table, by the tablespaces' indexes where they can help."""
    found = [str(cluster.server.sql(ROWS.format(table=table))[0][0]) for table in ("parted", "quick")]
    assert cluster.server.sql("SELECT count(*) FROM parted WHERE word = 'row 7'") == [(1,)]
    return found


def quiet(cluster: Cluster) -> None:
    """Nothing is left to be written: hint bits are set, and all pages are on the disk."""
    cluster.server.sql("VACUUM FREEZE parted, quick")
    cluster.server.sql("CHECKPOINT")


def witness(places: dict[str, Path]) -> dict[str, tuple[int, int, str]]:
    """Of every file below: its inode, when it was changed last, and the hash of its bytes."""
    found = {}
    for place in places.values():
        for path in sorted(place.rglob("*")):
            info = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[str(path)] = (info.st_ino, info.st_mtime_ns if path.is_file() else 0, content)
    assert len(found) > 10
    return found


def links(data: Path) -> dict[str, Path]:
    """Where the tablespaces of a data directory are."""
    return {path.name: path.readlink() for path in sorted((data / "pg_tblspc").iterdir())}


def beside(places: dict[str, Path]) -> set[str]:
    """What lies beside the live tablespaces."""
    return {path.name for path in next(iter(places.values())).parent.iterdir()} - set(places)


def backed_up(stage: Stage, cluster: Cluster, backups: Store, *, compress: str = "auto") -> Artifact:
    """A base backup of it."""
    made = stage.live(Basebackup(), with_tools(cluster), stage.scope("base"), to=backups, compress=compress).artifact
    assert isinstance(made, Artifact)
    return made
