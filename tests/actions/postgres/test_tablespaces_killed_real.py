"""The program itself is killed at every record of a recovery with tablespaces, and resumed to the same end."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runbook.errors import ExitCode
from runbook.system import Store
from tests.actions.harness import Stage
from tests.actions.postgres.archived import Cluster
from tests.actions.postgres.spaced import backed_up, links, rows, spaced
from tests.runner.killed_program import Program

PLAN = """\
runbook: 1
name: back
title: Bring the cluster back
environment:
  environment: here
  systems:
    db:
      type: postgres
      address: {address}
      port: {port}
      user: {user}
      database: postgres
      password: {{file: {password}}}
      archive: file://{archive}
      binaries: {binaries}
    bases: {{type: store, url: "file://{store}"}}
systems: {{db: postgres, bases: store}}
steps:
  - id: pick
    title: Choose the base backup
    uses: backup.select
    on: bases
    with: {{pattern: "cluster-*"}}
    timeout: 1m
  - id: restore
    title: Recover
    uses: postgres.restore_to_time
    on: db
    with: {{artifact: "{{{{ steps.pick.artifact }}}}", target: "{target}"}}
    timeout: 5m
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    made = Program(tmp_path)
    yield made
    made.close()


@pytest.mark.slow
def test_killed_at_every_record_of_the_journal(
    stage: Stage,
    cluster: Cluster,
    backups: Store,
    program: Program,
    passages: Callable[[], Iterator[int]],
) -> None:
    with spaced(cluster) as places:
        backed_up(stage, cluster, backups)
        before, target = rows(cluster), cluster.commit("1 kept")
        db = cluster.db
        filled = PLAN.format(
            address=db.address,
            port=db.port,
            user=db.user,
            password=getattr(db.password, "path", ""),
            archive=cluster.archive,
            binaries=cluster.server.bin_dir,
            store=backups.directory,
            target=target.isoformat(),
        )
        path = program.directory / "plan.yaml"
        path.write_text(filled)
        live = links(cluster.data)
        for passage in passages():
            cluster.server.sql("UPDATE quick SET word = 'damaged'")
            cluster.server.sql("DELETE FROM parted WHERE id <> 7")
            code = program.run("apply", str(path), crash=f"journal.after_sync:{passage}")
            run = program.run_directory()
            whole = '"run.finished"' in (run / "journal.jsonl").read_text()
            if not whole:
                assert code == -signal.SIGKILL
                assert program.run("resume", run.name) == ExitCode.DONE, f"after a kill at record {passage}"
            assert rows(cluster) == before, f"after a kill at record {passage}"
            now = links(cluster.data)
            (kept,) = cluster.beside()
            assert links(cluster.data.parent / kept) == live
            assert not set(now.values()) & set(live.values())
            lying = {path.name for path in (*now.values(), *live.values())}
            there = {path.name for path in next(iter(places.values())).parent.iterdir()}
            assert there == lying, "nothing else of the run stays"
            for gone in (cluster.data.parent / kept, *live.values()):
                shutil.rmtree(gone)
            live = now
            if whole:
                break
        assert passage > 15, "a kill for each time that a run wrote"
