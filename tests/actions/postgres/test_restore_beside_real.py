"""A copy beside the live database, on a real server: complete, closed to others, and gone at every end of a run."""

from __future__ import annotations

import gzip
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from runbook.actions.backup.adopt import Adopt
from runbook.actions.postgres.drop_beside import DropBeside
from runbook.actions.postgres.dump import Dump
from runbook.actions.postgres.restore_beside import RestoreBeside
from runbook.artifact import Artifact
from runbook.errors import ExitCode, Refused
from runbook.system import Postgres, Store
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.life import Life
from tests.actions.postgres.restored import BESIDE, DROP, drop_copies, rehearsal
from tests.fixtures.postgres import PostgresServer

WHOLE = ["create", "load", "loaded", "rows", "analyze", "finish"]


@pytest.fixture
def shop(db: Postgres, postgres_server: PostgresServer) -> Iterator[Postgres]:
    """The small shop, with settings of its own, open to everybody as databases are."""
    run = postgres_server.sql
    run(f"ALTER DATABASE {db.database} SET search_path TO shop, public")
    run(f"ALTER DATABASE {db.database} CONNECTION LIMIT 7")
    yield db
    drop_copies(postgres_server)
    for (role,) in run("SELECT rolname FROM pg_roles WHERE rolname LIKE 'beside\\_%'"):
        run(f"DROP ROLE {role}")


@pytest.fixture
def dumped(stage: Stage, shop: Postgres, backups: Store) -> Artifact:
    made = stage.live(Dump(), shop, stage.scope("dump"), to=backups).artifact
    assert isinstance(made, Artifact)
    return made


def life(stage: Stage, db: Postgres, dumped: Artifact, step: str = "look", **written: object) -> Life:
    return Life(stage, RestoreBeside(), db, stage.scope(step), {"artifact": dumped, **written})


def release(stage: Stage, db: Postgres, of: Life) -> Life:
    return Life(stage, DropBeside(), db, replace(stage.scope("drop"), held=of.pinned), {})


def copies(server: PostgresServer) -> set[str]:
    return {str(row[0]) for row in server.sql("SELECT datname FROM pg_database WHERE datname LIKE 'rb\\_20%'")}


@pytest.mark.parametrize("form", ["custom", "directory"])
def test_a_copy_is_complete_private_and_dropped(
    stage: Stage, shop: Postgres, backups: Store, postgres_server: PostgresServer, form: str
) -> None:
    run, live = postgres_server.sql, shop.database
    dumped = stage.live(Dump(), shop, stage.scope("dump"), to=backups, format=form).artifact
    run("DELETE FROM users", live)
    step = life(stage, shop, dumped)
    assert step.go() == WHOLE
    out = step.end()
    assert (out.tables_counted, out.rows, out.restored_from) == (2, 1200, dumped.name)
    assert out.recovery_point.startswith("20")
    assert run("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM orders)", out.database) == [(200, 1000)]
    assert run("SELECT count(*) FROM users", live) == [(0,)], "the live database is as it was"
    assert run("SHOW search_path", out.database) == [("shop, public",)], "unqualified queries mean the same in it"
    run("CREATE ROLE beside_other LOGIN PASSWORD 'x'")
    other = psycopg.conninfo.make_conninfo(postgres_server.dsn(out.database), user="beside_other", password="x")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(other)
    assert step.go() == [], "nothing remains"

    with psycopg.connect(postgres_server.dsn(out.database)) as session:
        session.execute("SELECT 1")
        drop = release(stage, shop, step)
        assert drop.go() == ["drop"]
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert drop.end().database == out.database
    assert copies(postgres_server) == set()
    assert drop.go() == []


def test_its_line_opens_a_session_in_it(
    stage: Stage, shop: Postgres, dumped: Artifact, postgres_server: PostgresServer
) -> None:
    step = life(stage, shop, dumped)
    step.go()
    line = shlex.split(step.end().connect)
    env = {"PGPASSWORD": postgres_server.password, "PATH": "/usr/bin:/bin"}
    ran = subprocess.run(
        [*line, "-XAtc", "SELECT count(*) FROM users"], env=env, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "200\n"


@pytest.mark.parametrize(
    ("stop_after", "rest"),
    [
        (0, WHOLE),
        (1, ["drop_unfinished", *WHOLE]),
        (2, WHOLE[2:]),  # the records show that the load ended well
        (3, WHOLE[3:]),
        (4, WHOLE[3:]),
        (5, WHOLE[3:]),
        (6, []),
    ],
)
def test_stopped_anywhere_and_resumed_and_dropped(
    stage: Stage, shop: Postgres, dumped: Artifact, postgres_server: PostgresServer, stop_after: int, rest: list[str]
) -> None:
    step = life(stage, shop, dumped)
    assert step.go(stop_after=stop_after) == WHOLE[:stop_after]
    assert step.go() == rest
    assert step.end().rows == 1200
    assert release(stage, shop, step).go() == ["drop"]
    assert copies(postgres_server) == set()


@pytest.mark.parametrize("stop_after", range(1, 7))
def test_stopped_anywhere_what_there_is_can_be_dropped(
    stage: Stage, shop: Postgres, dumped: Artifact, postgres_server: PostgresServer, stop_after: int
) -> None:
    step = life(stage, shop, dumped)
    step.go(stop_after=stop_after)
    assert len(copies(postgres_server)) == 1
    drop = release(stage, shop, step)
    drop.go()
    drop.end()
    assert copies(postgres_server) == set()


def test_rows_that_are_not_those_of_the_record_fail_it(
    stage: Stage, shop: Postgres, dumped: Artifact, backups: Store, postgres_server: PostgresServer
) -> None:
    counts = next(Path(backups.directory).glob("*.counts*"))
    counts.write_text(counts.read_text().replace('"rows": 200', '"rows": 201').replace('"rows":200', '"rows":201'))
    step = life(stage, shop, dumped)
    with pytest.raises((StepFailed, Refused), match=r"201|manifest|not the one"):
        step.go()


def test_a_live_database_is_not_needed(
    stage: Stage, shop: Postgres, dumped: Artifact, postgres_server: PostgresServer
) -> None:
    gone = shop.model_copy(update={"database": "never_there"})
    step = life(stage, gone, dumped)
    step.go()
    assert postgres_server.sql("SELECT count(*) FROM users", step.end().database) == [(200,)]


def test_too_little_space_is_refused_before_anything_is_made(
    stage: Stage, shop: Postgres, dumped: Artifact, postgres_server: PostgresServer
) -> None:
    with pytest.raises(Refused, match="not enough space"):
        life(stage, shop, dumped, space_factor=1e12).plan()
    assert copies(postgres_server) == set()


def test_a_copy_with_another_comment_is_kept(
    stage: Stage, shop: Postgres, dumped: Artifact, postgres_server: PostgresServer
) -> None:
    step = life(stage, shop, dumped)
    step.go()
    name = step.end().database
    postgres_server.sql(f"COMMENT ON DATABASE {name} IS 'evidence, ask Kim'")
    with pytest.raises(Refused, match="no longer this run's own"):
        release(stage, shop, step).plan()
    assert copies(postgres_server) == {name}


CHECK = """\
  - id: check
    title: The rows are there
    uses: postgres.assert
    on: db
    with:
      database: "{{ steps.look.database }}"
      checks: [{query: SELECT count(*) FROM public.users, at_least: AT_LEAST}]
    timeout: 10m
"""


@pytest.mark.parametrize("at_least", [200, 201])
def test_in_a_run_the_copy_is_gone_after_a_pass_and_after_a_fail(
    shop: Postgres, dumped: Artifact, backups: Store, postgres_server: PostgresServer, tmp_path: Path, at_least: int
) -> None:
    check = CHECK.replace("AT_LEAST", str(at_least))
    run = rehearsal(shop, backups, tmp_path / "state", BESIDE, check, DROP)
    assert run.apply() is (ExitCode.DONE if at_least == 200 else ExitCode.FAILED)
    assert run.planned["look"][0] == WHOLE
    assert copies(postgres_server) == set()
    assert str(run.outputs("drop")["database"]).startswith("rb_")
    if at_least == 201:
        postgres_server.sql("DELETE FROM users", shop.database)  # the live rows have nothing to do with it
        assert run.resume() is ExitCode.FAILED
        assert run.planned["look"][1] == WHOLE, "it is made again to be asked"
        assert "200" in run.problem("check"), "the query was asked, in a copy"
        assert copies(postgres_server) == set()


@pytest.mark.parametrize("ending", [".sql", ".sql.gz"])
def test_plain_text_of_somebody_elses_making(
    stage: Stage, shop: Postgres, backups: Store, postgres_server: PostgresServer, ending: str
) -> None:
    """What cron wrote with pg_dump and gzip: nothing is counted in it, and its owner's role is there."""
    dump = [str(postgres_server.tool("pg_dump")), f"--dbname={postgres_server.dsn(shop.database)}"]
    text = subprocess.run(dump, check=True, capture_output=True).stdout
    path = Path(backups.directory) / f"cron{ending}"
    path.write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    adopted = stage.live(Adopt(), backups, stage.scope("adopt"), name=path.name, database=shop.database).artifact
    step = life(stage, shop, adopted)
    assert step.go() == ["create", "no_connect", "load", "loaded", "analyze", "finish"]
    out = step.end()
    assert (out.tables_counted, out.rows) == (0, 0)
    assert postgres_server.sql("SELECT count(*) FROM orders", out.database) == [(1000,)]
    release(stage, shop, step).go()
    assert copies(postgres_server) == set()


def test_roles_that_are_gone_are_made_from_the_dump(
    stage: Stage, shop: Postgres, backups: Store, postgres_server: PostgresServer
) -> None:
    run = postgres_server.sql
    run("CREATE ROLE beside_owner NOLOGIN")
    run("ALTER TABLE shop.orders OWNER TO beside_owner", shop.database)
    dumped = stage.live(Dump(), shop, stage.scope("dump"), to=backups).artifact
    run(f"ALTER TABLE shop.orders OWNER TO {shop.user}", shop.database)
    run("DROP OWNED BY beside_owner", shop.database)
    run("DROP ROLE beside_owner")
    step = life(stage, shop, dumped)
    assert step.go()[:2] == ["roles", "create"]
    name = step.end().database
    assert run("SELECT tableowner FROM pg_tables WHERE tablename = 'orders'", name) == [("beside_owner",)]
    release(stage, shop, step).go()
    assert run("SELECT 1 FROM pg_roles WHERE rolname = 'beside_owner'") == [(1,)], "a role stays"


@pytest.mark.parametrize("form", ["custom", "directory"])
def test_a_copy_of_a_subscriber_subscribes_to_nothing_and_can_be_dropped(
    stage: Stage, shop: Postgres, backups: Store, postgres_server: PostgresServer, form: str
) -> None:
    run = postgres_server.sql
    given = "CONNECTION 'host=nowhere.invalid' PUBLICATION there WITH (connect = false)"
    run(f"CREATE SUBSCRIPTION beside_sub {given}", shop.database)
    try:
        dumped = stage.live(Dump(), shop, stage.scope("dump"), to=backups, format=form).artifact
        step = life(stage, shop, dumped)
        assert step.go() == WHOLE
        assert step.end().rows == 1200
        assert run("SELECT count(*) FROM pg_subscription") == [(1,)], "the live database's"
        assert release(stage, shop, step).go() == ["drop"]
        assert copies(postgres_server) == set()
    finally:
        run("ALTER SUBSCRIPTION beside_sub SET (slot_name = NONE)", shop.database)
        run("DROP SUBSCRIPTION beside_sub", shop.database)


def test_a_login_that_was_taken_away_since_does_not_come_back(
    stage: Stage, shop: Postgres, backups: Store, postgres_server: PostgresServer
) -> None:
    """A restore test of an older backup may not let in again who has left: the role owns what it owned, and no more."""
    run = postgres_server.sql
    run("CREATE ROLE beside_left LOGIN SUPERUSER PASSWORD 'known to who has left'")
    run("GRANT pg_write_all_data TO beside_left")
    run("ALTER TABLE shop.orders OWNER TO beside_left", shop.database)
    dumped = stage.live(Dump(), shop, stage.scope("dump"), to=backups).artifact
    run(f"ALTER TABLE shop.orders OWNER TO {shop.user}", shop.database)
    run("DROP ROLE beside_left")
    step = life(stage, shop, dumped)
    step.go()
    name = step.end().database
    assert run("SELECT tableowner FROM pg_tables WHERE tablename = 'orders'", name) == [("beside_left",)]
    rights = "SELECT rolcanlogin, rolsuper, rolpassword, pg_has_role(oid, 'pg_write_all_data', 'MEMBER') FROM pg_authid"
    assert run(f"{rights} WHERE rolname = 'beside_left'") == [(False, False, None, False)]
    release(stage, shop, step).go()
