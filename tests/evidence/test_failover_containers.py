"""The plans for a pair of servers, both in containers, run by the real program while a client writes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evidence.program import Program
from tests.evidence.site import site
from tests.evidence.test_failover import Client, House, rows
from tests.fixtures.pair_in_containers import PairInContainers

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture
def house(pair_in_containers: PairInContainers, tmp_path: Path) -> Iterator[House[PairInContainers]]:
    (tmp_path / "bases").mkdir(mode=0o700)
    app = pair_in_containers.first.project
    with site() as url:
        yield House(pair_in_containers, app, Program(tmp_path, {}), url)


def test_a_failover_while_a_client_writes_and_the_way_back(house: House[PairInContainers]) -> None:
    pair = house.pair
    client = Client(pair, pair.first)
    time.sleep(0.3)
    pair.cut_off(pair.second)
    time.sleep(0.3)
    pair.crash(pair.first)
    client.stop()
    received = rows(pair.second)
    ran = house.apply("failover", "a", "b")
    assert ran.code == 0, ran.said
    assert rows(pair.second) == received, "exactly what was received is there"
    lost = pair.lost(pair.second)
    assert lost and lost == set(range(max(received) + 1, max(pair.acknowledged) + 1)), "the last ones, and no other"

    pair.write(3, on=pair.second)
    ran = house.apply("rejoin-standby", "b", "a")
    print(ran.said)
    assert ran.code == 0, ran.said
    out = house.program.outputs("rewind")
    print(out)
    assert out["discarded_commits"] - len(lost) in (0, 1)
    pair.caught_up(pair.second, pair.first)
    assert rows(pair.first) == rows(pair.second)

    ran = house.apply("switchover", "b", "a")
    assert ran.code == 0, ran.said
    assert pair.lost(pair.first) == lost, "the switchover back loses nothing more"
