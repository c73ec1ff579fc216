"""A dry-run changes nothing, nor does the doctor.

Their calls of the system, the database's own statistics and catalogues, the store say so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.evidence.kills import processes_about
from tests.evidence.program import PLANS
from tests.evidence.servers import InContainer
from tests.evidence.stacks import Stack
from tests.evidence.traces import STRACE, calls
from tests.evidence.witness import DockerWitness, catalogs, databases, tree, until, written

pytestmark = [pytest.mark.docker, pytest.mark.slow]

OF_A_PAIR = {"failover", "rejoin-standby", "switchover"}
"""Their dry-runs are tried where there are two servers: test_failover.py."""
SHIPPED = sorted({path.stem for path in PLANS.glob("*.yaml")} - OF_A_PAIR)
TRACED = ("-e", "trace=%file,%network,fchmod,fchown,ftruncate,fallocate,mknod,bpf,init_module")
MAY_BE_WRITTEN = ("/dev/null", "/dev/tty", "/proc/self/")
INPUTS = {
    "find-change": ("-i", "since=2026-02-14T12:00:00Z", "-i", "until=2036-02-14T12:00:00Z"),
    "restore-db-pitr": ("-i", "target=2026-02-14T12:00:00Z"),
    "restore-rows": ("-i", "accident={now}", "-i", "tables=users"),
}


@pytest.fixture(scope="module", params=["container", "here"])
def saved(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Both kinds of stack, with a backup."""
    stack: Stack = request.getfixturevalue("civicq" if request.param == "container" else "civicq_here")
    stack.back_up()
    yield stack


def strays(trace: Path, *allowed: Path) -> list[str]:
    """Calls that changed something, or opened it for writing, elsewhere than they may."""
    places = (*MAY_BE_WRITTEN, *(str(path) for path in allowed))
    found = []
    for call in calls(trace):
        if call.name.startswith("f") and call.name in ("fchmod", "fchown", "ftruncate", "fallocate"):
            paths = [call.arguments.partition("<")[2].partition(">")[0]]
        elif call.changes:
            paths = call.paths[:1] if call.name.startswith("open") else call.paths
        else:
            continue
        # the interpreter keeps what it compiled beside the program's files, where it may
        found += [f"{call.name} {path}" for path in paths if not path.startswith(places) and "/__pycache__" not in path]
    return found


def partners(trace: Path) -> set[str]:
    """What was connected to, sent to or listened on: the path of a socket, or an address and a port."""
    found: set[str] = set()
    for call in calls(trace):
        if call.name not in ("connect", "bind", "sendto", "listen") or "AF_NETLINK" in call.arguments:
            continue
        if path := re.search(r'sun_path=@?"([^"]*)"', call.arguments):
            found.add(path[1])
        elif port := re.search(r"sin6?_port=htons\((\d+)\)", call.arguments):
            address = re.search(r'inet_(?:addr|pton)\((?:AF_INET6, )?"([^"]*)"', call.arguments)
            found.add(f"{address[1] if address else ''}:{port[1]}")
    return found


def allowed_partners(stack: Stack) -> set[str]:
    """The stack's own server and web service, the Docker Engine, and the system's name services."""
    server = stack.server
    place = f"{server.host}:5432" if isinstance(server, InContainer) else f"127.0.0.1:{server.port}"
    web = stack.url.partition("//")[2]
    docker = urlsplit(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")).path
    ipv6_probe = "::1:0"  # the HTTP library binds it once, to learn whether this machine speaks IPv6
    return {place, web, docker, "/var/run/nscd/socket", ipv6_probe}


def inert(stack: Stack, trace: Path, *arguments: str | Path) -> int:
    """Run a command that may only read, before all witnesses; gives its exit code."""
    program, temporary = stack.program, stack.program.folder / "tmp"
    temporary.mkdir(exist_ok=True)
    until(lambda: not processes_about(program.state), 60, "supervisors of earlier runs leave")
    before_files, before_store = tree(program.state), tree(stack.store)
    before_catalogs, before_names = catalogs(stack.server, stack.database), databases(stack.server)
    before_services, before_written = stack.states(), written(stack.server)

    program.under, program.extra = (*STRACE, *TRACED, "-o", str(trace)), {"TMPDIR": str(temporary)}
    try:
        with DockerWitness(stack.project) as engine:
            ran = program.run(*arguments)
    finally:
        program.under, program.extra = (), {}
    assert ran.code in (0, 1, 4), ran.said
    assert list(calls(trace)), "the witness was there"

    assert strays(trace, temporary) == []
    assert partners(trace) <= allowed_partners(stack)
    assert {action for _, action, _ in engine.events} <= {"exec_create", "exec_start", "exec_die"}
    assert list(temporary.iterdir()) == [], "and what it made for itself is gone"
    assert tree(program.state) == before_files
    assert tree(stack.store) == before_store
    assert catalogs(stack.server, stack.database) == before_catalogs
    assert databases(stack.server) == before_names
    assert written(stack.server) == before_written
    assert stack.states() == before_services
    return ran.code


@pytest.mark.parametrize("plan", SHIPPED)
def test_a_dry_run_writes_nowhere(saved: Stack, plan: str, tmp_path: Path) -> None:
    now = datetime.now(UTC).isoformat()
    given = (word.format(now=now) for word in INPUTS.get(plan, ()))
    inert(saved, tmp_path / "trace", "plan", saved.plan(plan), "--env", saved.environment, *given)


@pytest.mark.parametrize("plan", ["restore-db", "base-backup"])
def test_the_doctor_writes_nowhere(saved: Stack, plan: str, tmp_path: Path) -> None:
    """Not even into its own state directory; with an engine under a trace a system may be too slow for it."""
    assert inert(saved, tmp_path / "trace", "doctor", saved.plan(plan), "--env", saved.environment) in (0, 1)


def test_the_witnesses_see_a_change(saved: Stack, tmp_path: Path) -> None:
    """The same trace of a run that does write shows it, and the engine tells of a stop: the test above could fail."""
    service = saved.guide.others[0]
    with DockerWitness(saved.project) as engine:
        saved.project.containers[service].restart(timeout=1)
    assert {(service, "kill"), (service, "start")} <= {event[:2] for event in engine.events}
    program, trace = saved.program, tmp_path / "trace"
    program.under = (*STRACE, *TRACED, "-o", str(trace))
    try:
        assert saved.apply("verify-backup").code == 0
    finally:
        program.under = ()
    assert any("journal.jsonl" in stray for stray in strays(trace))


def test_the_database_tells_what_was_written(saved: Stack) -> None:
    before, catalogue = written(saved.server), catalogs(saved.server, saved.database)
    saved.sql("CREATE TABLE gone (id int)")
    assert catalogs(saved.server, saved.database) != catalogue
    saved.sql("DROP TABLE gone")
    assert catalogs(saved.server, saved.database) == catalogue
    assert written(saved.server) != before, "a change that was undone shows here"
