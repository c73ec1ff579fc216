"""The ends that a run can come to, each brought about with the real program; one that does not come about is a failure."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.canary import plans, wrong
from tests.canary.house import House, Program, Ran, Reader, fresh
from tests.canary.servers import Servers
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.process import lives

POINTS = (
    *(
        "journal.before_write:2",
        "journal.before_write:7",
        "journal.after_write:5",
        "journal.after_write:9",
        "journal.after_sync:8",
    ),
    *(
        "journal.after_head:3",
        "journal.after_head:8",
        "supervisor.start:1",
        "supervisor.executed:1",
        "supervisor.recorded:1",
    ),
)
"""Where the engine or the supervisor is killed, and at which passage."""
IN_CHILD = frozenset({"environment", "file", "command", "key of several lines"})
LIGHT = IN_CHILD | {"database password", "web header", "web authorization", "minted"}
ONCE_BEGUN = LIGHT - {"minted"}
"""What was used once everything that is too slow has begun."""
_WAITING = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation IS NOT NULL"
BROKEN = """\
import sys

from runbook.transports import http


def send(request, bound, *, redactor):
    everything = dict(request.headers)
    raise LookupError(f"nothing of this was expected: {everything!r} {list(everything.values())}")


http.send = send

from runbook.cli.main import main

main()
"""


@dataclass(frozen=True)
class End:
    """``bring`` brings it about in a house; ``uses`` are the kinds of secret that have to have been used by then."""

    name: str
    bring: Callable[[House], None]
    uses: frozenset[str]


@contextmanager
def house(server: PostgresServer) -> Iterator[House]:
    """A house with fresh canaries, watched as long as it stands."""
    servers = Servers()
    with tempfile.TemporaryDirectory(prefix="runbook-canary-") as folder:
        made = House(Path(folder), server, servers, fresh(servers.web))
        try:
            made.open()
            with made.watch:
                yield made
        finally:
            made.close()


def well(house: House) -> None:
    """Every step succeeds, while everything is looked at: the child as it waits, and pg_dump as it does."""
    with house.server.connect(f"{house.role}_data") as locked:
        locked.execute("BEGIN")
        locked.execute("LOCK TABLE things IN ACCESS EXCLUSIVE MODE")
        program = house.start("apply", *house.order(plans.child(plans.WELL, house.root, waits=True, aws=True), "--yes"))
        child = house.reader(program)
        seen = house.watch.look()
        meant = {"environment", "AWS secret"} | ({"ambient"} if os.geteuid() == 0 else set())
        assert seen >= meant, f"the watch sees only {seen}; of the engine only root sees anything"
        child.let_go()
        house.until(lambda: bool(house.server.sql(_WAITING)), "pg_dump's waiting for the lock")
        house.watch.look()
        locked.execute("COMMIT")
    ended = program.end()
    assert ended.code == 0, ended.said
    assert (
        "systems      bucket (store): s3://canaries" in house.run("doctor", "-e", house.work / "environment.yaml").out
    )


def badly(house: House) -> None:
    """Every step fails, and what it fails with holds its secret; the records go to stdout as well."""
    house.servers.memory.agreeable = False
    ended = house.apply(
        plans.child(plans.BADLY, house.root, code=3, go_on=True, aws=True), "--json", "--parallel", "16"
    )
    _ends(ended, 1)
    failed = [event["step"] for event in house.events() if event["event"] == "step.failed"]
    assert sorted(map(str, failed)) == ["child", "fields", "page", "rotate", "rows", "tell"], failed
    _ends(house.run("doctor", "-e", house.work / "environment.yaml"), 1)


def too_slow(house: House) -> None:
    """A program, a statement and a request that come to no end, each ended by its step's time; and a probe that can't tell."""
    for limit in ("2s", "10s", "40s"):
        text = plans.child(
            plans.SLOWLY.replace("timeout: 2s", f"timeout: {limit}"), house.root, waits=True, timeout=limit, go_on=True
        )
        ended = house.apply(text, "--parallel", "16")
        if ended.code == 6 and set(house.used()) >= ONCE_BEGUN:
            return
    _ends(ended, 6)  # if one of them had not begun by then, the search says so


def killed_at(point: str) -> Callable[[House], None]:
    """Killed at a crash point, and gone on with."""

    def bring(house: House) -> None:
        # one after the other: records that are written together would be fewer passages
        first = house.apply(plans.child(plans.LIGHT, house.root), "--yes", "--parallel", "1", RUNBOOK_CRASH=point)
        assert first.code in (-signal.SIGKILL, 1, 6), first.said
        house.search()
        _ends(house.run("resume", "--yes"), 0)

    return bring


def supervisor_killed(house: House) -> None:
    """The supervisor dies while a child of it lives; the engine says that it can't know, and a resume begins the child anew."""
    program, child = _with_child(house)
    os.kill(house.supervisor(), signal.SIGKILL)
    _ends(program.end(), 6)
    house.search()
    child.let_go()
    _ends(house.run("resume", "--yes"), 0)


def aborted(house: House) -> None:
    """SIGABRT, which leaves a core where one may be left: the engine's, then the supervisor's."""
    program, child = _with_child(house)
    supervisor = house.supervisor()
    os.kill(program.process.pid, signal.SIGABRT)
    how = os.waitid(os.P_PID, program.process.pid, os.WEXITED | os.WNOWAIT)
    assert how is not None and how.si_code == os.CLD_KILLED, "the kernel says that the engine left a core"
    _ends(program.end(), -signal.SIGABRT)
    os.kill(supervisor, signal.SIGABRT)
    house.until(lambda: not lives(supervisor), "the supervisor's end")
    house.search()
    child.let_go()
    _ends(house.run("resume", "--yes"), 0)


def broken(house: House) -> None:
    """An exception that nobody expected, with secrets in its text and in its frame; told shortly, and as a traceback."""
    script = house.root / "broken.py"
    script.write_text(BROKEN)
    ended = house.apply(plans.child(plans.LIGHT, house.root), "--yes", script=script)
    _ends(ended, 1)
    assert "internal error" in ended.err and "LookupError: nothing of this was expected" in ended.err, ended.said
    traced = house.run("resume", "--yes", script=script, RUNBOOK_DEBUG="1")
    assert "Traceback (most recent call last)" in traced.err and "LookupError" in traced.err, traced.said
    _ends(house.run("resume", "--yes"), 0)


def bad_input(house: House) -> None:
    """Secrets in wrong places and of wrong kinds: refused in text and for programs; sources that can't be read."""
    wrong.validate(house)
    wrong.apply(house)
    wrong.sources(house)


def said_loudly(house: House) -> None:
    """There is no way to make it say more: -vvv is refused like any other unknown option."""
    ended = house.run("-vvv", "apply", *house.order(plans.child(plans.LIGHT, house.root)))
    _ends(ended, 2)
    _ends(house.run("apply", *house.order(plans.child(plans.LIGHT, house.root)), "-vvv"), 2)
    assert not (house.work / "state").exists()


ENDS = (
    End("success", well, LIGHT | {"AWS secret", "channel", "S3 access key", "S3 secret key", "Redis password"}),
    End("failure", badly, LIGHT | {"AWS secret", "channel", "S3 access key", "Redis password"} - {"minted"}),
    End("timeout", too_slow, ONCE_BEGUN),
    *(End(f"killed at {point}", killed_at(point), LIGHT) for point in POINTS),
    End("supervisor killed", supervisor_killed, LIGHT),
    End("aborted", aborted, LIGHT),
    End("internal error", broken, LIGHT),
    End("bad input", bad_input, frozenset()),
    End("asked to say more", said_loudly, frozenset()),
)


def afterwards(house: House) -> None:
    """Everything that only reads, after an end: none of it brings out what the run kept in."""
    plan = house.work / "plan.yaml"
    order = [plan, "--env", house.work / "environment.yaml"]
    runs: list[list[str | Path]] = []
    if house.runs:
        step = next(str(event["step"]) for event in house.events() if "step" in event)
        runs = [["show"], ["show", "--json"], ["logs"], ["logs", "last", step], ["runs"], ["runs", "--json"]]
    commands = [
        *runs,
        ["validate", *order],
        ["plan", *order],
        ["plan", *order, "--json"],
        ["apply", *order, "--dry-run"],
    ]
    commands += [["graph", plan], ["rehearse", *order], ["doctor", *order]]
    with ThreadPoolExecutor(2) as pool:
        for words, ended in zip(commands, pool.map(lambda words: house.run(*words), commands), strict=True):
            assert ended.code in (0, 1, 6), (words, ended.said)
            assert "internal error" not in ended.err, (words, ended.said)


def _ends(ran: Ran, code: int) -> None:
    assert ran.code == code, f"it ended with {ran.code}, not {code}:\n{ran.said}"


def _with_child(house: House) -> tuple[Program, Reader]:
    """A run whose child waits."""
    program = house.start("apply", *house.order(plans.child(plans.LIGHT, house.root, waits=True), "--yes"))
    return program, house.reader(program)
