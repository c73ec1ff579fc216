"""Fault 23: the guide repairs first, which destroys the evidence, and leaves a scheduler writing meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.evidence.damage import JUNK, PAGE, end_server
from tests.evidence.program import PLANS
from tests.evidence.stacks import CIVICQ
from tests.faults.house import BACKUP, DATABASE, House, build
from tests.fixtures.postgres import PostgresServer

FAILED, INVALID, REFUSED = 1, 3, 4

KEEP = """\
runbook: 1
name: keep
systems: {db: postgres, backups: store}
steps:
  - {id: stop_server, uses: postgres.stop, on: db, timeout: 5m}
  - id: keep
    uses: postgres.cold_copy
    on: db
    with: {to: backups, data_directory: "{{ steps.stop_server.data_directory }}"}
    timeout: 5m
  - {id: start_server, uses: postgres.start, on: db, releases: stop_server, timeout: 15m}
  - {id: prove, uses: backup.verify, on: backups, with: {artifact: "{{ steps.keep.artifact }}"}, timeout: 5m}
  - {id: diagnose, uses: postgres.diagnose, on: db, with: {copy_of: "{{ steps.prove.artifact }}", install: true}, timeout: 5m}
"""
REINDEX = """\
  - id: reindex
    uses: postgres.reindex
    on: db
    with: {indexes: [public.users_email_key], evidence: "{{ EVIDENCE }}"}
    timeout: 5m
  - {id: again, uses: postgres.diagnose, on: db, with: {expect: healthy}, timeout: 5m}
"""


@pytest.fixture
def damaged(postgres_cluster: Callable[..., PostgresServer], tmp_path: Path) -> Iterator[House]:
    """A cluster of the test's own, with a page of a unique index written over; the server that a plan starts ends with it."""
    server = postgres_cluster()
    house = build(server, tmp_path)
    file = server.data_dir / str(server.sql("SELECT pg_relation_filepath('users_email_key')", DATABASE)[0][0])
    server.sql("CHECKPOINT")
    server.stop()
    with file.open("r+b") as opened:
        opened.seek(2 * PAGE + 10)
        opened.write(JUNK)
    server.start()
    yield house
    end_server(server.data_dir)


def traces(folder: Path) -> list[Path]:
    """The files below a folder that have the damage in them."""
    return [path for path in folder.rglob("*") if path.is_file() and JUNK in path.read_bytes()]


def test_fault_23_a_repair_destroys_the_evidence(damaged: House) -> None:
    house, data = damaged, damaged.server.data_dir
    assert traces(data)
    psql = f"psql -U {house.role} -d {DATABASE}"
    guide = house.guide(f'{psql} -c "REINDEX DATABASE {DATABASE};"; {psql} -c "VACUUM FULL;"')
    assert guide.returncode == 0, guide.stderr
    house.server.sql("CHECKPOINT")
    assert traces(data) == [], "what was damaged, where and how, nobody can find out any more"


def test_fault_23_evidence_is_kept_before_the_repair(damaged: House) -> None:
    house = damaged
    ran = house.apply(KEEP + REINDEX.replace("EVIDENCE", "steps.prove.artifact"))
    assert ran.code == 0, ran.said
    assert house.program.outputs("diagnose")["broken_indexes"] == ["public.users_email_key"]
    assert house.program.outputs("again")["healthy"]
    kept = Path(house.program.outputs("keep")["path"])
    assert len(traces(kept)) == 1, "the damaged page is in the copy, as it was"
    house.server.sql("CHECKPOINT")
    assert traces(house.server.data_dir) == [], "and no longer in the database"


@pytest.mark.parametrize(
    ("evidence", "why"),
    [
        ("steps.keep.artifact", "Nobody has compared"),
        ("steps.dump.artifact", "it holds what could be read, not the damaged files"),
    ],
)
def test_fault_23_a_repair_without_evidence_is_refused(damaged: House, evidence: str, why: str) -> None:
    house = damaged
    dump = BACKUP.partition("steps:\n")[2].replace("FORMAT", "format: custom")
    ran = house.apply(KEEP + dump + REINDEX.replace("EVIDENCE", evidence))
    assert ran.code == REFUSED, ran.said
    assert "no evidence was kept" in ran.said
    assert why in ran.said
    assert traces(house.server.data_dir), "nothing was repaired"


def test_fault_23_a_plan_that_repairs_first_is_found_beforehand(damaged: House) -> None:
    house = damaged
    pick = '  - {id: pick, uses: backup.select, on: backups, with: {pattern: "*"}, timeout: 1m}\n'
    head = "runbook: 1\nname: repair\nsystems: {db: postgres, backups: store}\nsteps:\n"
    path = house.folder / "repair.yaml"
    path.write_text(head + pick + REINDEX.replace("EVIDENCE", "steps.pick.artifact"))
    ran = house.program.run("validate", "--strict", path)
    assert ran.code == INVALID, ran.said
    assert "DR005" in ran.said
    assert "no step before it has kept a copy of its present state" in ran.said


def test_fault_23_the_scheduler_is_not_forgotten(damaged: House) -> None:
    text = (PLANS / "environments" / f"{CIVICQ.key}.yaml").read_text()
    assert "writers: [backend, celery-worker, celery-beat]" in text, "the guide stops the first two"

    house = damaged
    with house.server.connect(DATABASE) as beat:
        beat.execute("SET application_name = 'celery-beat'")
        time.sleep(2.2)
        ran = house.apply(KEEP)
        assert ran.code == REFUSED, ran.said
        assert "celery-beat as postgres in civicq from 127.0.0.1" in ran.said
        assert beat.execute("SELECT 1").fetchone() == (1,), "nothing was stopped"
    assert not list(house.store.iterdir())


def test_fault_23_files_of_a_running_server_are_no_evidence(damaged: House) -> None:
    house = damaged
    copy = "  - {id: keep, uses: postgres.cold_copy, on: db, with: {to: backups, data_directory: DATA}, timeout: 5m}\n"
    head = "runbook: 1\nname: keep\nsystems: {db: postgres, backups: store}\nsteps:\n"
    ran = house.apply(head + copy.replace("DATA", str(house.server.data_dir)))
    assert ran.code == REFUSED, ran.said
    assert "E687" in ran.said
