"""A real PostgreSQL on this machine and one in a container, through the command itself: what is told of them is so."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runbook.doctor import machine, systems
from runbook.doctor.facts import Need, Program, ServerFacts
from runbook.doctor.systems import Gatherer
from runbook.host import Docker
from runbook.operation import Json
from runbook.secret import FromFile
from runbook.system import Postgres
from tests.cli.terminal import Said, Terminal
from tests.fixtures.containers import PostgresContainer
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.postgres import FreshDatabases, PostgresServer

if TYPE_CHECKING:
    from docker.models.containers import Container

PLAN = """\
runbook: 1
name: copy
title: Dump a database
systems: {db: postgres, backups: store}
steps:
  - {id: dump, title: Dump, uses: postgres.dump, on: db, with: {to: backups}, timeout: 1h}
  - {id: prove, title: Prove, uses: postgres.verify_dump, on: db, with: {artifact: "{{ steps.dump.artifact }}"}, timeout: 1h}
"""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What answers on a busy machine answers."""
    monkeypatch.setattr(machine, "ENGINE_ANSWERS_WITHIN_S", PATIENCE_S)
    monkeypatch.setattr(systems, "GIVEN_UP_AFTER_S", PATIENCE_S)
    defaults = Gatherer.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "within_s", PATIENCE_S)


def secret(folder: Path, value: str) -> Path:
    """A file that only its owner may read."""
    file = folder / "password"
    file.touch(mode=0o600)
    file.write_text(value)
    return file


def written(folder: Path, database: str, password: Path) -> tuple[str, str]:
    """A plan and an environment, and a store beside them."""
    store = folder / "store"
    store.mkdir(mode=0o700)
    plan, environment = folder / "plan.yaml", folder / "environment.yaml"
    plan.write_text(PLAN)
    environment.write_text(f"""\
environment: tried
systems:
  db: {{type: postgres, {database}, password: {{file: {password}}}}}
  backups: {{type: store, url: "file://{store}"}}
""")
    return str(plan), str(environment)


def checks(said: Said, group: str) -> dict[str, dict[str, Json]]:
    """The checks of a group by their subject."""
    found = said.json["checks"]
    assert isinstance(found, list)
    return {str(one["subject"]): one for one in found if isinstance(one, dict) and one["group"] == group}


def server(database: Postgres) -> ServerFacts:
    """What a look at the system itself gives."""
    gatherer = Gatherer()
    try:
        (seen,), _ = gatherer.ask({"db": database}, {}, changed=frozenset())
    finally:
        gatherer.close()
    assert seen.problem is None
    assert isinstance(seen.detail, ServerFacts)
    return seen.detail


def test_a_server_here(postgres_server: PostgresServer, fresh_database: FreshDatabases, tmp_path: Path) -> None:
    name = fresh_database("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
    found = server(
        Postgres(
            type="postgres",
            key="db",
            address=postgres_server.host,
            port=postgres_server.port,
            user=postgres_server.user,
            database=name,
            password=FromFile(str(secret(tmp_path, postgres_server.password))),
        )
    )
    assert found.version == int(str(postgres_server.sql("SHOW server_version_num")[0][0]))
    assert (found.database_there, found.superuser) == (True, True)
    assert found.database_bytes == postgres_server.sql(f"SELECT pg_database_size('{name}')")[0][0]
    (whole,) = postgres_server.sql("SELECT sum(pg_database_size(oid))::bigint FROM pg_database WHERE NOT datistemplate")
    assert abs(found.cluster_bytes - int(str(whole[0]))) < 10_000_000
    assert found.data_directory == str(postgres_server.data_dir)
    assert found.free_bytes > 0
    assert abs(found.offset_s) < 2 + found.slack_s, "both read one clock"


def test_a_database_that_is_gone_and_a_plain_role(postgres_server: PostgresServer, tmp_path: Path) -> None:
    postgres_server.sql("CREATE ROLE plain_doctor LOGIN PASSWORD 'plain-battery-staple'")
    try:
        found = server(
            Postgres(
                type="postgres",
                key="db",
                address=postgres_server.host,
                port=postgres_server.port,
                user="plain_doctor",
                database="never_made",
                password=FromFile(str(secret(tmp_path, "plain-battery-staple"))),
            )
        )
    finally:
        postgres_server.sql("DROP ROLE plain_doctor")
    assert (found.database_there, found.superuser, found.database_bytes) == (False, False, 0)
    assert found.data_directory == "", "a plain role isn't told"


def test_the_command_on_a_server_here(
    runbook: Terminal, postgres_server: PostgresServer, fresh_database: FreshDatabases, tmp_path: Path
) -> None:
    """Told are its version, its clock and the programs of its own directory; a wrong password is a system that doesn't answer."""
    name = fresh_database()
    fields = (
        f"address: {postgres_server.host}, port: {postgres_server.port}, user: {postgres_server.user}, database: {name}, "
        f"binaries: {postgres_server.bin_dir}"
    )
    password = secret(tmp_path, postgres_server.password)
    plan, environment = written(tmp_path, fields, password)
    said = runbook("doctor", plan, "-e", environment, "--json")
    assert (said.code, said.json["ready"], said.err) == (0, True, "")
    assert checks(said, "systems")["db (postgres)"]["mark"] == "good"
    assert checks(said, "tools")["this machine"]["detail"] == "pg_dump, pg_dumpall, pg_restore"
    assert checks(said, "clock")["db"]["mark"] == "good"
    assert checks(said, "space")["backups"]["mark"] == "good"
    assert not runbook.state.exists(), "nothing is made"
    password.write_text("wrong-battery-staple")
    refused = runbook("doctor", plan, "-e", environment, "--json")
    assert (refused.code, refused.json["ready"]) == (1, False)
    silent = checks(refused, "systems")["db (postgres)"]
    assert (silent["mark"], silent["code"]) == ("fails", "E957")
    assert "password authentication failed" in str(silent["why"])
    assert "wrong-battery-staple" not in refused.out


def test_programs_that_are_missing_or_older(
    runbook: Terminal, postgres_server: PostgresServer, fresh_database: FreshDatabases, tmp_path: Path
) -> None:
    """In the system's directory: a pg_dump of version 11, and no pg_restore."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for program, version in (("pg_dump", "11.22"), ("pg_dumpall", "99.0")):
        file = binaries / program
        file.write_text(f"#!/bin/sh\necho '{program} (PostgreSQL) {version}'\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    fields = (
        f"address: {postgres_server.host}, port: {postgres_server.port}, user: {postgres_server.user}, "
        f"database: {fresh_database()}, binaries: {binaries}"
    )
    plan, environment = written(tmp_path, fields, secret(tmp_path, postgres_server.password))
    said = runbook("doctor", plan, "-e", environment, "--json")
    tools = checks(said, "tools")
    assert said.code == 1
    assert (tools["pg_dump"]["mark"], tools["pg_dump"]["code"]) == ("fails", "E953")
    assert (tools["pg_restore"]["mark"], tools["pg_restore"]["code"]) == ("fails", "E952")
    assert tools["pg_restore"]["why"] == "The step calls it: prove."
    assert tools["this machine"]["detail"] == "pg_dumpall"
    old = checks(said, "versions")["pg_dump 11.22 on this machine"]
    assert (old["mark"], old["code"]) == ("look", "E950")


@pytest.mark.docker
def test_a_server_in_a_container(runbook: Terminal, pg_container: PostgresContainer, tmp_path: Path) -> None:
    """Its programs are those of the container, its disk too; nothing is changed there."""
    name = str(pg_container.container.name)
    password = secret(tmp_path, pg_container.password)
    fields = f"host: {{docker: {name}}}, user: {pg_container.user}, database: {pg_container.database}"
    plan, environment = written(tmp_path, fields, password)
    # whoever changes anything needs a transaction's number; the WAL goes on by itself, with what the server notes now and then
    seen = "SELECT pg_snapshot_xmax(pg_current_snapshot()), count(*) FROM pg_class"
    before = pg_container.psql(seen)
    said = runbook("doctor", plan, "-e", environment, "--json")
    assert (said.code, said.json["ready"]) == (0, True)
    assert checks(said, "tools")[f"docker:{name}"]["detail"] == "pg_dump, pg_dumpall, pg_restore"
    assert "/var/lib/postgresql/data" in str(checks(said, "space")["db"]["detail"])
    assert checks(said, "permissions")["Docker Engine"]["mark"] == "good"
    assert any(subject.endswith(f"on docker:{name}") for subject in checks(said, "versions"))
    assert pg_container.psql(seen) == before
    pg_container.container.stop(timeout=5)
    down = runbook("doctor", plan, "-e", environment, "--json")
    assert down.code == 1
    assert "exited" in str(checks(down, "systems")["db (postgres)"]["why"])


@pytest.mark.docker
def test_programs_of_a_container(run_container: Callable[..., Container]) -> None:
    host = Docker(str(run_container().name))
    wanted = (Need(host, "pg_dump"), Need(host, "no-such-program"), Need(host, "/opt/none/pg_ctl"))
    gatherer = Gatherer()
    try:
        _, found = gatherer.ask({}, {host: wanted}, changed=frozenset())
    finally:
        gatherer.close()
    programs = found[host]
    assert isinstance(programs, dict)
    assert programs["pg_dump"].version.startswith("pg_dump (PostgreSQL) 15.")
    assert programs["no-such-program"] == Program("")
    assert programs["/opt/none/pg_ctl"].aside, "it lies in the folder of its version"
