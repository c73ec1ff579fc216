"""The faults of the guides' way to get single rows back, 7 and 8: first as the guide has it, then what the program does there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.evidence.kills import Victim, kill
from tests.evidence.program import PLANS, Ran
from tests.evidence.witness import until
from tests.faults.house import COUNTS, DATABASE, House
from tests.fixtures.moment import Moment, moments, reached

REFUSED = 4
KILLS = 8
TRIES = 5
WITHIN_S = 60
PLAN = (PLANS / "restore-rows.yaml").read_text()
GUIDES_DUMP = f'pg_dump -U civicq -d {DATABASE} --clean --if-exists | gzip > "$STORE/civicq-db.sql.gz"'


def words(house: House, accident: datetime) -> list[str]:
    """What an operator gives with the plan."""
    (house.folder / "plan.yaml").write_text(PLAN)
    given = {
        "accident": accident.isoformat(),
        "tables": "users,cities",
        "probe": "SELECT count(*) FROM users",
    }
    inputs = [word for name, value in given.items() for word in ("-i", f"{name}={value}")]
    return ["--env", str(house.environment()), "--yes", *inputs]


def bring_back(house: House, accident: datetime, *more: str) -> Ran:
    """The plan that ships, as an operator starts it."""
    given = words(house, accident)
    return house.program.run("apply", house.folder / "plan.yaml", *given, *more)


def written_since(house: House) -> None:
    """Good work of users after the backup."""
    house.server.sql(
        "INSERT INTO users (email) SELECT 'new' || n || '@example.org' FROM generate_series(1, 50) n", DATABASE
    )
    house.server.sql("UPDATE users SET email = 'moved@example.org' WHERE id = 7", DATABASE)


def deleted(house: House) -> datetime:
    """The accident, and its moment."""
    moment = datetime.now(UTC)
    time.sleep(0.01)
    house.server.sql("DELETE FROM users WHERE id BETWEEN 301 AND 600", DATABASE)
    return moment


def users(house: House, condition: str) -> int:
    (count,) = house.server.sql(f"SELECT count(*) FROM users WHERE {condition}", DATABASE)[0]
    return int(str(count))


def test_fault_7_pg_restore_data_only_brings_no_row_back(house: House) -> None:
    assert house.guide(GUIDES_DUMP).returncode == 0
    house.back_up()
    written_since(house)
    accident = deleted(house)

    restore = f"pg_restore -U {house.role} -d {DATABASE} --data-only --table=users"
    plain = house.guide(f'gunzip -k "$STORE/civicq-db.sql.gz"; {restore} "$STORE/civicq-db.sql"')
    assert plain.returncode == 1
    assert b"input file appears to be a text format dump" in plain.stderr
    custom = house.guide(f'pg_dump -U {house.role} -d {DATABASE} -Fc > /dev/null; {restore} "$STORE"/*.dump')
    assert custom.returncode == 1
    assert b"duplicate key value violates unique constraint" in custom.stderr
    assert users(house, "id BETWEEN 301 AND 600") == 0

    ran = bring_back(house, accident)
    assert ran.code == 0, ran.said
    assert "public.users: 300 missing (301, 302, 303, " in ran.said, "who confirms sees what"
    assert users(house, "id BETWEEN 1 AND 1000") == COUNTS["users"], "all 1,000 are back"
    assert (users(house, "email LIKE 'new%'"), users(house, "email = 'moved@example.org'")) == (50, 1)
    preview, merged = house.program.outputs("preview"), house.program.outputs("merge")
    assert preview["missing"] == merged["rows"] | {"public.cities": 0} == {"public.users": 300, "public.cities": 0}
    assert preview["conflicts"] == 1, "user 7 has moved, and is left alone"
    assert "public.users: 300 missing (301, 302, 303, " in preview["summary"]
    assert house.databases() == {DATABASE}, "the copy is gone"
    assert house.server.sql("INSERT INTO users (email) VALUES ('after@example.org') RETURNING id", DATABASE) == [
        (1051,)
    ]


def test_fault_8_the_whole_backup_throws_away_what_was_written_since(house: House) -> None:
    assert house.guide(GUIDES_DUMP).returncode == 0
    house.back_up()
    written_since(house)
    deleted(house)
    guide = house.guide(f'gunzip -c "$STORE/civicq-db.sql.gz" | psql -q -U {house.role} -d {DATABASE}')
    assert guide.returncode == 0
    assert users(house, "id BETWEEN 301 AND 600") == 300
    assert users(house, "email LIKE 'new%' OR email LIKE 'moved%'") == 0, "every good write since is lost"

    written_since(house)
    accident = deleted(house)
    looked = bring_back(house, accident, "-i", "bring_back=false")
    assert looked.code == 0, looked.said
    assert house.program.outputs("preview")["total"] == 300
    assert users(house, "id BETWEEN 301 AND 600") == 0, "a look changes nothing"

    few = bring_back(house, accident, "-i", "at_most=299")
    assert few.code == 1, few.said
    assert users(house, "id BETWEEN 301 AND 600") == 0
    assert house.databases() == {DATABASE}

    ran = bring_back(house, accident, "-i", "where=id > 0")
    assert ran.code == 0, ran.said
    assert users(house, "id BETWEEN 1 AND 1000") == COUNTS["users"]
    assert users(house, "email LIKE 'new%' OR email LIKE 'moved%'") == 51
    kept = house.server.sql("SELECT run, step, relation, count(*) FROM runbook.merged GROUP BY 1, 2, 3", DATABASE)
    assert kept == [(house.program.last, "merge", "public.users", 300)]
    assert json.dumps(house.program.outputs("merge")["rows"]) == '{"public.users": 300}'


def test_a_run_that_was_refused_goes_on_when_the_cause_is_gone(house: House) -> None:
    """The copy was dropped when the run failed: a resume that needs it makes it again."""
    house.back_up()
    written_since(house)
    accident = deleted(house)
    house.server.sql(
        "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "
        "CREATE TRIGGER noted BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION noted()",
        DATABASE,
    )
    refused = bring_back(house, accident)
    assert refused.code == REFUSED, refused.said
    assert "noted on public.users" in refused.said
    assert house.databases() == {DATABASE}
    house.server.sql("DROP TRIGGER noted ON users", DATABASE)
    resumed = house.program.run("resume", house.program.last, "--yes")
    assert resumed.code == 0, resumed.said
    assert (users(house, "id BETWEEN 1 AND 1000"), users(house, "email LIKE 'new%'")) == (COUNTS["users"], 50)
    assert house.databases() == {DATABASE}


@pytest.mark.slow
def test_a_run_that_is_killed_anywhere_is_finished_by_its_resume(house: House, kills: Callable[[int], int]) -> None:
    """Engine, supervisor and children, at moments spread over the whole run."""
    house.back_up()
    written_since(house)
    whole = bring_back(house, deleted(house))
    assert whole.code == 0, whole.said
    brought_back_once(house)
    tried = kills(KILLS)
    for moment in moments(house.program.events(), [(part + 0.5) / tried for part in range(tried)]):
        # a run that is over before the kill is not what is meant: the next one is killed sooner after the same record
        met = any(killed_and_resumed(house, moment.sooner(times)) for times in range(1, TRIES + 1))
        assert met, f"none of {TRIES} runs was met at {moment}"


def killed_and_resumed(house: House, moment: Moment) -> bool:
    """Kill a run at that moment, and resume it; whether the kill met it before its end."""
    house.server.sql("DROP SCHEMA IF EXISTS runbook CASCADE", DATABASE)
    accident = deleted(house)
    before = set(house.program.runs)
    engine = house.program.start("apply", house.folder / "plan.yaml", *words(house, accident))
    until(lambda: engine.poll() is not None or set(house.program.runs) - before != set(), WITHIN_S, "the run begins")
    assert set(house.program.runs) - before, (house.folder / "output").read_text()[-2000:]
    run = house.program.directory()
    reached(run / "journal.jsonl", moment, engine)
    kill(Victim.EVERYTHING, engine, run)
    assert users(house, "id BETWEEN 301 AND 600") in (0, 300)
    met = not any(event["event"] == "run.finished" for event in house.program.events())
    if met:
        resumed = house.program.run("resume", house.program.last, "--yes")
        assert resumed.code == 0, resumed.said
    brought_back_once(house)
    return met


def brought_back_once(house: House) -> None:
    """Every row that was gone is there, each in the books once, and the copy is gone."""
    assert (users(house, "id BETWEEN 1 AND 1000"), users(house, "email LIKE 'new%'")) == (COUNTS["users"], 50)
    kept = house.server.sql("SELECT count(*), count(DISTINCT key) FROM runbook.merged", DATABASE)
    assert kept == [(300, 300)]
    assert house.databases() == {DATABASE}
