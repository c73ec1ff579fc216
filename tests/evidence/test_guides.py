"""Both guides' stacks, with the plans and the environments that ship, from the first backup to the services' return."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.evidence.stacks import GUIDES, Guide, Stack
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

    made.sql(f"DELETE FROM {'questions' if guide.probe == 'users' else 'audit.events'}")
    made.sql(f"DROP TABLE {guide.probe} CASCADE")
    damaged = rows_of(made.server, made.database)

    restored = made.apply("restore-db")
    assert restored.code == 0, restored.said
    assert picture(made.server, made.database) == before
    kept = made.program.outputs("restore")["kept_as"]
    assert databases(made.server) == {made.database, kept, "postgres", "template0", "template1"}
    made.sql(f'ALTER DATABASE "{kept}" CONNECTION LIMIT -1', "postgres")
    assert rows_of(made.server, kept) == damaged, "the former database is kept as it was"

    after = made.states()
    came_back = set(guide.writers) - {idle}
    assert {service for service, (state, _) in after.items() if state == "running"} == set(after) - {idle}
    assert {service for service in after if after[service] != services[service]} == came_back
