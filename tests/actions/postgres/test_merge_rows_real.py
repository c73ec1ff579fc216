"""Rows that were deleted come back from a copy, once, and nothing else changes."""

from __future__ import annotations

import os
import subprocess
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from runbook.actions.postgres.compare_rows import CompareRows
from runbook.actions.postgres.merge_rows import MergeRows, MergeRowsInputs
from runbook.errors import Refused
from runbook.operation import changes
from runbook.system import Postgres
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.rows import ACCIDENT, TABLES, Accident, happened
from tests.fixtures.postgres import FreshDatabases, PostgresServer

Happened = Callable[..., Accident]
Given = dict[str, Any]
MISSING = {"public.users": 100, "public.orders": 300, "public.items": 300}


@pytest.fixture
def accident(postgres_server: PostgresServer, fresh_database: FreshDatabases) -> Happened:
    return lambda *statements: happened(postgres_server, fresh_database, *statements)


def test_what_is_missing_is_told_by_key(stage: Stage, db: Postgres, accident: Happened) -> None:
    shop = accident()
    before = shop.rows()
    found = stage.live(CompareRows(), shop.system(db), source={"database": shop.copy}, tables=TABLES, sample=3)
    assert found.missing == MISSING
    assert (found.total, found.conflicts, found.followers) == (700, 1, ())
    users = next(one for one in found.tables if one.table == "public.users")
    assert (users.in_copy, users.same, users.different, users.blocked, users.only_live) == (1000, 899, 1, 0, 2)
    assert users.missing_keys == ({"id": "101"}, {"id": "102"}, {"id": "103"})
    assert users.different_keys == ({"id": "5"},)
    assert "public.users: 100 missing (101, 102, 103, …), 1 different" in found.summary
    assert shop.rows() == before
    assert shop.one("SELECT count(*) FROM pg_namespace WHERE nspname = 'runbook'") == 0


def test_they_come_back_and_what_was_written_since_stays(stage: Stage, db: Postgres, accident: Happened) -> None:
    shop = accident()
    shop.sql("ALTER SEQUENCE orders_id_seq RESTART 5")
    given: Given = {"source": {"database": shop.copy}, "tables": TABLES, "expected": MISSING, "at_most": 700}
    done = stage.live(MergeRows(), shop.system(db), **given)
    assert (done.rows, done.total) == (MISSING, 700)
    same = "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM users t WHERE id <= 1000 AND id <> 5"
    assert shop.one(same) == shop.one(same, copy=True)
    assert shop.one("SELECT note FROM users WHERE id = 5") == "changed since"
    assert shop.one("SELECT count(*) FROM users WHERE note = 'good'") == 2
    for table, count in (("orders", 3002), ("items", 3000)):
        assert shop.one(f"SELECT count(*) FROM {table}") == count
    # what came back is behind the sequences now, and the next insert finds a number of its own
    back = shop.one("SELECT max((key->>'id')::int) FROM runbook.merged WHERE relation = 'public.orders'")
    assert shop.one("SELECT last_value FROM orders_id_seq") == back
    assert shop.one("INSERT INTO users (email) VALUES ('after@x') RETURNING id") == 1003
    assert stage.planned(MergeRows(), shop.system(db), **given) == ()


def test_what_a_person_deletes_again_stays_deleted(stage: Stage, db: Postgres, accident: Happened) -> None:
    shop = accident()
    given: Given = {"source": {"database": shop.copy}, "tables": TABLES, "at_most": 700}
    stage.live(MergeRows(), shop.system(db), **given)
    shop.sql("DELETE FROM users WHERE id = 150")
    assert stage.live(MergeRows(), shop.system(db), **given).total == 700
    assert shop.one("SELECT count(*) FROM users WHERE id = 150") == 0
    shop.sql(f'DROP DATABASE "{shop.copy}"')  # the copy is not needed to know that it was done
    assert stage.live(MergeRows(), shop.system(db), **given).total == 700


def test_a_condition_chooses_the_rows(stage: Stage, db: Postgres, accident: Happened) -> None:
    shop = accident()
    given: Given = {
        "source": {"database": shop.copy},
        "tables": TABLES,
        "where": {
            "users": "id < 111",
            "public.orders": "who < 111;",
            "*": "orders_id IN (SELECT id FROM orders WHERE who < 111)",
        },
    }
    found = stage.live(CompareRows(), shop.system(db), **given)
    assert found.missing == {"public.users": 10, "public.orders": 30, "public.items": 30}
    done = stage.live(MergeRows(), shop.system(db), **given, expected=found.missing, at_most=70)
    assert done.rows == found.missing
    assert shop.one("SELECT count(*) FROM users WHERE id BETWEEN 101 AND 200") == 10


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({"at_most": 699}, "rows put back is at most 699; found: 700"),
        ({"at_most": 10_000, "expected": {**MISSING, "public.items": 299}}, "items put back is 299; found: 300"),
    ],
)
def test_another_number_than_expected_puts_nothing_back(
    bounds: Given, said: str, stage: Stage, db: Postgres, accident: Happened
) -> None:
    shop = accident()
    before = shop.rows()
    with pytest.raises(StepFailed, match=f"E314[^$]*{said}"):
        stage.live(MergeRows(), shop.system(db), source={"database": shop.copy}, tables=TABLES, **bounds)
    assert shop.rows() == before
    assert shop.one("SELECT count(*) FROM runbook.ledger") == 0


def test_a_value_that_another_row_has_by_now_keeps_its_old_owner_away(
    stage: Stage, db: Postgres, accident: Happened
) -> None:
    shop = accident(*ACCIDENT, "INSERT INTO users (email) VALUES ('u150@x')")
    given: Given = {"source": {"database": shop.copy}, "tables": ("users",)}
    found = stage.live(CompareRows(), shop.system(db), **given)
    (users,) = found.tables
    assert (users.missing, users.blocked, users.blocked_keys) == (99, 1, ({"id": "150"},))
    assert found.followers == ("public.orders",)
    assert "public.orders was not compared" in found.summary
    done = stage.live(MergeRows(), shop.system(db), **given, expected=found.missing, at_most=99)
    assert done.total == 99
    assert shop.one("SELECT id FROM users WHERE email = 'u150@x'") == 1003


def test_a_row_whose_parent_is_gone_breaks_the_whole(stage: Stage, db: Postgres, accident: Happened) -> None:
    shop = accident()
    before = shop.rows()
    with pytest.raises(StepFailed, match="violates foreign key constraint"):
        stage.live(MergeRows(), shop.system(db), source={"database": shop.copy}, tables=("orders",), at_most=1000)
    assert shop.rows() == before


TRIGGER = (
    "CREATE TABLE sent (id int)",
    "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN INSERT INTO sent VALUES (NEW.id); RETURN NEW; END'",
    "CREATE TRIGGER tell AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION tell()",
    "CREATE TRIGGER never AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION tell()",
    "ALTER TABLE users DISABLE TRIGGER never",
)


@pytest.mark.parametrize(("triggers", "sent"), [("fire", 100), ("skip", 0)])
def test_triggers_fire_or_are_skipped_as_was_said(
    triggers: str, sent: int, stage: Stage, db: Postgres, accident: Happened
) -> None:
    shop = accident(*ACCIDENT, *TRIGGER)
    given: Given = {"source": {"database": shop.copy}, "tables": ("users",), "at_most": 100}
    with pytest.raises(Refused) as refused:
        stage.planned(MergeRows(), shop.system(db), **given)
    assert refused.value.problems[0].code == "E683"
    assert "tell on public.users" in refused.value.problems[0].detail
    assert "never" not in refused.value.problems[0].detail
    stage.live(MergeRows(), shop.system(db), **given, triggers=triggers)
    assert shop.one("SELECT count(*) FROM sent") == sent
    states = (
        "SELECT string_agg(tgname::text || tgenabled::text, ' ' ORDER BY tgname) FROM pg_trigger WHERE NOT tgisinternal"
    )
    assert shop.one(states) == "neverD tellO"


def test_undo_takes_away_exactly_what_came_back(stage: Stage, db: Postgres, accident: Happened) -> None:
    shop = accident()
    before = shop.rows()
    system, action = shop.system(db), MergeRows()
    given: Given = {"source": {"database": shop.copy}, "tables": TABLES, "at_most": 700}
    stage.live(action, system, **given)
    assert shop.rows() != before
    inputs = MergeRowsInputs.model_validate(given)
    facts = action.observe(stage.look, system, inputs, stage.scope())
    way_back = action.undo(system, inputs, facts, stage.scope())
    assert way_back is not None
    for operation in way_back:
        stage.perform(operation, {}, stage.scope())
    assert shop.rows() == before
    assert stage.planned(action, system, **given) == ()  # and a resume does not bring them again


def test_tables_in_a_circle_are_filled_where_their_references_can_wait(
    stage: Stage, db: Postgres, accident: Happened
) -> None:
    circle = (
        "CREATE TABLE a (id int PRIMARY KEY, b int)",
        "CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a)",
        "ALTER TABLE a ADD CONSTRAINT to_b FOREIGN KEY (b) REFERENCES b",
    )
    shop = accident("SELECT 1")
    for statement in circle:
        shop.sql(statement)
        shop.sql(statement, copy=True)
    shop.sql("INSERT INTO a VALUES (1, NULL); INSERT INTO b VALUES (1, 1); UPDATE a SET b = 1", copy=True)
    given: Given = {"source": {"database": shop.copy}, "tables": ("a", "b"), "at_most": 2}
    with pytest.raises(Refused) as refused:
        stage.planned(MergeRows(), shop.system(db), **given)
    assert refused.value.problems[0].code == "E684"
    assert "to_b on public.a" in refused.value.problems[0].detail
    shop.sql("ALTER TABLE a ALTER CONSTRAINT to_b DEFERRABLE")
    assert stage.live(MergeRows(), shop.system(db), **given).rows == {"public.a": 1, "public.b": 1}


@pytest.mark.parametrize(
    ("statement", "copy", "code", "said"),
    [
        ("ALTER TABLE users ADD COLUMN age int", True, "E681", "age is in the copy only"),
        ("ALTER TABLE users ADD COLUMN age int", False, "E681", "age is in the live table only"),
        ("ALTER TABLE users ALTER note TYPE varchar(9000)", False, "E681", "note is character varying"),
        ("DROP TABLE users CASCADE", True, "E681", "users is in the live database only"),
        ("DROP TABLE users CASCADE", False, "E681", "users is in the copy only"),
        (
            "ALTER TABLE users DROP CONSTRAINT users_pkey CASCADE, DROP CONSTRAINT users_email_key",
            False,
            "E682",
            "neither a",
        ),
    ],
)
def test_what_is_built_differently_is_named_and_refused(
    statement: str, copy: bool, code: str, said: str, stage: Stage, db: Postgres, accident: Happened
) -> None:
    shop = accident("SELECT 1")
    shop.sql(statement, copy=copy)
    with pytest.raises(Refused) as refused:
        stage.planned(CompareRows(), shop.system(db), source={"database": shop.copy}, tables=("users",))
    assert refused.value.problems[0].code == code
    assert said in refused.value.problems[0].detail


def test_the_live_database_is_not_its_own_copy(stage: Stage, db: Postgres, accident: Happened) -> None:
    shop = accident("SELECT 1")
    with pytest.raises(Refused) as refused:
        stage.planned(CompareRows(), shop.system(db), source={"database": shop.live}, tables=("users",))
    assert refused.value.problems[0].code == "E680"


def test_rows_that_a_policy_hides_are_refused(
    stage: Stage, db: Postgres, accident: Happened, postgres_server: PostgresServer
) -> None:
    shop = accident("ALTER TABLE users ENABLE ROW LEVEL SECURITY", "ALTER TABLE users FORCE ROW LEVEL SECURITY")
    role = f"{shop.live}_clerk"
    shop.sql(f"CREATE ROLE \"{role}\" LOGIN PASSWORD '{postgres_server.password}'")
    shop.sql(f'GRANT ALL ON users TO "{role}"')
    shop.sql(f'GRANT ALL ON users TO "{role}"', copy=True)
    try:
        clerk = shop.system(db).model_copy(update={"user": role})
        with pytest.raises(Refused) as refused:
            stage.planned(CompareRows(), clerk, source={"database": shop.copy}, tables=("users",))
        assert refused.value.problems[0].code == "E685"
    finally:
        shop.sql(f'DROP OWNED BY "{role}"')
        shop.sql(f'DROP OWNED BY "{role}"', copy=True)
        shop.sql(f'DROP ROLE "{role}"')


def test_partitions_odd_names_and_keys_of_other_types(stage: Stage, db: Postgres, accident: Happened) -> None:
    name = '"odd {schema}"."a ""{b}"""'
    made = (
        'CREATE SCHEMA "odd {schema}"',
        f'CREATE TABLE {name} ("the {{key}}" timestamptz, "n\'s" numeric, "v{{}}" text, PRIMARY KEY ("the {{key}}", "n\'s")) '
        'PARTITION BY RANGE ("the {key}")',
        f"""CREATE TABLE "odd {{schema}}".p1 PARTITION OF {name} FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')""",
    )
    shop = accident("SELECT 1")
    for statement in made:
        shop.sql(statement)
        shop.sql(statement, copy=True)
    shop.sql(
        f"INSERT INTO {name} SELECT '2026-02-14'::timestamptz + i * interval '1 s', i / 3.0, 'v' FROM generate_series(1, 50) i",
        copy=True,
    )
    given: Given = {"source": {"database": shop.copy}, "tables": (name,), "where": {"*": "\"v{}\" <> '{}'"}}
    found = stage.live(CompareRows(), shop.system(db), **given)
    assert found.total == 50
    assert stage.live(MergeRows(), shop.system(db), **given, at_most=50, expected=found.missing).total == 50
    whole = f"SELECT md5(string_agg(t::text, ';' ORDER BY t::text)) FROM {name} t"
    assert shop.one(whole) == shop.one(whole, copy=True)
    assert stage.live(CompareRows(), shop.system(db), **given).tables[0].same == 50


def test_what_is_shown_changes_nothing_but_in_one_transaction(stage: Stage, db: Postgres, accident: Happened) -> None:
    shop = accident()
    given: Given = {"source": {"database": shop.copy}, "tables": TABLES}
    (look,) = stage.planned(CompareRows(), shop.system(db), **given)
    assert not changes(look)
    assert [one.name for one in stage.planned(MergeRows(), shop.system(db), **given, at_most=1)] == ["ledger", "merge"]


def test_the_copy_may_be_in_a_cluster_of_its_own(
    stage: Stage,
    db: Postgres,
    postgres_server: PostgresServer,
    postgres_cluster: Callable[..., PostgresServer],
    fresh_database: FreshDatabases,
) -> None:
    """As after a recovery to a moment beside the live cluster: reached by its socket, under the same database's name."""
    shop = happened(postgres_server, fresh_database)
    beside = postgres_cluster(DateStyle="SQL, DMY", TimeZone="Asia/Tokyo", bytea_output="escape")
    beside.sql(f'CREATE DATABASE "{shop.live}"')
    environment = {**os.environ, **postgres_server.environment(shop.copy)}
    dumped = subprocess.run([postgres_server.tool("pg_dump"), "-Fc"], env=environment, check=True, capture_output=True)
    restore = [str(postgres_server.tool("pg_restore")), "-d", beside.socket_dsn(shop.live)]
    subprocess.run(restore, input=dumped.stdout, check=True)
    shop.sql(f'ALTER DATABASE "{shop.live}" SET timezone = "America/Lima"')
    given: Given = {
        "source": {"database": shop.live, "address": str(beside.socket_dir), "port": beside.port},
        "tables": TABLES,
    }
    found = stage.live(CompareRows(), shop.system(db), **given)
    assert found.missing == MISSING
    assert {one.table: one.different for one in found.tables} == {
        "public.users": 1,
        "public.orders": 0,
        "public.items": 0,
    }, "settings of either side make no difference"
    assert stage.live(MergeRows(), shop.system(db), **given, at_most=700, expected=found.missing).total == 700
    assert {one.table: one.same for one in stage.live(CompareRows(), shop.system(db), **given).tables} == {
        "public.users": 999,
        "public.orders": 3000,
        "public.items": 3000,
    }


def test_a_comparison_of_many_rows_takes_no_memory_here(stage: Stage, db: Postgres, accident: Happened) -> None:
    shop = accident("SELECT 1")
    made = "CREATE TABLE wide (id int PRIMARY KEY, text text)"
    shop.sql(made)
    shop.sql(made, copy=True)
    shop.sql("INSERT INTO wide SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 60000) i", copy=True)
    shop.sql("INSERT INTO wide SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 60000, 3) i")
    given: Given = {"source": {"database": shop.copy}, "tables": ("wide",)}
    tracemalloc.start()
    try:
        found = stage.live(CompareRows(), shop.system(db), **given)
        assert stage.live(MergeRows(), shop.system(db), **given, at_most=40000).total == found.total == 40000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20, "38 MB went through"


def test_keys_that_would_act_on_a_terminal_are_shown_harmless(stage: Stage, db: Postgres, accident: Happened) -> None:
    shop = accident("SELECT 1")
    for copy in (False, True):
        shop.sql("CREATE TABLE named (name text PRIMARY KEY)", copy=copy)
    shop.sql("INSERT INTO named VALUES (E'\\x1b[31mred\\n')", copy=True)
    found = stage.live(CompareRows(), shop.system(db), source={"database": shop.copy}, tables=("named",))
    assert "public.named: 1 missing (\\x1b[31mred\\n)" in found.summary
