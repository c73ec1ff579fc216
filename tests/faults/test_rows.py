"""The faults of the guides' way to get single rows back, 7 and 8: first as the guide has it, then what the program does there."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

from tests.evidence.program import PLANS, Ran
from tests.faults.house import COUNTS, DATABASE, House

REFUSED = 4
GUIDES_DUMP = f'pg_dump -U civicq -d {DATABASE} --clean --if-exists | gzip > "$STORE/civicq-db.sql.gz"'


def bring_back(house: House, accident: datetime, *more: str) -> Ran:
    """The plan that ships, as an operator starts it."""
    given = {
        "accident": accident.isoformat(),
        "tables": "users,cities",
        "probe": "SELECT count(*) FROM users",
    }
    inputs = [word for name, value in given.items() for word in ("-i", f"{name}={value}")]
    return house.apply((PLANS / "restore-rows.yaml").read_text(), *inputs, *more)


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
