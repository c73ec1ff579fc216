"""Building indexes anew on a real cluster: not without evidence, not with a key twice, and resumed after any kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runbook.actions.backup.verify import Verify
from runbook.actions.postgres.cold_copy import ColdCopy
from runbook.actions.postgres.diagnose import Diagnose
from runbook.actions.postgres.dump import Dump
from runbook.actions.postgres.reindex import Reindex
from runbook.artifact import Artifact, Proof
from runbook.errors import Refused
from runbook.system import Postgres, Store
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.broken import ROWS, Cluster, shop, spoil
from tests.actions.postgres.life import Life
from tests.fixtures.postgres import PostgresServer


@pytest.fixture
def cluster(stage: Stage, postgres_cluster: Callable[..., PostgresServer], tmp_path: Path) -> Iterator[Cluster]:
    with shop(postgres_cluster(), tmp_path) as found:
        found.server.sql("CREATE EXTENSION amcheck")
        stage.systems = {**stage.systems, "db": found.db}
        yield found


def kept(stage: Stage, cluster: Cluster, store: Store, *broken: str) -> Artifact:
    """Indexes broken; the stopped cluster copied, the copy proven; the server back."""
    files = [cluster.file(index) for index in broken]
    cluster.server.sql("CHECKPOINT")
    cluster.stop()
    for file in files:
        spoil(file, 2)
    made = stage.live(ColdCopy(), cluster.db, stage.scope("keep"), to=store, data_directory=str(cluster.data)).artifact
    cluster.server.start()
    proven = stage.live(Verify(), store, stage.scope("prove"), artifact=made).artifact
    assert isinstance(proven, Artifact)
    return proven


def life(stage: Stage, cluster: Cluster, evidence: Artifact, *indexes: str, **more: Any) -> Life:
    written = {"indexes": indexes, "evidence": evidence, **more}
    return Life(stage, Reindex(), cluster.db, stage.scope("reindex"), written)


def healthy(stage: Stage, cluster: Cluster) -> bool:
    return bool(stage.live(Diagnose(), cluster.db, stage.scope("again")).healthy)


def test_broken_indexes_are_built_anew(stage: Stage, cluster: Cluster, backups: Store) -> None:
    evidence = kept(stage, cluster, backups, "users_email", "orders_who")
    broken = stage.live(Diagnose(), cluster.db, stage.scope("diagnose")).broken_indexes
    assert set(broken) == {"public.users_email", "public.orders_who"}
    step = life(stage, cluster, evidence, "public.users_email", "public.orders_who")
    assert step.go() == ["search_1", "reindex_1", "check_1", "reindex_2", "check_2"]
    out = step.end()
    assert out.evidence == evidence.url
    assert healthy(stage, cluster)
    cluster.server.sql("SET enable_seqscan = off")
    assert cluster.server.sql("SELECT count(*) FROM users WHERE email > ''") == [(ROWS,)]


@pytest.mark.parametrize("concurrently", [False, True])
def test_cut_off_anywhere_and_resumed(stage: Stage, cluster: Cluster, backups: Store, concurrently: bool) -> None:
    evidence = kept(stage, cluster, backups)
    for number in range(1, 5):
        step = life(stage, cluster, evidence, "public.users_email", "public.orders_who", concurrently=concurrently)
        step.scope = stage.scope(f"reindex{number}")
        step.go(stop_after=number)
        done = "reindex_1" if number > 1 else ""
        rest = step.go()
        assert done not in rest
        step.end()
    assert healthy(stage, cluster)


def test_what_a_concurrent_build_left_is_dropped(stage: Stage, cluster: Cluster, backups: Store) -> None:
    evidence = kept(stage, cluster, backups)
    step = life(stage, cluster, evidence, "public.orders_who", concurrently=True)
    step.go(stop_after=0)
    cluster.server.sql("CREATE INDEX orders_who_ccnew ON orders (who)")
    cluster.server.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'orders_who_ccnew'::regclass")
    assert step.go() == ["sweep_1_1", "reindex_1", "check_1"]
    step.end()
    assert cluster.server.sql("SELECT count(*) FROM pg_class WHERE relname ~ '_cc'") == [(0,)]


def test_a_key_that_stands_twice_is_named_before_anything_is_touched(
    stage: Stage, cluster: Cluster, backups: Store
) -> None:
    cluster.server.sql("CREATE TABLE people (id int, email text, left_at date)")
    cluster.server.sql("CREATE UNIQUE INDEX people_email ON people (lower(email)) WHERE left_at IS NULL")
    cluster.server.sql(
        "INSERT INTO people VALUES (1, 'Ada@example.org'), (2, 'grace@example.org'), (3, NULL), (4, NULL)"
    )
    cluster.server.sql("UPDATE pg_index SET indisready = false WHERE indexrelid = 'people_email'::regclass")
    cluster.server.sql("INSERT INTO people VALUES (5, 'ADA@example.org', NULL), (6, 'GRACE@example.org', '2026-01-01')")
    cluster.server.sql("UPDATE pg_index SET indisready = true WHERE indexrelid = 'people_email'::regclass")
    evidence = kept(stage, cluster, backups)
    file = cluster.file("orders_who")
    step = life(stage, cluster, evidence, "public.orders_who", "public.people_email")
    with pytest.raises(StepFailed, match=r"\(ada@example\.org\): 2 rows, at \(0,1\) \(0,5\)") as failed:
        step.go()
    assert "grace" not in str(failed.value)
    assert cluster.file("orders_who") == file, "nothing was touched"
    cluster.server.sql("DELETE FROM people WHERE id = 5")
    assert step.go() == ["search_2", "reindex_1", "check_1", "reindex_2", "check_2"]
    step.end()


def test_a_system_catalog_and_odd_names(stage: Stage, cluster: Cluster, backups: Store) -> None:
    cluster.server.sql('CREATE TABLE "o\'dd {t}" ("a b" int, "c{d}" jsonb DEFAULT \'{}\')')
    cluster.server.sql('CREATE UNIQUE INDEX "i\'x {}" ON "o\'dd {t}" ("a b", ("c{d}" || \'{"k": 1}\'))')
    cluster.server.sql('INSERT INTO "o\'dd {t}" VALUES (1), (NULL), (NULL)')
    evidence = kept(stage, cluster, backups)
    step = life(
        stage, cluster, evidence, 'public."i\'x {}"', "pg_catalog.pg_class_relname_nsp_index", concurrently=True
    )
    step.go()
    step.end()
    assert healthy(stage, cluster)


def test_without_evidence_nothing_is_touched(stage: Stage, cluster: Cluster, backups: Store, tmp_path: Path) -> None:
    def refused(artifact: Artifact) -> str:
        with pytest.raises(Refused) as no:
            life(stage, cluster, artifact, "public.orders_who").go()
        assert no.value.problems[0].code == "E690"
        return no.value.problems[0].detail

    dump = stage.live(Dump(), cluster.db, stage.scope("dump"), to=backups).artifact
    assert "what could be read" in refused(dump)
    proven = kept(stage, cluster, backups)
    made = proven.model_copy(update={"proof": Proof.LISTED})
    assert "compared" in refused(made)
    other = proven.model_copy(update={"sha256": "0" * 64})
    assert "not the one that was proven" in refused(other)
    manifest = Path(backups.directory) / f"{proven.name}.manifest.json"
    text = manifest.read_text()
    manifest.unlink()
    assert "no manifest" in refused(proven)
    manifest.write_text(text)
    (Path(backups.directory) / f"{proven.name}.sha256").rename(tmp_path / "away")
    assert "missing" in refused(proven)
    (tmp_path / "away").rename(Path(backups.directory) / f"{proven.name}.sha256")
    life(stage, cluster, proven, "public.orders_who").go()


def test_evidence_of_another_cluster(
    stage: Stage, cluster: Cluster, backups: Store, postgres_server: PostgresServer
) -> None:
    evidence = kept(stage, cluster, backups)
    db: Postgres = cluster.db.model_copy(update={"port": postgres_server.port})
    with pytest.raises(Refused, match="no evidence was kept"):
        Life(stage, Reindex(), db, stage.scope("r"), {"indexes": ["pg_catalog.x"], "evidence": evidence}).go()


def test_what_is_no_index(stage: Stage, cluster: Cluster, backups: Store) -> None:
    evidence = kept(stage, cluster, backups)
    for name in ("public.nothing", "public.users"):
        with pytest.raises(Refused, match="not an index") as refused:
            life(stage, cluster, evidence, name).go()
        assert refused.value.problems[0].code == "E691"
    assert life(stage, cluster, evidence).go() == []
