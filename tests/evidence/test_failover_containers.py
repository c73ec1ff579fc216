"""The plans for a pair of servers, both in containers, run by the real program while a client writes.

One pair goes through all of it, and is killed on the way; the many kills are `python -m tests.sweep.plans --there`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from tests.evidence.kills import processes_about
from tests.evidence.program import PLANS, Program
from tests.evidence.site import site
from tests.evidence.test_failover import BEGINS_WITHIN_S, Client, House, rows
from tests.evidence.witness import children_of, until
from tests.fixtures.containers import exec_in
from tests.fixtures.pair_in_containers import DATA, ContainedServer, PairInContainers

pytestmark = [pytest.mark.docker, pytest.mark.slow]

Contained = House[PairInContainers]


@pytest.fixture
def house(pair_in_containers: PairInContainers, tmp_path: Path) -> Iterator[Contained]:
    (tmp_path / "bases").mkdir(mode=0o700)
    with site() as url:
        yield House(pair_in_containers, pair_in_containers.first.project, Program(tmp_path, {}), url)


def begun(house: Contained, operation: str, *arguments: str | Path, everything: bool) -> None:
    """Begin, or go on, and kill the engine once an operation has begun; ``everything``: one-off containers too."""
    program = house.program
    known = {run: len(program.events(run)) for run in program.runs}
    engine = program.start(*arguments)

    def there() -> bool:
        new = program.events()[known.get(program.last, 0) :] if program.runs else []
        return any(one["event"] == "operation.started" and one["operation"] == operation for one in new)

    until(lambda: there() or engine.poll() is not None, BEGINS_WITHIN_S, f"{operation} begins")
    assert there(), (program.folder / "output").read_text()
    engine.kill()
    engine.wait(60)
    if not everything:
        return
    from docker.errors import APIError

    while doomed := {*processes_about(program.directory()), *children_of(program.directory())}:
        for pid in doomed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    for one in house.app.client.containers.list(filters={"label": f"runbook.run={program.last}"}, ignore_removed=True):
        with suppress(APIError):  # it has ended by itself
            one.kill()


def leads(server: ContainedServer) -> bool:
    """Whether it takes writes."""
    try:
        server.sql("INSERT INTO notes VALUES (0)")
    except psycopg.errors.ReadOnlySqlTransaction:
        return False
    server.sql("DELETE FROM notes WHERE number = 0")
    return True


def seen(server: ContainedServer) -> tuple[str, str]:
    """What a dry-run could have changed: whether it runs, since when, its configuration and what lies beside its files."""
    files = exec_in(server.container, ["sh", "-c", f"cd {DATA}; ls -A; cat *.conf"])[1].decode()
    return str(server.container.attrs["State"]["StartedAt"]), files


def test_taken_over_come_back_and_changed_places(house: Contained) -> None:
    pair, program = house.pair, house.program
    go_on = ("--confirm", "postgres", "--yes")
    before = [seen(one) for one in (pair.first, pair.second)]
    for plan in ("failover", "switchover", "rejoin-standby"):
        ran = program.run("plan", PLANS / f"{plan}.yaml", "--env", house.environment("a", "b"))
        assert ran.code in (0, 4), ran.said
    assert [seen(one) for one in (pair.first, pair.second)] == before, "a dry-run changes nothing"

    client = Client(pair, pair.first)
    until(lambda: len(pair.acknowledged) > 5, BEGINS_WITHIN_S, "the client writes")
    pair.cut_off(pair.second)
    cut = len(pair.acknowledged)
    until(lambda: len(pair.acknowledged) > cut + 5, BEGINS_WITHIN_S, "the client writes on")
    pair.crash(pair.first)
    client.stop()

    # the standby takes over: killed as it is promoted, and gone on with
    received = rows(pair.second)
    begun(house, "promote", "apply", *house.arguments("failover", "a", "b"), everything=True)
    assert house.resume().code == 0
    assert rows(pair.second) == received, "exactly what was received is there"
    lost = pair.lost(pair.second)
    assert lost == set(range(max(received) + 1, max(pair.acknowledged) + 1)), "the last ones, and no other"
    assert (program.outputs("promote")["lost_nothing"], program.outputs("lag")["estimate"]) == (None, True)
    assert house.running() == {"backend"}
    pair.write(3, on=pair.second)
    pair.first.start()
    assert (leads(pair.first), leads(pair.second)) == (False, True), "never two primaries"

    # it comes back: killed as it is copied, rewound and exchanged
    begun(house, "copy", "apply", *house.arguments("rejoin-standby", "b", "a"), everything=False)
    begun(house, "rewind", "resume", program.last, *go_on, everything=True)
    begun(house, "move", "resume", program.last, *go_on, everything=True)
    ran = house.resume()
    assert ran.code == 0, ran.said
    out = program.outputs("rewind")
    # a commit that was on its way when the server died may be on disk without having been acknowledged
    assert out["discarded_commits"] - len(lost) in (0, 1)
    kept = Path(out["kept_as"]).name
    assert pair.first.beside(f"ls -A {DATA} | grep rb_").split() == [kept], "what was lost, and nothing else"
    pair.caught_up(pair.second, pair.first)
    assert rows(pair.first) == rows(pair.second)
    until(lambda: not processes_about(program.state), BEGINS_WITHIN_S, "supervisors leave")
    assert b"correct-horse" not in b"".join(path.read_bytes() for path in program.state.rglob("*") if path.is_file())

    # they change places while a client writes, and nothing more is lost
    client = Client(pair, pair.second)
    written = len(pair.acknowledged)
    until(lambda: len(pair.acknowledged) > written + 5, BEGINS_WITHIN_S, "the client writes")
    ran = house.apply("switchover", "b", "a")
    client.stop()
    assert ran.code == 0, ran.said
    assert pair.lost(pair.first) == lost
    assert program.outputs("promote")["lost_nothing"] is True
    assert (leads(pair.first), leads(pair.second)) == (True, False)
    pair.caught_up(pair.first, pair.second)
    assert pair.lost(pair.second) == lost
