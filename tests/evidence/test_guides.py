"""Both guides' stacks, with the plans and the environments that ship, from the first backup to the services' return."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.evidence.stacks import CIVICQ, GUIDES, Guide, Stack
from tests.evidence.witness import databases, picture, rows_of

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: str(guide.key))
def test_back_up_prove_destroy_restore(guide: Guide, stand: Callable[..., Stack]) -> None:
    idle = guide.writers[-1]
    made = stand(guide, stopped=(idle,))
    before, services = picture(made.server, made.database), made.states()

    dump = made.back_up()
    assert dump.stat().st_size > 10_000
    verified = made.apply("verify-backup")
    assert verified.code == 0, verified.said
    assert made.program.outputs("prove")["artifact"]["proof"] == "read"
    assert made.states() == services, "backing up and proving touch no service"

    damage(made)
    damaged = rows_of(made.server, made.database)

    restored = made.apply("restore-db")
    assert restored.code == 0, restored.said
    assert picture(made.server, made.database) == before
    kept = made.program.outputs("restore")["kept_as"]
    assert databases(made.server) == {made.database, kept, "postgres", "template0", "template1"}
    made.sql(f'ALTER DATABASE "{kept}" CONNECTION LIMIT -1', "postgres")
    assert rows_of(made.server, kept) == damaged, "the former database is kept as it was"
    the_writers_came_back(made, idle, services)


def test_back_to_a_moment_on_this_machine(stand: Callable[..., Stack]) -> None:
    """The same plans where the cluster is not in a container; for containers see test_guides_pitr.py."""
    guide = CIVICQ
    idle = guide.writers[-1]
    made = stand(guide, local=True, stopped=(idle,), archive=True)
    services = made.states()
    based = made.apply("base-backup")
    assert based.code == 0, based.said

    made.sql("CREATE TABLE written AS SELECT n, 'after the base backup' AS how FROM generate_series(1, 500) n")
    before = picture(made.server, made.database)
    moment = a_moment(made)
    damage(made)
    made.sql("INSERT INTO written VALUES (0, 'after the moment')")

    recovered = made.apply("restore-db-pitr", "-i", f"target={moment}")
    made.server.found_again()
    assert recovered.code == 0, recovered.said
    assert picture(made.server, made.database) == before, "all that was committed before the moment, nothing after it"
    the_writers_came_back(made, idle, services)


def damage(made: Stack) -> None:
    """A mass deletion, and the loss of the table that the probe counts."""
    guide = made.guide
    made.sql(f"DELETE FROM {'questions' if guide is CIVICQ else 'audit.events'}")
    made.sql(f"DROP TABLE {guide.probe} CASCADE")


def a_moment(made: Stack) -> str:
    """A moment after all that was committed, and before what comes."""
    time.sleep(0.05)
    moment = made.sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")[0][0]
    time.sleep(0.05)
    return str(moment)


def the_writers_came_back(made: Stack, idle: str, before: dict[str, tuple[str, str]]) -> None:
    """Those that ran were stopped and started; the one that stood still stands still; nothing else was touched."""
    after = made.states()
    assert {service for service, (state, _) in after.items() if state == "running"} == set(after) - {idle}
    touched = {service for service in after if after[service] != before[service]}
    assert touched - {made.guide.service} == set(made.guide.writers) - {idle}
