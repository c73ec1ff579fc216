"""What is shown is what runs, for the plans of a pair of servers, here and in containers: take over, come back, change places."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.evidence.agreement import all_witnesses_agree
from tests.evidence.program import PLANS
from tests.evidence.seen import LEAVES_WITHIN_S, LOGGED, Scene, taken
from tests.evidence.test_failover import House, house
from tests.evidence.test_failover_containers import house as contained
from tests.evidence.witness import until
from tests.fixtures.account import server_account, server_folder
from tests.fixtures.pair import Pair, make_pair
from tests.fixtures.pair_in_containers import WAL, PairInContainers

__all__ = ["contained", "house", "make_pair"]

pytestmark = [pytest.mark.docker, pytest.mark.slow]

ROLES = {"failover": ("a", "b"), "rejoin-standby": ("b", "a"), "switchover": ("b", "a")}
"""Who is primary and who is standby when each begins, in the order in which they follow one another."""
SHOWN = tuple(ROLES)
CONSENT = ("--confirm", "postgres", "--yes")


@pytest.fixture
def logs() -> Iterator[Path]:
    """A folder for the logs of both servers, however often a plan starts them anew."""
    with server_folder(server_account(), "log") as place:
        yield place


def told_to(place: Path, pair: Pair) -> None:
    """Each server tells every statement, in one file."""
    for server in (pair.first, pair.second):
        pairs = [word.split("=", 1) for word in LOGGED if word != "-c"]
        pairs += [["logging_collector", "on"], ["log_directory", str(place)], ["log_filename", "both.log"]]
        with (server.data_dir / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in pairs)
        server.restart()


def test_all_witnesses_agree(house: House[Pair], logs: Path, tmp_path: Path) -> None:
    told_to(logs, house.pair)
    pass_through(house, logs / "both.log", tmp_path)


def test_all_witnesses_agree_in_containers(contained: House[PairInContainers], tmp_path: Path) -> None:
    """Both log into the folder that they archive into; the sessions of the one are told from those of the other."""
    pair = contained.pair
    for server, tag in ((pair.first, "a"), (pair.second, "b")):
        pairs = dict(word.split("=", 1) for word in LOGGED if word != "-c")
        pairs |= {"logging_collector": "on", "log_directory": WAL, "log_filename": "both.log", "log_file_mode": "0666"}
        for name, value in {**pairs, "log_line_prefix": f"{tag}{pairs['log_line_prefix']}"}.items():
            server.sql(f"ALTER SYSTEM SET {name} = '{value}'")
        server.stop()
        server.start()
    pass_through(contained, tmp_path / "wal" / "both.log", tmp_path, server="a b")


def pass_through(house: House[Any], both: Path, tmp_path: Path, *, server: str = "") -> None:
    """The primary is lost; each plan is shown, run and witnessed, one after the other. ``both``: the log of both servers."""
    pair = house.pair
    pair.write(3)
    pair.caught_up(pair.first, pair.second)
    commands = tuple(str(row[0]) for row in pair.second.sql("SHOW archive_command"))
    pair.crash(pair.first)

    def log() -> bytes:
        return both.read_bytes()

    def say(statement: str) -> None:
        """To those that are up, each of which writes the log when it does."""
        told = 0
        for one in (pair.first, pair.second):
            with suppress(psycopg.OperationalError):
                one.sql(statement)
                told += 1
        mark = statement.rpartition(" ")[2].encode()
        until(lambda: log().count(mark) >= told, LEAVES_WITHIN_S, "both logs have what was said")

    def answer() -> None:
        said = house.program.run("confirm", house.program.last, "repoint")
        assert said.code == 0, said.said

    for plan, (primary, standby) in ROLES.items():
        environment = house.environment(primary, standby)
        words = () if plan == "failover" else ("-i", f"passfile={pair.passfile}")
        scene = Scene(house.program, house.app, environment, CONSENT, server, log, answer, commands, say)
        folder = tmp_path / plan
        folder.mkdir()
        all_witnesses_agree(taken(scene, PLANS / f"{plan}.yaml", folder, *words))
        pair.write(1, on=pair.second if plan != "switchover" else pair.first)
