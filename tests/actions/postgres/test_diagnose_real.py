"""Diagnosis on real clusters: a healthy one, broken indexes, tables, catalogs; nothing hides anything, and nothing is written."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runbook.action import CheckFailed, Unreachable
from runbook.actions.backup.verify import Verify
from runbook.actions.postgres.cold_copy import ColdCopy
from runbook.actions.postgres.diagnose import Diagnose, Diagnosed
from runbook.artifact import Artifact
from runbook.errors import Refused
from runbook.system import Postgres, Store
from tests.actions.harness import Stage
from tests.actions.postgres.broken import PAGE, Cluster, shop, spoil
from tests.fixtures.account import Account, server_folder
from tests.fixtures.postgres import PostgresServer, make_cluster


@pytest.fixture
def cluster(postgres_cluster: Callable[..., PostgresServer], tmp_path: Path) -> Iterator[Cluster]:
    with shop(postgres_cluster(), tmp_path) as found:
        found.server.sql("CREATE EXTENSION amcheck")
        yield found


def diagnosed(stage: Stage, db: Postgres, **written: Any) -> Diagnosed:
    out = stage.live(Diagnose(), db, stage.scope("diagnose"), **written)
    assert isinstance(out, Diagnosed)
    return out


def test_a_healthy_database(stage: Stage, cluster: Cluster) -> None:
    cluster.server.sql("CREATE INDEX ON users USING gin (to_tsvector('simple', note))")
    cluster.server.sql('CREATE TABLE "odd name\'s" (t text, "|" int)')
    cluster.server.sql("CREATE TABLE parts (n int) PARTITION BY RANGE (n)")
    cluster.server.sql("CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (9)")
    cluster.server.sql("CREATE MATERIALIZED VIEW empty AS SELECT 1 AS n WITH NO DATA")
    cluster.server.sql(
        "CREATE TABLE long AS SELECT n, repeat(md5(n::text), 9000) AS body FROM generate_series(1, 20) n"
    )
    out = diagnosed(stage, cluster.db, expect="healthy")
    assert (out.healthy, out.findings, out.recommend) == (True, (), "none")
    assert len(out.unchecked) == 1
    assert "users_to_tsvector_idx" in out.unchecked[0]
    assert out.report.startswith("No damage was found.")


def test_a_broken_index(stage: Stage, cluster: Cluster) -> None:
    cluster.spoil("orders_who", "users_email", block=2)
    out = diagnosed(stage, cluster.db)
    assert set(out.broken_indexes) == {"public.orders_who", "public.users_email"}
    assert (out.healthy, out.recommend, out.broken_tables) == (False, "reindex", ())
    assert all("invalid page in block 2" in one.detail for one in out.findings)
    with pytest.raises(CheckFailed) as failed:
        diagnosed(stage, cluster.db, expect="healthy")
    assert failed.value.problems[0].code == "E693"
    assert "index public.users_email" in failed.value.problems[0].detail


def test_an_index_that_looks_whole_and_lies(stage: Stage, cluster: Cluster) -> None:
    """The page is a page, but a row's entry points elsewhere: queries by the index give wrong answers, and nothing else does."""
    file = cluster.file("orders_who")
    cluster.server.sql("CHECKPOINT")
    cluster.stop()
    content = bytearray(file.read_bytes())
    special = 2 * PAGE - 16
    first = int.from_bytes(content[PAGE + 24 : PAGE + 28], "little") & 0x7FFF
    second = int.from_bytes(content[PAGE + 28 : PAGE + 32], "little") & 0x7FFF
    assert PAGE + max(first, second) < special
    here, there = PAGE + first, PAGE + second
    content[here : here + 16], content[there : there + 16] = content[there : there + 16], content[here : here + 16]
    file.write_bytes(bytes(content))
    cluster.server.start()
    out = diagnosed(stage, cluster.db)
    assert out.broken_indexes == ("public.orders_who",), out.report
    assert out.recommend == "reindex"


def test_one_broken_table_hides_no_other(stage: Stage, cluster: Cluster) -> None:
    cluster.spoil("users", "orders", block=1)
    out = diagnosed(stage, cluster.db)
    assert set(out.broken_tables) == {"public.users", "public.orders"}
    assert out.recommend == "restore"
    assert not out.broken_indexes, "an index that can't be checked for its table's sake is not called broken"


def test_rows_that_are_stored_out_of_line(stage: Stage, cluster: Cluster) -> None:
    cluster.server.sql("CREATE TABLE long (n int, body text)")
    cluster.server.sql("ALTER TABLE long ALTER body SET STORAGE EXTERNAL")
    cluster.server.sql("INSERT INTO long SELECT n, repeat(md5(n::text), 900) FROM generate_series(1, 20) n")
    toast = str(cluster.server.sql("SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 'long'")[0][0])
    cluster.spoil(toast, block=1)
    out = diagnosed(stage, cluster.db)
    assert "public.long" in out.broken_tables
    assert out.recommend == "restore"


def test_a_missing_file(stage: Stage, cluster: Cluster) -> None:
    file = cluster.file("orders")
    cluster.server.sql("CHECKPOINT")
    cluster.stop()
    file.rename(file.with_suffix(".lost"))
    cluster.server.start()
    out = diagnosed(stage, cluster.db)
    assert "public.orders" in out.broken_tables
    assert any("is missing" in one.detail for one in out.findings)


def test_the_catalogs(stage: Stage, cluster: Cluster) -> None:
    cluster.server.sql("CREATE TABLE gone (n int)")
    cluster.server.sql("SET allow_system_table_mods = on; DELETE FROM pg_class WHERE relname = 'gone'")
    cluster.server.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'orders_who'::regclass")
    out = diagnosed(stage, cluster.db)
    catalogs = {one.object for one in out.findings if one.kind == "catalog"}
    assert catalogs >= {"pg_attribute", "pg_depend", "pg_type"}
    assert out.broken_indexes == ("public.orders_who",)
    assert out.recommend == "restore"


def test_a_key_that_stands_twice_in_a_catalog(stage: Stage, cluster: Cluster) -> None:
    ready = "UPDATE pg_index SET indisready = %s WHERE indexrelid = 'pg_ts_dict_dictname_index'::regclass"
    cluster.server.sql(ready % "false")
    twice = "INSERT INTO pg_ts_dict SELECT 99999, dictname, dictnamespace, dictowner, dicttemplate, dictinitoption FROM pg_ts_dict"
    cluster.server.sql(f"{twice} WHERE dictname = 'simple'")
    cluster.server.sql(ready % "true")
    out = diagnosed(stage, cluster.db)
    assert out.recommend == "restore"
    said = next(one.detail for one in out.findings if one.object == "pg_ts_dict")
    assert said.startswith("the same key more than once: ")
    assert "simple" in said


def test_without_amcheck_it_says_so(stage: Stage, cluster: Cluster) -> None:
    cluster.server.sql("DROP EXTENSION amcheck")
    cluster.spoil("orders_who", block=2)
    out = diagnosed(stage, cluster.db)
    assert out.healthy, "what can't be checked is not called broken"
    assert "install: true" in out.unchecked[0]
    names = [one.name for one in stage.planned(Diagnose(), cluster.db, install=True)]
    assert names == ["install", "look"]
    assert diagnosed(stage, cluster.db, install=True).broken_indexes == ("public.orders_who",)
    assert [one.name for one in stage.planned(Diagnose(), cluster.db, install=True)] == ["look"]


def test_it_writes_nothing(stage: Stage, cluster: Cluster) -> None:
    before = cluster.server.sql(
        "SELECT pg_current_xact_id_if_assigned(), (SELECT sum(xact_commit) FROM pg_stat_database)"
    )
    xid = cluster.server.sql("SELECT pg_current_xact_id()::text::bigint")[0][0]
    diagnosed(stage, cluster.db)
    after = cluster.server.sql("SELECT pg_current_xact_id()::text::bigint")[0][0]
    assert isinstance(xid, int)
    assert isinstance(after, int)
    assert after == xid + 1, before


def test_a_server_that_ends_over_an_object(stage: Stage, cluster: Cluster) -> None:
    """As over a page that makes it crash: the object is named, and what comes later is looked at."""
    cluster.server.sql("CREATE TABLE zebras AS SELECT n FROM generate_series(1, 2000) n")
    cluster.spoil("zebras", block=1)
    lock = cluster.server.connect()
    lock.execute("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE")

    def end_the_reader() -> None:
        asked = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'runbook/%'"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if found := cluster.server.sql(asked):
                os.kill(int(str(found[0][0])), signal.SIGSEGV)
                return
            time.sleep(0.1)

    killer = threading.Thread(target=end_the_reader)
    killer.start()
    out = diagnosed(stage, cluster.db)
    killer.join()
    lock.close()
    assert set(out.broken_tables) == {"public.users", "public.zebras"}, out.report
    assert "the server ended over it" in next(one.detail for one in out.findings if one.object == "public.users")


def test_a_server_that_is_not_there_is_no_finding(stage: Stage, cluster: Cluster) -> None:
    cluster.stop()
    with pytest.raises(Unreachable):
        diagnosed(stage, cluster.db)


def test_a_database_that_does_not_open(stage: Stage, cluster: Cluster) -> None:
    """Its own catalogs are gone: the server answers, the database doesn't, and that is the finding."""
    cluster.server.sql("CREATE DATABASE shop2")
    db = cluster.db.model_copy(update={"database": "shop2"})
    file = cluster.data / str(cluster.server.sql("SELECT pg_relation_filepath('pg_class')", "shop2")[0][0])
    cluster.server.sql("CHECKPOINT")
    cluster.stop()
    for block in range(file.stat().st_size // PAGE):
        spoil(file, block)
    for cache in cluster.data.glob("base/*/pg_internal.init"):
        cache.unlink()
    cluster.server.start()
    out = diagnosed(stage, db)
    assert out.recommend == "restore"
    assert out.findings[0].object == "the database"
    assert "could not be looked at" in out.findings[0].detail


@pytest.fixture(scope="module")
def summed(
    postgres_bin: Path, postgres_account: Account, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A cluster with data checksums."""
    with server_folder(postgres_account, "summed") as folder:
        server = make_cluster(folder, bin_dir=postgres_bin, account=postgres_account, settings={})
        server.stop()
        postgres_account.run([postgres_bin / "pg_checksums", "--enable", "-D", server.data_dir])
        server.start()
        with shop(server, tmp_path_factory.mktemp("secret")) as found:
            found.server.sql("CREATE EXTENSION amcheck")
            found.server.sql("CREATE INDEX users_note ON users USING hash (note)")
            yield found


def kept(stage: Stage, cluster: Cluster, store: Store) -> Artifact:
    made = stage.live(ColdCopy(), cluster.db, stage.scope("keep"), to=store, data_directory=str(cluster.data)).artifact
    proven = stage.live(Verify(), store, stage.scope("prove"), artifact=made).artifact
    assert isinstance(proven, Artifact)
    return proven


def test_checksums_of_the_copy(stage: Stage, summed: Cluster, backups: Store, tmp_path: Path) -> None:
    """A damaged page of an index that amcheck doesn't know: only its checksum tells."""
    note, who = summed.file("users_note"), summed.file("orders_who")
    summed.server.sql("CHECKPOINT")
    summed.stop()
    before = note.read_bytes(), who.read_bytes()
    whole = kept(stage, summed, backups)
    spoil(note, 3)
    with who.open("r+b") as opened:
        opened.seek(2 * PAGE + 100)
        opened.write(b"\xff" * 4)
    (tmp_path / "second").mkdir(mode=0o700)
    second = Store(type="store", url=f"file://{tmp_path}/second", key="second")
    stage.systems = {**stage.systems, "second": second}
    damaged = kept(stage, summed, second)
    note.write_bytes(before[0])
    who.write_bytes(before[1])
    summed.server.start()

    assert diagnosed(stage, summed.db, copy_of=whole).healthy
    assert diagnosed(stage, summed.db).unchecked[-1].startswith("checksums of pages")
    out = diagnosed(stage, summed.db, copy_of=damaged)
    assert set(out.broken_indexes) == {"public.users_note", "public.orders_who"}
    assert "wrong checksum in the copy: base/" in out.report
    assert out.recommend == "reindex"


def test_a_copy_of_another_cluster_is_refused(stage: Stage, cluster: Cluster, summed: Cluster, backups: Store) -> None:
    summed.stop()
    copy = kept(stage, summed, backups)
    summed.server.start()
    with pytest.raises(Refused) as refused:
        diagnosed(stage, cluster.db, copy_of=copy)
    assert refused.value.problems[0].code == "E690"
