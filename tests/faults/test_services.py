"""The faults of the guides round the database: 10 and 11 (the service is asked too early, or not at all), 14 (terminals)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runbook.plan.file import FrozenReader
from runbook.plan.load import load_plan
from tests.evidence.program import PLANS, Program
from tests.evidence.servers import InContainer
from tests.evidence.site import broken_site
from tests.evidence.stacks import Stack
from tests.evidence.witness import rows_of

CHECK = """\
runbook: 1
name: answers
systems: {site: web}
steps:
  - {id: answers, uses: http.check, on: site, with: {path: /api/health, status: 200}, timeout: 1m}
"""


def test_fault_10_an_error_page_passes_for_health(tmp_path: Path) -> None:
    with broken_site() as url:
        guide = subprocess.run(["curl", "-s", f"{url}/api/health"], capture_output=True, timeout=60, check=False)
        assert guide.returncode == 0, "curl -s is content with any answer"
        (tmp_path / "plan.yaml").write_text(CHECK)
        (tmp_path / "environment.yaml").write_text(
            f'environment: faults\nsystems:\n  site: {{type: web, url: "{url}"}}\n'
        )
        program = Program(tmp_path, {"NO_COLOR": "1"})
        ran = program.run("apply", tmp_path / "plan.yaml", "--env", tmp_path / "environment.yaml")
    assert ran.code == 1
    assert "500" in ran.said


@pytest.mark.parametrize("name", ["restore-db", "restore-db-pitr"])
def test_fault_10_health_is_asked_after_the_services_were_started(name: str) -> None:
    plan = load_plan(name, FrozenReader({name: (PLANS / f"{name}.yaml").read_bytes()}))
    order = [step.uses for step in plan.steps]
    assert order.index("compose.start") < order.index("http.check")


@pytest.mark.docker
@pytest.mark.slow
def test_fault_11_a_server_that_has_just_been_started_is_not_ready(civicq: Stack) -> None:
    """The guide starts the container and connects at once; the program waits until it is healthy."""
    civicq.back_up()
    server, database = civicq.server, civicq.database
    assert isinstance(server, InContainer)
    before = rows_of(server, database)
    server.container.stop(timeout=20)
    server.container.start()
    at_once = server.container.exec_run(["psql", "-U", server.user, "-d", database, "-c", "SELECT 1"])
    waits = civicq.program.folder / "wait.yaml"
    waits.write_text(
        "runbook: 1\nname: ready\nsystems: {app: compose, db: postgres}\nsteps:\n"
        f"  - {{id: ready, uses: compose.wait_healthy, on: app, with: {{services: [{civicq.guide.service}]}}, timeout: 5m}}\n"
        "  - {id: ask, uses: postgres.query, on: db, with: {query: SELECT 1 AS one}, timeout: 1m}\n"
    )
    ran = civicq.apply(waits)
    server.found_again()
    assert ran.code == 0, f"{ran.said}\n(at once: {at_once})"
    assert rows_of(server, database) == before


@pytest.mark.docker
@pytest.mark.slow
def test_fault_14_a_terminal_spoils_the_stream(civicq: Stack) -> None:
    """`docker-compose exec` without -T gives the program a terminal, which turns every line feed into two bytes."""
    server = civicq.server
    assert isinstance(server, InContainer)
    words = ["pg_dump", "-U", server.user, "-d", civicq.database, "-Fc", "-Z0"]
    _, plain = server.container.exec_run(words, tty=False, stderr=False)
    _, spoilt = server.container.exec_run(words, tty=True, stderr=False)
    assert isinstance(plain, bytes) and isinstance(spoilt, bytes)
    assert spoilt.count(b"\r\n") > plain.count(b"\r\n")

    dump = civicq.back_up()  # the program itself has no terminal either: its standard input is /dev/null, as under cron
    assert dump.read_bytes()[:5] == b"PGDMP"
    assert civicq.apply("verify-backup").code == 0
