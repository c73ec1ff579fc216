"""The faults of the guides' monthly restore tests, 41 and 42: each as the guide has it, then what `restore-test` does there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evidence.program import PLANS, Program, Ran
from tests.evidence.telephone import OnCall, on_call
from tests.evidence.witness import until
from tests.faults.house import COUNTS, DATABASE, SECRET, House
from tests.fixtures.standstill import held_while_there

PLAN = PLANS / "restore-test.yaml"
PASSED, FAILED, REFUSED = 0, 1, 4

GUIDE_A = """\
BACKUP_FILE=$(ls -t "$STORE"/*.dump | head -1)
echo "Testing backup: $BACKUP_FILE"
psql -U civicq -d postgres -c "DROP DATABASE IF EXISTS cl_backup_test;"
psql -U civicq -d postgres -c "CREATE DATABASE cl_backup_test;"
pg_restore -h 127.0.0.1 -U civicq -d cl_backup_test --no-owner < "$BACKUP_FILE"
for TABLE in cities users; do
COUNT=$(psql -U civicq -d cl_backup_test -t -c "SELECT count(*) FROM $TABLE;" 2>/dev/null | tr -d ' ')
echo " $TABLE: $COUNT rows"
done
psql -U civicq -d postgres -c "DROP DATABASE cl_backup_test;"
echo "Verification complete."
"""
GUIDE_B = """\
set -e
gunzip < "$STORE/civicq.sql.gz" | psql -U civicq -d staging
psql -U civicq -d staging -c "SELECT (SELECT COUNT(*) FROM users) as users, (SELECT COUNT(*) FROM cities) as cities;"
echo "Restore test successful!" >> "$STORE/../mail"
"""


@pytest.fixture
def people() -> Iterator[OnCall]:
    with on_call() as found:
        yield found


def environment(house: House) -> Path:
    path = house.environment()
    path.write_text(
        path.read_text()
        + "  on_call: {type: channel, url: {env: ON_CALL_URL}}\n"
        + 'inputs: {probes: ["SELECT count(*) FROM users", "SELECT count(*) FROM cities"], sample_of: users}\n'
    )
    return path


def program(house: House, people: OnCall) -> Program:
    return Program(house.folder, {"DB_PASSWORD": SECRET, "NO_COLOR": "1", "ON_CALL_URL": people.url})


def monthly(house: House, people: OnCall, *more: str) -> Ran:
    """The monthly test, as cron runs it."""
    return program(house, people).run("apply", PLAN, "--env", environment(house), *more)


def copies(house: House) -> set[str]:
    return {name for name in house.databases() if name.startswith("rb_")}


def test_fault_41_the_newest_file_is_not_the_newest_backup(house: House, people: OnCall) -> None:
    old = house.back_up()
    house.server.sql("DELETE FROM users WHERE id > 900", DATABASE)
    new = house.back_up()
    os.utime(old)  # copied back from the other site
    os.utime(new, (1, 1))
    guide = house.guide(GUIDE_A)
    assert f"Testing backup: {old}" in guide.stdout.decode()

    ran = monthly(house, people)
    assert ran.code == PASSED, ran.said
    outputs = program(house, people).outputs
    assert outputs("newest")["restored_from"] == new.name
    assert outputs("newest")["rows"] == 1000, "900 users and 100 cities, as that dump counted them"
    assert outputs("older")["restored_from"] == old.name, "and one that is not the newest, drawn"
    assert (outputs("pick_older")["among"], outputs("older")["rows"]) == (1, 1100)
    assert outputs("sample_newest")["values"] == ["200"]
    assert copies(house) == set()
    assert house.rows()["users"] == 900, "the live database is as it was"


def test_fault_41_a_test_of_a_broken_backup_is_complete(house: House, people: OnCall) -> None:
    house.back_up()
    dump = house.back_up()
    dump.write_bytes(dump.read_bytes()[:-700])
    guide = house.guide(GUIDE_A)
    assert guide.returncode == 0
    assert b"Verification complete." in guide.stdout

    ran = monthly(house, people)
    assert ran.code == PASSED, "its size is not that of the manifest: it is no backup, and the one before it is tested"
    passed_over = program(house, people).outputs("pick_newest")["passed_over"]
    assert dump.name in passed_over[0]
    for other in house.store.glob("*.dump"):  # now each has its size, and other bytes
        manifest = other.with_name(other.name + ".manifest.json")
        size = int(manifest.read_text().partition('"bytes":')[2].strip().partition(",")[0])
        body = bytearray(other.read_bytes().ljust(size, b"x"))
        body[size // 2] ^= 0x10
        other.write_bytes(bytes(body))
    ran = monthly(house, people)
    assert ran.code == FAILED, ran.said
    assert copies(house) == set()
    assert "failed" in people.told[-1] and "prove_newest" in people.told[-1]


def test_fault_41_counts_are_compared_with_nothing(house: House, people: OnCall) -> None:
    """Rows are lost between the dump and the store's books: the guide prints a number that nobody knows the truth of."""
    house.server.sql("DELETE FROM users", DATABASE)
    house.back_up()
    guide = house.guide(GUIDE_A)
    assert (guide.returncode, b" users: 0 rows" in guide.stdout) == (0, True)
    assert b"Verification complete." in guide.stdout

    ran = monthly(house, people)
    assert ran.code == FAILED, "an empty table is what was dumped; that users have to be there is a probe's to say"
    assert "probe_newest" in people.told[-1]
    assert copies(house) == set(), "a copy that failed the test is dropped too"


def test_fault_41_it_has_no_time_and_no_record(house: House, people: OnCall) -> None:
    house.back_up()
    assert b"second" not in house.guide(GUIDE_A).stdout
    assert monthly(house, people).code == PASSED
    finished = program(house, people).finished()
    assert finished["rto"]["met"] and finished["rto"]["target_s"] == 4 * 3600
    assert finished["rpo"]["met"] and finished["rpo"]["actual_s"] < 3600, "the age of the newest, not of the drawn one"
    steps = {e["step"]: e for e in program(house, people).events() if e["event"] == "step.succeeded"}
    assert steps["newest"]["duration_s"] > 0
    report = program(house, people).run("show", program(house, people).last)
    assert "newest" in report.said


def test_fault_41_a_kill_leaves_the_copy(house: House, people: OnCall) -> None:
    flag = house.server.socket_dir / "held"
    house.server.sql(held_while_there(flag), DATABASE)
    house.server.sql("CREATE INDEX ON cities (held(id))", DATABASE)
    house.back_up()
    cut = house.guide(GUIDE_A.replace("for TABLE in", "kill -9 $$; for TABLE in"))
    assert cut.returncode == -9
    assert "cl_backup_test" in house.databases(), "until next month's run, with everybody's data"

    running = program(house, people)
    flag.touch()
    engine = running.start("apply", PLAN, "--env", environment(house))
    until(lambda: copies(house) != set(), 60, "it makes its copy, and can't come to an end with it")
    engine.kill()
    engine.wait(60)
    flag.unlink()
    assert copies(house) != set()
    resumed = running.run("resume", running.last)
    assert resumed.code == PASSED, resumed.said
    assert copies(house) == set()
    assert "succeeded" in people.told[-1]


def test_fault_42_what_was_there_before_passes_the_test(house: House, people: OnCall) -> None:
    """The staging database is never emptied: last month's rows answer for a backup that holds none."""
    house.server.sql(f"CREATE DATABASE staging TEMPLATE {DATABASE}")
    house.guide(f'pg_dump -U civicq -d {DATABASE} --schema-only | gzip > "$STORE/civicq.sql.gz"')
    guide = house.guide(GUIDE_B)
    assert guide.returncode == 0, "psql says 'already exists' for everything, and goes on"
    assert b"1000" in guide.stdout
    assert (house.folder / "mail").exists(), "and the mail says: PASS"

    house.server.sql("TRUNCATE users, cities", DATABASE)
    house.back_up()
    ran = monthly(house, people)
    assert ran.code == FAILED, ran.said
    assert "staging" in house.databases()
    assert "probe_newest: " in people.told[-1]


def test_fault_42_nobody_hears_of_a_failure(house: House, people: OnCall) -> None:
    guide = house.guide(GUIDE_B)  # no backup, no database
    assert guide.returncode != 0
    assert not (house.folder / "mail").exists()

    assert monthly(house, people).code == FAILED
    assert "no backup" in people.told[-1] and "failed" in people.told[-1]
    house.back_up()
    assert monthly(house, people).code == PASSED
    assert "succeeded" in people.told[-1]
    assert len(people.told) == 2
    people.deaf = True
    (house.folder / "plan.yaml").write_text(PLAN.read_text().replace("delay: 10s", "delay: 0.1s"))
    ran = program(house, people).run("apply", house.folder / "plan.yaml", "--env", environment(house))
    assert ran.code == FAILED, "a test of which nobody hears is no good end"
    assert copies(house) == set()


def test_fault_42_a_copy_of_real_people_is_open_to_nobody_else(house: House, people: OnCall) -> None:
    house.back_up()
    plan = PLAN.read_text().replace(
        'probes: "{{ inputs.probes }}"',
        "probes: [\"SELECT (NOT has_database_privilege('public', current_database(), 'CONNECT'))::int\"]",
    )
    (house.folder / "plan.yaml").write_text(plan)
    ran = program(house, people).run("apply", house.folder / "plan.yaml", "--env", environment(house))
    assert ran.code == PASSED, ran.said
    assert house.rows() == COUNTS
