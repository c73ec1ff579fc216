"""A merge that is killed, or whose COMMIT's answer is lost: the rows come back exactly once, whatever is resumed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runbook.errors import ExitCode
from runbook.system import Postgres
from tests.actions.in_a_run import Rehearsal
from tests.actions.postgres.rows import ACCIDENT, Accident, happened
from tests.fixtures.patience import PATIENCE_S, eventually
from tests.fixtures.postgres import FreshDatabases, PostgresServer
from tests.fixtures.standstill import held_while_there
from tests.runner.killed_program import Program
from tests.transports.breaking import CuttingProxy

PLAN = """\
runbook: 1
name: rows
title: Bring rows back
environment:
  environment: here
  systems:
    db: {{type: postgres, address: 127.0.0.1, port: {port}, user: {user}, database: {live}, password: {{file: {password}}}}}
systems: {{db: postgres}}
steps:
  - id: look
    title: See what is missing
    uses: postgres.compare_rows
    on: db
    with: {{source: {{database: {copy}}}, tables: [users, orders, items]}}
    timeout: 5m
  - id: merge
    title: Put it back
    uses: postgres.merge_rows
    on: db
    with:
      source: {{database: {copy}}}
      tables: [users, orders, items]
      expected: "{{{{ steps.look.missing }}}}"
      at_most: 700
      triggers: fire
    timeout: 5m
"""
MISSING = {"public.users": 100, "public.orders": 300, "public.items": 300}
COMMIT = b"COMMIT\0"


def written(shop: Accident, db: Postgres, *, port: int = 0) -> str:
    """The plan for this shop."""
    at = db.password
    path = getattr(at, "path", "")
    given = {"user": db.user, "live": shop.live, "copy": shop.copy, "password": path}
    return PLAN.format(port=port or shop.server.port, **given)


def rights(shop: Accident) -> None:
    """What was deleted is back, once, and what was written since is there."""
    counts = [shop.one(f"SELECT count(*) FROM {table}") for table in ("users", "orders", "items")]
    assert counts == [1002, 3002, 3000]
    same = "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM users t WHERE id <= 1000 AND id <> 5"
    assert shop.one(same) == shop.one(same, copy=True)
    assert shop.one("SELECT count(*) FROM users WHERE note IN ('good', 'changed since')") == 3
    assert shop.sql("SELECT count(*) FROM runbook.ledger") == [(1,)]
    kept = {str(table): count for table, count in shop.sql("SELECT relation, count(*) FROM runbook.merged GROUP BY 1")}
    assert kept == MISSING


@pytest.fixture
def shop(postgres_server: PostgresServer, fresh_database: FreshDatabases) -> Accident:
    return happened(postgres_server, fresh_database)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    made = Program(tmp_path)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("point", ["journal.before_write", "journal.after_sync"])
def test_killed_at_every_point_of_the_journal(
    point: str, program: Program, shop: Accident, db: Postgres, passages: Callable[[], Iterator[int]]
) -> None:
    path = program.directory / "plan.yaml"
    path.write_text(written(shop, db))
    for passage in passages():
        code = program.run("apply", str(path), crash=f"{point}:{passage}")
        if code == ExitCode.DONE:
            break
        assert code == -9
        counts = [shop.one(f"SELECT count(*) FROM {table}") for table in ("users", "orders", "items")]
        assert counts in ([902, 2702, 2700], [1002, 3002, 3000]), "all of it, or nothing"
        resumed = program.run("resume")
        if resumed == ExitCode.JOURNAL:  # not one record of it is durable: nothing ran
            assert counts == [902, 2702, 2700]
        else:
            assert resumed in (
                ExitCode.DONE,
                ExitCode.USAGE,
            )  # the latter: its end was recorded, there is nothing to resume
            rights(shop)
        if resumed != ExitCode.DONE:
            program.kill_everything()  # its supervisor would leave after a while, and holds the locks until then
        shop.sql("DELETE FROM users WHERE id BETWEEN 101 AND 200")
        shop.sql("DROP SCHEMA IF EXISTS runbook CASCADE")
    rights(shop)
    assert passage > 6, "records are written together where nothing happens between them"


HELD = "FROM pg_stat_activity WHERE application_name LIKE 'runbook/%/merge' AND wait_event = 'PgSleep'"


@pytest.fixture
def flag(postgres_server: PostgresServer) -> Iterator[Path]:
    """While it is there a merge does not come to its end."""
    found = postgres_server.socket_dir / "held"
    yield found
    found.unlink(missing_ok=True)


def held_in_its_middle(shop: Accident, flag: Path) -> None:
    """From now on a merge stands still after the orders, until the flag has gone."""
    shop.sql(held_while_there(flag))
    shop.sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM public.held(1); RETURN NULL; END'; "
        "CREATE TRIGGER slow AFTER INSERT ON orders FOR EACH STATEMENT EXECUTE FUNCTION slow()"
    )
    flag.touch()


def the_one_held(shop: Accident) -> tuple[object, ...]:
    """The process id of a merge that stands there, as a row: it sleeps again and again, and is awake in between."""
    found: list[tuple[object, ...]] = []

    def sleeps() -> bool:
        found[:] = shop.sql(f"SELECT pid {HELD}")
        return len(found) == 1

    eventually(sleeps)
    return found[0]


@pytest.mark.parametrize("everything", [False, True], ids=["engine", "everything"])
def test_killed_in_the_middle_of_the_transaction(
    everything: bool, program: Program, db: Postgres, shop: Accident, flag: Path
) -> None:
    held_in_its_middle(shop, flag)
    path = program.directory / "plan.yaml"
    path.write_text(written(shop, db))
    engine = program.start("apply", str(path))
    former = the_one_held(shop)
    if everything:
        program.kill_everything()
    engine.kill()
    engine.wait(PATIENCE_S)
    assert shop.one("SELECT count(*) FROM users") == 902
    resumed = program.start("resume")
    eventually(
        lambda: former not in shop.sql("SELECT pid FROM pg_stat_activity")
    )  # what was begun earlier is ended first
    flag.unlink()
    resumed.communicate(timeout=PATIENCE_S)
    assert resumed.returncode == ExitCode.DONE
    rights(shop)


def test_killed_while_the_commit_is_on_its_way(
    program: Program, db: Postgres, postgres_cluster: Callable[..., PostgresServer]
) -> None:
    """The server has committed, and waits for a standby before it answers: the engine is gone by then."""
    server = postgres_cluster()
    databases = FreshDatabases(server, "far")
    wait = (
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM set_config(''synchronous_commit'', ''on'', true); RETURN NULL; END'",
        "CREATE TRIGGER wait AFTER INSERT ON orders FOR EACH STATEMENT EXECUTE FUNCTION wait()",
    )
    shop = happened(server, databases, *ACCIDENT, *wait)
    shop.sql(f'ALTER DATABASE "{shop.live}" SET synchronous_commit = local')
    shop.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    shop.sql("SELECT pg_reload_conf()")
    eventually(lambda: shop.one("SHOW synchronous_standby_names") == "nobody")
    path = program.directory / "plan.yaml"
    path.write_text(written(shop, db))
    engine = program.start("apply", str(path))
    inside = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query = 'COMMIT'"
    eventually(lambda: shop.one(inside) == 1)
    engine.kill()
    engine.wait(PATIENCE_S)
    assert program.run("resume") == ExitCode.DONE
    rights(shop)
    events = [json.loads(line) for line in (program.run_directory() / "journal.jsonl").read_text().splitlines()]
    adopted = [event for event in events if event["event"] == "operation.finished" and event["adopted"]]
    assert [(event["operation"], event["outcome"]) for event in adopted] == [("merge", "succeeded")]


@pytest.mark.parametrize("delivered", [True, False], ids=["answer lost", "never sent"])
def test_a_commit_whose_answer_is_lost(delivered: bool, shop: Accident, db: Postgres, tmp_path: Path) -> None:
    proxy = CuttingProxy(shop.server.port, deliver=delivered, at=COMMIT)
    try:
        run = Rehearsal(written(shop, db, port=proxy.port), tmp_path / "state")
        code = run.apply()
        if delivered:
            assert code == ExitCode.DONE, run.problem("merge")
            assert proxy.cuts == 2  # of the ledger's tables, and of the merge
        for _ in range(3):  # a COMMIT that never arrives is a definite failure: nothing was done
            if code == ExitCode.DONE:
                break
            assert code == ExitCode.FAILED
            assert "was rolled back" in run.problem("merge")
            assert shop.one("SELECT count(*) FROM users") == 902
            proxy.pass_on()
            code = run.apply()
        assert code == ExitCode.DONE
    finally:
        proxy.close()
    rights(shop)


def test_backends_that_are_ended_at_any_moment(shop: Accident, db: Postgres, tmp_path: Path, flag: Path) -> None:
    """Somebody ends our backends again and again: each attempt fails or is done, and never half."""
    held_in_its_middle(shop, flag)
    text = written(shop, db).replace("timeout: 5m\n", "timeout: 5m\n    retry: {attempts: 3, delay: 10ms}\n")
    over = threading.Event()

    def end() -> None:
        while not over.is_set() and shop.server.sql(f"SELECT pg_terminate_backend(pid) {HELD}") == []:
            time.sleep(0.01)  # the first in the middle of its work, for certain
        flag.unlink()
        pause = 0.02
        while not over.wait(pause):
            shop.server.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'runbook/%/merge'"
            )
            pause *= 1.3

    axe = threading.Thread(target=end, daemon=True)
    axe.start()
    try:
        run = Rehearsal(text, tmp_path / "state")
        code = run.apply()
        deadline = time.monotonic() + 300
        while code != ExitCode.DONE:
            assert time.monotonic() < deadline
            assert shop.one("SELECT count(*) FROM users") in (902, 1002)
            code = run.resume() if code == ExitCode.WAITING else run.apply()
    finally:
        over.set()
        axe.join(PATIENCE_S)
    assert not flag.exists(), "at least one was ended"
    counts = [shop.one(f"SELECT count(*) FROM {table}") for table in ("users", "orders", "items")]
    assert counts == [1002, 3002, 3000]
