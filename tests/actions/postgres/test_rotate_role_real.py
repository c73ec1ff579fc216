"""Rotation by a pair of logins, on a real server that logs every statement: no gap, no secret outside its file, killed anywhere."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from runbook.action import Undecidable
from runbook.actions.postgres.create_login import CreateLogin
from runbook.actions.postgres.disable_login import DisableLogin
from runbook.actions.postgres.prove_login import ProveLogin
from runbook.errors import ExitCode, Refused
from runbook.secret import FromFile
from runbook.system import Postgres
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.life import Life
from tests.actions.systems import on_this_machine
from tests.evidence import program as evidence
from tests.evidence.program import PLANS
from tests.evidence.site import site
from tests.fixtures.postgres import PostgresServer
from tests.runner.killed_program import Program

PAIR = ("app_a", "app_b")
ESCROW = "login.password"


@pytest.fixture
def server(postgres_cluster: Callable[..., PostgresServer]) -> PostgresServer:
    """A cluster that logs all that it is told, with a service's tables and the first of the pair in use."""
    made = postgres_cluster(log_statement="all", log_min_messages="debug1", log_min_error_statement="debug1")
    made.sql("CREATE DATABASE shop")
    made.sql("CREATE ROLE app_owner NOLOGIN")
    made.sql("CREATE ROLE app_a LOGIN PASSWORD 'first-of-all'")
    made.sql("GRANT app_owner TO app_a")
    made.sql("ALTER ROLE app_a SET role TO app_owner")
    made.sql("REVOKE CONNECT ON DATABASE shop FROM PUBLIC")
    made.sql("GRANT CONNECT, CREATE ON DATABASE shop TO app_owner")
    made.sql("CREATE SCHEMA app AUTHORIZATION app_owner", "shop")
    made.sql("CREATE TABLE app.notes (id serial PRIMARY KEY, text text)", "shop")
    made.sql("ALTER TABLE app.notes OWNER TO app_owner", "shop")
    return made


@pytest.fixture
def system(server: PostgresServer, tmp_path: Path) -> Postgres:
    return on_this_machine(server, tmp_path, database="shop")


def life(stage: Stage, system: Postgres, **written: object) -> Life:
    given = {"pair": PAIR, "owner": "app_owner", "escrow": ESCROW, **written}
    return Life(stage, CreateLogin(), system, stage.scope("create"), given)


def secret_of(stage: Stage) -> str:
    return (stage.directory / "escrow" / ESCROW).read_text().strip()


@contextmanager
def logged_in(server: PostgresServer, role: str, password: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    info = psycopg.conninfo.make_conninfo(server.dsn("shop"), user=role, password=password, application_name="service")
    with psycopg.connect(info, autocommit=True) as session:
        yield session


def can_login(server: PostgresServer) -> set[str]:
    return {str(row[0]) for row in server.sql("SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname ~ '^app_'")}


def disable(stage: Stage, system: Postgres, role: str, successor: str) -> Life:
    return Life(stage, DisableLogin(), system, stage.scope("disable"), {"role": role, "successor": successor})


def test_sessions_of_the_new_login_begin_as_those_of_the_one_in_use(
    stage: Stage, system: Postgres, server: PostgresServer
) -> None:
    """Without them the service would not find its tables, and wait for ever where it gave up before."""
    server.sql('ALTER ROLE app_a SET search_path TO app, "$user", public')
    server.sql("ALTER ROLE app_a IN DATABASE shop SET statement_timeout TO '7s'")
    server.sql("ALTER ROLE app_a SET app.motto TO 'it''s 100%'")
    server.sql("CREATE ROLE app_b NOLOGIN")
    server.sql("ALTER ROLE app_b SET work_mem TO '5MB'")
    step = life(stage, system)
    assert step.go(stop_after=2) == ["mint", "grant"]
    assert step.go() == ["mint", "grant", "set", "enable", "accepted"]
    step.end()
    settings = "SELECT name, setting FROM pg_settings WHERE name IN ('search_path', 'statement_timeout') ORDER BY 1"
    with logged_in(server, "app_b", secret_of(stage)) as new, logged_in(server, "app_a", "first-of-all") as used:
        for asked in (settings, "SHOW app.motto", "SELECT count(*) FROM notes"):
            assert new.execute(asked).fetchall() == used.execute(asked).fetchall()
        assert new.execute("SHOW work_mem").fetchall() == [("5MB",)], "what it had of its own stays"
    assert step.plan() == ()


def test_a_whole_rotation_and_what_both_make_belongs_to_the_owner(
    stage: Stage, system: Postgres, server: PostgresServer
) -> None:
    with logged_in(server, "app_a", "first-of-all") as session:
        session.execute("CREATE TABLE app.by_a (id int)")
        step = life(stage, system)
        assert step.go() == ["mint", "create", "grant", "set", "enable", "accepted"]
        out = step.end()
        assert (out.role, out.former, out.escrow) == ("app_b", "app_a", ESCROW)
        assert Path(out.file).stat().st_mode & 0o777 == 0o600
        session.execute("INSERT INTO app.by_a VALUES (1)")  # the one in use is not touched
        with logged_in(server, "app_b", secret_of(stage)) as new:
            new.execute("INSERT INTO app.by_a VALUES (2)")
            new.execute("CREATE TABLE app.by_b (id int)")
            new.execute("ALTER TABLE app.by_a ADD COLUMN more int")
            proof = {"role": "app_b", "former": "app_a", "escrow": ESCROW, "within": "60s"}
            seen = stage.live(ProveLogin(), system, stage.scope("prove"), **proof)
            assert (seen.sessions, seen.former_sessions) == (1, 1)
            closing = disable(stage, system, "app_a", "app_b")
            assert closing.go() == ["disable", "drained"]
            closing.end()
            new.execute("INSERT INTO app.by_b VALUES (1)")
        with pytest.raises(psycopg.OperationalError, match="terminat"):
            session.execute("SELECT 1")
    with (
        pytest.raises(psycopg.OperationalError, match="not permitted to log in"),
        logged_in(server, "app_a", "first-of-all"),
    ):
        pass
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'app'"
    assert server.sql(owners, "shop") == [("app_owner",)]
    assert closing.undo() == ["enable"]


def test_the_next_rotation_takes_the_first_again(stage: Stage, system: Postgres, server: PostgresServer) -> None:
    server.sql("CREATE ROLE app_b LOGIN PASSWORD 'x'")
    server.sql("ALTER ROLE app_a NOLOGIN")
    step = life(stage, system)
    assert step.go() == ["mint", "grant", "set", "enable", "accepted"]
    assert (step.end().role, step.end().former) == ("app_a", "app_b")
    with (
        pytest.raises(psycopg.OperationalError, match="authentication failed"),
        logged_in(server, "app_a", "first-of-all"),
    ):
        pass
    with logged_in(server, "app_a", secret_of(stage)):
        pass


def test_the_first_of_all_has_no_former(stage: Stage, system: Postgres, server: PostgresServer) -> None:
    step = life(stage, system, pair=["app_c", "app_d"])
    step.go()
    assert (step.end().role, step.end().former) == ("app_c", "")
    assert disable(stage, system, "", "app_c").go() == []


@pytest.mark.parametrize("stop_after", range(7))
def test_stopped_anywhere_and_resumed(stage: Stage, system: Postgres, server: PostgresServer, stop_after: int) -> None:
    step = life(stage, system)
    first = step.go(stop_after=stop_after)
    escrow = stage.directory / "escrow" / ESCROW
    minted = escrow.read_text() if escrow.exists() else None
    with logged_in(server, "app_a", "first-of-all"):
        pass
    step.go()
    out = step.end()
    assert (out.role, out.former) == ("app_b", "app_a"), f"the choice stays, though after {first} both can log in"
    assert minted in (None, escrow.read_text()), "one password, however often it is set"
    assert can_login(server) == {"app_a", "app_b"}
    closing = disable(stage, system, "app_a", "app_b")
    closing.go(stop_after=stop_after % 3)
    closing.go()
    closing.end()
    assert can_login(server) == {"app_b"}
    with logged_in(server, "app_b", secret_of(stage)):
        pass


def test_undo_lets_nobody_in_with_what_was_made(stage: Stage, system: Postgres, server: PostgresServer) -> None:
    step = life(stage, system)
    step.go()
    step.end()
    assert step.undo() == ["disable"]
    assert can_login(server) == {"app_a"}


def test_what_would_lock_somebody_out_is_refused(stage: Stage, system: Postgres, server: PostgresServer) -> None:
    with pytest.raises(Refused, match="can't log in"):
        disable(stage, system, "app_a", "app_b").plan()
    with pytest.raises(Refused, match="can't log in"):
        disable(stage, system, "app_a", "app_a").plan()
    with pytest.raises(Refused, match="this program logs in with"):
        disable(stage, system, server.user, "app_a").plan()
    with pytest.raises(Refused, match="no role app_nobody"):
        life(stage, system, owner="app_nobody").plan()
    with pytest.raises(Refused, match="superuser"):
        life(stage, system, owner=server.user).plan()
    server.sql("CREATE ROLE app_b LOGIN PASSWORD 'x'")
    with pytest.raises(Refused, match="can both log in"):
        life(stage, system).plan()
    assert can_login(server) == {"app_a", "app_b"}


def test_a_password_that_somebody_else_set_is_for_a_person(
    stage: Stage, system: Postgres, server: PostgresServer
) -> None:
    step = life(stage, system)
    step.go(stop_after=5)
    server.sql("ALTER ROLE app_b PASSWORD 'of-somebody-else'")
    with pytest.raises(Undecidable, match="can't be told"):
        step.plan()


def test_a_login_that_nobody_uses_is_not_proven(stage: Stage, system: Postgres) -> None:
    step = life(stage, system)
    step.go()
    step.end()
    proof = {"role": "app_b", "escrow": ESCROW, "within": "1s"}
    with pytest.raises(StepFailed, match="sessions"):
        stage.live(ProveLogin(), system, stage.scope("prove"), **proof)
    seen = stage.live(ProveLogin(), system, stage.scope("prove"), **proof, sessions=0)
    assert (seen.sessions, seen.former_sessions) == (0, 0)


PLAN = """\
runbook: 1
name: rotate
title: Rotate
environment:
  environment: here
  systems:
    db: {{type: postgres, address: {address}, port: {port}, user: {user}, database: shop, password: {{file: {secret}}}}}
systems: {{db: postgres}}
steps:
  - id: create
    uses: postgres.create_login
    on: db
    with: {{pair: [app_a, app_b], owner: app_owner, escrow: login.password}}
    timeout: 10m
  - id: deploy
    uses: shell.run
    with:
      shell: true
      script: |
        {{ printf '%s\\n' "$ROLE"; cat "$FILE"; }} > {config}.new
        mv {config}.new {config}
      env: {{ROLE: "{{{{ steps.create.role }}}}", FILE: "{{{{ steps.create.file }}}}"}}
      interrupted: repeat
    timeout: 10m
  - id: prove
    uses: postgres.prove_login
    on: db
    with: {{role: "{{{{ steps.create.role }}}}", former: "{{{{ steps.create.former }}}}", escrow: login.password, within: 2m}}
    timeout: 5m
  - id: disable
    uses: postgres.disable_login
    on: db
    with: {{role: "{{{{ steps.create.former }}}}", successor: "{{{{ steps.prove.role }}}}"}}
    timeout: 10m
"""


@dataclass
class Service:
    """Writes without a pause, with the login in its file; looks at the file before each write, as a restart would."""

    server: PostgresServer
    config: Path
    written: int = 0
    faults: list[str] = field(default_factory=list)
    stopping: bool = False

    def serve(self) -> None:
        known, session = "", None
        while not self.stopping:
            try:
                given = self.config.read_text()
                if given != known or session is None:
                    if session is not None:
                        session.close()
                    role, password = given.split()
                    info = psycopg.conninfo.make_conninfo(self.server.dsn("shop"), user=role, password=password)
                    known, session = given, psycopg.connect(info, autocommit=True, application_name="service")
                session.execute("INSERT INTO app.notes (text) VALUES ('x')")
                self.written += 1
            except (OSError, psycopg.Error) as error:
                self.faults.append(str(error))
                session = None
            time.sleep(0.01)
        if session is not None:
            session.close()


@contextmanager
def serving(server: PostgresServer, config: Path) -> Iterator[Service]:
    service = Service(server, config)
    thread = threading.Thread(target=service.serve)
    thread.start()
    try:
        yield service
    finally:
        service.stopping = True
        thread.join(60)


def files_with(folder: Path, secret: str) -> list[str]:
    found = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a supervisor on its way out takes its own away
            if path.is_file() and secret.encode() in path.read_bytes():
                found.append(path.relative_to(folder).as_posix())
    return sorted(found)


@pytest.mark.slow
def test_killed_at_every_record_of_the_journal_there_is_no_gap(
    server: PostgresServer, system: Postgres, tmp_path: Path, passages: Callable[[], Iterator[int]]
) -> None:
    """From one rotation to the next, each killed one record later, until one goes through unharmed."""
    config = tmp_path / "service.login"
    config.write_text("app_a\nfirst-of-all\n")
    assert isinstance(system.password, FromFile)
    filled = PLAN.format(
        address=system.address, port=system.port, user=system.user, secret=system.password.path, config=config
    )
    program = Program(tmp_path)
    (tmp_path / "plan.yaml").write_text(filled)
    used = ["app_a"]
    with serving(server, config) as service:
        for passage in passages():
            code = program.run("apply", str(tmp_path / "plan.yaml"), crash=f"journal.after_sync:{passage}")
            run = program.run_directory()
            whole = '"run.finished"' in (run / "journal.jsonl").read_text()
            if not whole:
                assert code == -signal.SIGKILL
                assert program.run("resume", run.name) == 0
            now = can_login(server)
            assert len(now) == 1 and now != {used[-1]}, f"after a kill at record {passage}"
            used += now
            assert config.read_text().split()[0] == used[-1]
            if whole:
                break
        assert passage > 8, "a kill for each time that a run wrote"
    assert service.faults == [], "no statement of the service failed, and no login"
    assert service.written > 50
    secret = config.read_text().split()[1]
    assert files_with(program.state, secret) == [f"runs/{program.run_directory().name}/escrow/login.password"]
    log = server.log.read_text()
    assert 'ALTER ROLE "app_' in log and "NOLOGIN" in log, "the server logs what it is told"
    for escrow in program.state.glob("runs/*/escrow/*"):
        assert escrow.read_text().strip() not in log
        assert len(files_with(program.state, escrow.read_text().strip())) == 1
    program.close()


def test_the_plan_that_ships_waits_for_the_deployment(server: PostgresServer, system: Postgres, tmp_path: Path) -> None:
    config = tmp_path / "service.login"
    config.write_text("app_a\nfirst-of-all\n")
    assert isinstance(system.password, FromFile)
    with site() as url, serving(server, config) as service:
        (tmp_path / "environment.yaml").write_text(
            "environment: here\ninputs: {logins: [app_a, app_b], owner: app_owner}\nsystems:\n"
            f"  db: {{type: postgres, address: {system.address}, port: {system.port}, user: {system.user}, database: shop, "
            f"password: {{file: {system.password.path}}}}}\n  site: {{type: web, url: '{url}'}}\n"
        )
        program = evidence.Program(tmp_path, {"NO_COLOR": "1"})
        ran = program.run("apply", PLANS / "rotate-role.yaml", "--env", tmp_path / "environment.yaml", "--yes")
        assert ran.code == ExitCode.WAITING, ran.said
        created = program.outputs("create")
        assert "the user is app_b" in ran.said and created["file"] in ran.said
        assert can_login(server) == {"app_a", "app_b"}
        (tmp_path / "new").write_text(f"{created['role']}\n{Path(created['file']).read_text()}")
        (tmp_path / "new").rename(config)
        assert program.run("confirm", program.last, "deploy").code == 0
        ran = program.run("resume", program.last, "--yes")
        assert ran.code == 0, ran.said
        assert can_login(server) == {"app_b"}
        assert program.outputs("prove")["sessions"] >= 1
    assert service.faults == []
