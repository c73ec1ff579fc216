"""The faults of the guides' restores, 1 to 6 and 9: each first as the guide has it, then what the program does there."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.faults.house import COUNTS, DATABASE, RESTORE, VERIFY, House

FAILED, REFUSED = 1, 4
EMPTY = {"cities": 0, "users": 0}


def spoilt(house: House) -> None:
    """The accident: a third of the users is gone."""
    house.server.sql("DELETE FROM users WHERE id % 3 = 0", DATABASE)


def restored(house: House) -> None:
    """The restore is right, and the former database is kept."""
    ran = house.apply(RESTORE)
    assert ran.code == 0, ran.said
    assert house.rows() == COUNTS
    kept = house.program.outputs("restore")["kept_as"]
    assert house.rows(kept)["users"] == COUNTS["users"] - 333


def test_fault_1_the_database_that_one_is_connected_to_cannot_be_dropped(house: House) -> None:
    drop = f'psql -U {house.role} -c "DROP DATABASE {DATABASE}"; psql -U {house.role} -c "CREATE DATABASE {DATABASE}"; true'
    guide = house.guide(drop)
    assert guide.returncode == 0, "the guide's script carries on"
    assert b"cannot drop the currently open database" in guide.stderr

    house.back_up()
    spoilt(house)
    restored(house)


def test_fault_1_the_role_has_no_database_of_its_name(house: House) -> None:
    house.server.sql(
        "DO $$ BEGIN CREATE ROLE cl_user SUPERUSER LOGIN PASSWORD 'canary-77e1-wrong-horse'; "
        "EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    house.role = "cl_user"
    guide = house.guide(f'psql -U cl_user -c "DROP DATABASE IF EXISTS {DATABASE};"')
    assert guide.returncode == 2
    assert b'database "cl_user" does not exist' in guide.stderr

    house.back_up()
    spoilt(house)
    restored(house)


def test_fault_2_a_session_that_is_open(house: House) -> None:
    house.back_up()
    spoilt(house)
    with house.server.connect(DATABASE) as session:
        session.execute("SELECT 1")
        drop = house.guide(f'psql -U {house.role} -d postgres -c "DROP DATABASE {DATABASE}"')
        rename = house.guide(f'psql -U {house.role} -d postgres -c "ALTER DATABASE {DATABASE} RENAME TO former"')
        for refused in (drop, rename):
            assert refused.returncode == 1
            assert b"is being accessed by other users" in refused.stderr
        restored(house)


def half_of_a_plain_dump(house: House) -> Path:
    """The guide's backup, cut in the middle of what was compressed: gzip itself finds no fault with it."""
    whole = house.guide(f"pg_dump -U {house.role} -d {DATABASE} --clean --if-exists").stdout
    cut = whole[: whole.index(b"COPY public.cities")]
    path = house.store / "civicq-db-20260214.sql.gz"
    path.write_bytes(subprocess.run(["gzip", "-c"], input=cut, capture_output=True, check=True).stdout)
    return path


def test_fault_3_half_a_plain_dump_is_restored_without_a_word(house: House) -> None:
    path = half_of_a_plain_dump(house)
    live = house.oid()
    house.server.sql("CREATE DATABASE lab")
    guide = house.guide(f"gunzip < {path} | psql -U {house.role} -d lab")
    assert guide.returncode == 0, "tables without a row, and exit code 0"
    assert house.rows("lab") == EMPTY

    adopted = house.adopt(path.name)
    assert adopted.code == FAILED, adopted.said
    restore = house.apply(RESTORE)
    assert restore.code in (FAILED, REFUSED), restore.said
    assert not house.program.changed_anything()
    assert (house.oid(), house.rows()) == (live, COUNTS)


def test_fault_3_an_error_in_a_plain_dump_ends_the_restore(house: House) -> None:
    script = house.guide(f"pg_dump -U {house.role} -d {DATABASE}").stdout
    broken = script.replace(b"COPY public.users", b"SELECT no_such_function();\nCOPY public.users")
    path = house.store / "broken.sql.gz"
    path.write_bytes(subprocess.run(["gzip", "-c"], input=broken, capture_output=True, check=True).stdout)
    house.server.sql("CREATE DATABASE lab")
    guide = house.guide(f"gunzip < {path} | psql -U {house.role} -d lab")
    assert b"no_such_function() does not exist" in guide.stderr
    assert guide.returncode == 0, "psql's exit code after an error"

    live, names = house.oid(), house.databases()
    assert house.adopt(path.name).code == 0
    restore = house.apply(RESTORE)
    assert restore.code == FAILED, restore.said
    assert "no_such_function" in restore.said
    assert (house.oid(), house.rows()) == (live, COUNTS)
    assert not {name for name in house.databases() - names if house.rows(name) == COUNTS}, (
        "no half copy is taken for whole"
    )


def test_fault_4_a_truncated_archive_gives_empty_tables(house: House) -> None:
    path = house.store / "cl_backup_20260319_020000.dump"
    house.guide(f"pg_dump -U {house.role} -d {DATABASE} -Fc -Z9 > {path}")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    house.server.sql("CREATE DATABASE lab")
    guide = house.guide(f"pg_restore -U {house.role} -d lab --no-owner --no-privileges < {path}; echo goes on")
    assert guide.returncode == 0, "nobody looks at pg_restore's own exit code"
    assert b"goes on" in guide.stdout
    assert sum(house.rows("lab").values()) < sum(COUNTS.values())

    live = house.oid()
    assert house.adopt(path.name).code == FAILED
    restore = house.apply(RESTORE)
    assert restore.code in (FAILED, REFUSED), restore.said
    assert not house.program.changed_anything()
    assert (house.oid(), house.rows()) == (live, COUNTS)


def test_fault_5_the_only_copy_is_dropped_before_the_archive_is_proven(house: House) -> None:
    path = house.back_up("format: custom, compress: 6")
    spoilt(house)
    live, damaged = house.oid(), house.rows()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(bytes(data))

    ran = house.apply(RESTORE)
    assert ran.code == FAILED, ran.said
    assert not house.program.changed_anything()
    assert (house.oid(), house.rows(), house.databases()) == (live, damaged, {DATABASE})

    data[len(data) // 2] ^= 0x40
    path.write_bytes(bytes(data))
    restored(house)
    assert house.oid(house.program.outputs("restore")["kept_as"]) == live, "renamed, not dropped"


def test_fault_6_grants_and_owners_are_lost(house: House) -> None:
    sql = house.server.sql
    sql("DROP ROLE IF EXISTS fault6_reader")
    sql("CREATE ROLE fault6_reader NOLOGIN")
    try:
        sql("GRANT SELECT ON users TO fault6_reader", DATABASE)
        sql("ALTER TABLE cities OWNER TO fault6_reader", DATABASE)
        before = rights(house, DATABASE)
        guide = house.guide(
            f"createdb -U {house.role} lab && pg_dump -U {house.role} -d {DATABASE} -Fc | "
            f"pg_restore -U {house.role} -d lab --no-owner --no-privileges"
        )
        assert guide.returncode == 0, guide.stderr
        assert rights(house, "lab") != before
        sql('DROP DATABASE "lab" WITH (FORCE)')

        house.back_up()
        sql("ALTER TABLE cities OWNER TO civicq", DATABASE)
        sql("DROP OWNED BY fault6_reader", DATABASE)
        sql("DROP ROLE fault6_reader")  # the new server, on which nobody has made it
        ran = house.apply(RESTORE)
        assert ran.code == 0, ran.said
        assert rights(house, DATABASE) == before
    finally:
        for name in house.databases():
            sql(
                "DO $$ BEGIN REASSIGN OWNED BY fault6_reader TO postgres; DROP OWNED BY fault6_reader; "
                "EXCEPTION WHEN undefined_object THEN NULL; END $$",
                name,
            )
        sql("DROP ROLE IF EXISTS fault6_reader")


def rights(house: House, database: str) -> list[tuple[object, ...]]:
    """Who owns the tables, and who may read them."""
    return house.server.sql(
        "SELECT relname::text, relowner::regrole::text, coalesce(relacl::text, '') FROM pg_class "
        "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1",
        database,
    )


def test_fault_9_an_older_schema_under_a_newer_image(house: House) -> None:
    """The shipped plan has the check; here it stands alone: it fails before anything that migrates is started."""
    house.server.sql("CREATE TABLE alembic_version (version_num text)", DATABASE)
    house.server.sql("INSERT INTO alembic_version VALUES ('ae31')", DATABASE)
    checked = VERIFY.split("steps:")[0] + (
        "inputs: {revision: {type: string}}\nsteps:\n"
        "  - id: schema_fits\n    uses: postgres.assert\n    on: db\n    timeout: 1m\n"
        '    with: {checks: [{query: "SELECT version_num FROM alembic_version", equals: "{{ inputs.revision }}"}]}\n'
    )
    assert house.apply(checked, "-i", "revision=ae31").code == 0
    older = house.apply(checked, "-i", "revision=b702")
    assert older.code == FAILED
    assert "ae31" in older.said
