"""The plans for a pair of servers, run by the real program while a client writes: what is lost, what isn't, killed and resumed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any, Generic, TypeVar

import psycopg
import pytest

from runbook.host import host_json
from tests.evidence.kills import over, processes_about, under_way
from tests.evidence.program import PLANS, Program, Ran
from tests.evidence.site import site
from tests.evidence.witness import children_of, until
from tests.fixtures.account import Account, server_folder
from tests.fixtures.containers import ComposeProject
from tests.fixtures.pair import Both, Pair, Server

pytestmark = [pytest.mark.docker, pytest.mark.slow]

BEGINS_WITHIN_S = 300.0


@dataclass
class Client:
    """Commits one row after the other until the server is gone, and knows which commits were acknowledged."""

    pair: Both[Any]
    server: Server
    thread: Thread = field(init=False)
    ended: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self.thread = Thread(target=self._write, daemon=True)
        self.thread.start()

    def _write(self) -> None:
        with suppress(psycopg.Error):
            while not self.ended.is_set():
                self.pair.write(1, on=self.server)

    def has_written(self, count: int) -> None:
        """Wait until so many more commits were acknowledged."""
        known = len(self.pair.acknowledged)
        until(lambda: len(self.pair.acknowledged) >= known + count, BEGINS_WITHIN_S, f"{count} more commits")

    def stop(self) -> None:
        """It writes no more."""
        self.ended.set()
        self.thread.join(60)


P = TypeVar("P", bound=Both[Any])


@dataclass
class House(Generic[P]):
    """A pair, the services that write, a web service, a store, and the program."""

    pair: P
    app: ComposeProject
    program: Program
    url: str

    def environment(self, primary: str, standby: str) -> Path:
        """The environment, with the present roles."""
        systems = {"a": self.pair.primary, "b": self.pair.standby}

        def fields(key: str) -> dict[str, object]:
            one, names = systems[key], ("address", "port", "user", "database", "binaries", "data_directory")
            kept = {name: getattr(one, name) for name in names}
            password = {"file": str(self.program.folder / "password")}
            return {"type": "postgres", "host": host_json(one.host), **kept, "password": password}

        body = {
            "environment": f"pair-{primary}",
            "live": True,
            "inputs": {"writers": ["backend"], "probe": "SELECT count(*) FROM notes"},
            "systems": {
                "primary": fields(primary),
                "standby": fields(standby),
                "app": {"type": "compose", "project": self.app.name},
                "site": {"type": "web", "url": self.url},
                "bases": {"type": "store", "url": f"file://{self.program.folder}/bases"},
            },
        }
        path = self.program.folder / f"pair-{primary}.yaml"
        path.write_text(json.dumps(body))
        return path

    def arguments(self, plan: str, primary: str, standby: str, *more: str) -> list[str | Path]:
        """The arguments of `apply`."""
        environment = self.environment(primary, standby)
        given = () if plan == "failover" else ("-i", f"passfile={self.pair.passfile}")
        return [PLANS / f"{plan}.yaml", "--env", environment, "--confirm", "postgres", "--yes", *given, *more]

    def apply(self, plan: str, primary: str, standby: str, *more: str) -> Ran:
        """Run a plan; a person who is asked has pointed the services elsewhere, and says so."""
        return self.on(self.program.run("apply", *self.arguments(plan, primary, standby, *more)))

    def resume(self) -> Ran:
        """Go on with the newest run; one that came to its end before it was killed is left alone."""
        if over(self.program):
            return Ran(0, "", "")
        return self.on(self.program.run("resume", self.program.last, "--confirm", "postgres", "--yes"))

    def on(self, ran: Ran) -> Ran:
        """Answer the person's step, if it waits for that, and go on."""
        if ran.code != 6:
            return ran
        assert self.running() == set(), "the services stay stopped while a person works"
        said = self.program.run("confirm", self.program.last, "repoint")
        assert said.code == 0, said.said
        return self.program.run("resume", self.program.last, "--confirm", "postgres", "--yes")

    def running(self) -> set[str]:
        """The services that run, beside the two servers."""
        for container in self.app.containers.values():
            container.reload()
        up = {service for service, container in self.app.containers.items() if container.status == "running"}
        return up - {"a", "b", "keeper"}


@pytest.fixture
def house(
    make_pair: Callable[..., Pair],
    compose_project: Callable[..., ComposeProject],
    postgres_account: Account,
    tmp_path: Path,
) -> Iterator[House[Pair]]:
    with server_folder(postgres_account, "wal") as archive, site() as url:
        command = f"test ! -e {archive}/%f && cp %p {archive}/%f"
        pair = make_pair(archive_mode="on", archive_command=command)
        (tmp_path / "bases").mkdir(mode=0o700)
        yield House(pair, compose_project("backend"), Program(tmp_path, {}), url)


def killed_at(house: House[Any], plan: str, operation: str, *roles: str, everything: bool = False) -> None:
    """Begin a plan, and kill the engine once that operation has begun; a person's step before it is answered.

    ``everything``: the supervisor and the children too.
    """
    program = house.program
    engine = program.start("apply", *house.arguments(plan, *roles))
    begun = partial(under_way, program, operation)
    until(lambda: begun() or engine.poll() is not None, BEGINS_WITHIN_S, f"{operation} begins")
    if engine.poll() == 6:
        assert program.run("confirm", program.last, "repoint").code == 0
        engine = program.start("resume", program.last, "--confirm", "postgres", "--yes")
        until(lambda: begun() or engine.poll() is not None, BEGINS_WITHIN_S, f"{operation} begins")
    assert begun(), (program.folder / "output").read_text()
    engine.kill()
    engine.wait(60)
    while everything and (doomed := {*processes_about(program.directory()), *children_of(program.directory())}):
        for pid in doomed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def rows(server: Server) -> set[int]:
    return {int(str(row[0])) for row in server.sql("SELECT number FROM notes")}


def test_a_failover_while_a_client_writes_and_the_way_back(house: House[Pair]) -> None:
    pair = house.pair
    client = Client(pair, pair.first)
    client.has_written(20)
    pair.cut_off(pair.second)
    client.has_written(20)
    pair.crash(pair.first)
    client.stop()
    received = rows(pair.second)
    ran = house.apply("failover", "a", "b")
    assert ran.code == 0, ran.said
    assert rows(pair.second) == received, "exactly what was received is there"
    lost = pair.lost(pair.second)
    assert lost and lost == set(range(max(received) + 1, max(pair.acknowledged) + 1)), "the last ones, and no other"
    out = house.program.outputs("promote")
    assert (out["timeline"], out["lost_nothing"]) == (2, None)
    assert house.program.finished()["rpo"]["met"] is True
    assert house.program.outputs("lag")["estimate"] is True
    assert house.running() == {"backend"}

    pair.write(3, on=pair.second)
    ran = house.apply("rejoin-standby", "b", "a")
    assert ran.code == 0, ran.said
    out = house.program.outputs("rewind")
    # a commit that was on its way when the server died may be on disk without having been acknowledged
    assert out["discarded_commits"] - len(lost) in (0, 1)
    assert Path(out["kept_as"]).is_dir()
    pair.caught_up(pair.second, pair.first)
    assert rows(pair.first) == rows(pair.second)

    ran = house.apply("switchover", "b", "a")
    assert ran.code == 0, ran.said
    assert pair.lost(pair.first) == lost, "the switchover back loses nothing more"
    assert pair.first.sql("SELECT pg_is_in_recovery()") == [(False,)]
    assert pair.second.sql("SELECT pg_is_in_recovery()") == [(True,)]


def test_a_switchover_under_load_loses_nothing(house: House[Pair]) -> None:
    """Even where a writer was forgotten: it is cut off, and every commit that it was told of is there."""
    pair = house.pair
    client = Client(pair, pair.first)
    client.has_written(21)
    ran = house.apply("switchover", "a", "b")
    client.stop()
    assert ran.code == 0, ran.said
    assert len(pair.acknowledged) > 20
    assert pair.lost(pair.second) == set()
    assert house.program.outputs("promote")["lost_nothing"] is True
    pair.write(2, on=pair.second)
    pair.caught_up(pair.second, pair.first)
    assert pair.lost(pair.first) == set()


@pytest.mark.parametrize(
    ("operation", "everything"),
    [*((name, False) for name in ("mark", "stop", "promote", "checkpoint", "settings", "start")), ("stop", True)],
)
def test_a_switchover_whose_engine_is_killed(house: House[Pair], operation: str, everything: bool) -> None:
    pair = house.pair
    pair.write(20)
    killed_at(house, "switchover", operation, "a", "b", everything=everything)
    assert house.resume().code == 0
    assert pair.lost(pair.second) == set()
    pair.write(1, on=pair.second)
    pair.caught_up(pair.second, pair.first)
    assert pair.lost(pair.first) == set()
    assert house.running() == {"backend"}


@pytest.mark.parametrize(
    ("operation", "everything"),
    [
        *((name, False) for name in ("copy", "recover", "set_aside", "start")),
        *((name, True) for name in ("recover", "rewind", "own_settings", "into_place", "start")),
    ],
)
def test_a_rejoin_whose_engine_is_killed(house: House[Pair], operation: str, everything: bool) -> None:
    pair = house.pair
    pair.write(10)
    pair.caught_up(pair.first, pair.second)
    pair.cut_off(pair.second)
    pair.write(5)
    pair.crash(pair.first)
    assert house.apply("failover", "a", "b").code == 0
    pair.write(5, on=pair.second)
    killed_at(house, "rejoin-standby", operation, "b", "a", everything=everything)
    ran = house.resume()
    assert ran.code == 0, ran.said
    assert house.program.outputs("rewind")["discarded_commits"] == 5
    pair.caught_up(pair.second, pair.first)
    assert pair.lost(pair.first) == pair.lost(pair.second) == {11, 12, 13, 14, 15}


@pytest.mark.parametrize("operation", ["mark", "promote", "checkpoint"])
def test_a_failover_whose_engine_is_killed(house: House[Pair], operation: str) -> None:
    pair = house.pair
    pair.write(10)
    pair.caught_up(pair.first, pair.second)
    pair.cut_off(pair.second)
    pair.write(5)
    pair.crash(pair.first)
    killed_at(house, "failover", operation, "a", "b", everything=True)
    ran = house.resume()
    assert ran.code == 0, ran.said
    assert pair.lost(pair.second) == {11, 12, 13, 14, 15}
    pair.first.start()
    assert pair.first.sql("SELECT pg_is_in_recovery()") == [(True,)], "the fence holds"


def test_a_machine_that_was_out_of_reach_comes_back_as_a_second_primary(house: House[Pair]) -> None:
    """A person attested that it was off, and it was started again: it is fenced before anything else, and its rows are counted."""
    pair = house.pair
    pair.write(4)
    pair.caught_up(pair.first, pair.second)
    pair.crash(pair.first)
    seen = pair.primary
    pair.primary = seen.model_copy(update={"data_directory": "", "port": 1})
    ran = house.apply("failover", "a", "b", "-i", "attested=J. Doe pulled the power at 03:12")
    assert ran.code == 0, ran.said
    assert house.program.outputs("fence")["how"] == "attested"
    pair.primary = seen
    pair.write(2, on=pair.second)
    pair.first.start()
    pair.write(3, on=pair.first)
    ran = house.apply("rejoin-standby", "b", "a")
    assert ran.code == 0, ran.said
    assert house.program.outputs("rewind")["discarded_commits"] == 3
    pair.caught_up(pair.second, pair.first)
    assert pair.lost(pair.first) == {7, 8, 9}


def test_a_failover_from_a_primary_that_lives_but_can_not_be_seen_is_refused(house: House[Pair]) -> None:
    pair = house.pair
    pair.primary = pair.primary.model_copy(update={"data_directory": "", "port": 1})
    ran = house.apply("failover", "a", "b")
    assert ran.code == 4, ran.said
    assert "the old primary is not fenced" in ran.said
    assert pair.second.sql("SELECT pg_is_in_recovery()") == [(True,)]
    assert pair.first.sql("SELECT pg_is_in_recovery()") == [(False,)]


@pytest.mark.parametrize("plan", ["failover", "switchover", "rejoin-standby"])
def test_a_dry_run_changes_nothing(house: House[Pair], plan: str) -> None:
    pair = house.pair
    before = [sorted(path.name for path in one.data_dir.iterdir()) for one in (pair.first, pair.second)]
    ran = house.program.run("plan", PLANS / f"{plan}.yaml", "--env", house.environment("a", "b"))
    assert ran.code in (0, 4), ran.said
    assert [sorted(path.name for path in one.data_dir.iterdir()) for one in (pair.first, pair.second)] == before
    assert pair.second.sql("SELECT status FROM pg_stat_wal_receiver") == [("streaming",)]
    assert house.running() == {"backend"}
