"""Two operators on two machines, and one cluster: neither sees the lock files of the other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults.house import RESTORE
from tests.trouble.night import DONE, Night

pytestmark = pytest.mark.root

BUSY = 5
ELSEWHERE = (
    *("unshare", "--mount", "--uts", "sh", "-c"),
    *('mount -t tmpfs tmpfs /run/lock && hostname elsewhere && exec "$@"', "sh"),
)
"""A machine as far as locks see it: a directory of its own for them, and another name."""


@pytest.fixture
def colleague(night: Night, tmp_path: Path) -> Night:
    """Another operator: a machine, a checkout and a copy of the backup of their own; the cluster is the same."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    made = Night(night.server, folder, under=ELSEWHERE)
    shutil.copytree(night.store, made.store)
    return made


def test_who_comes_second_is_told_who_is_at_it_and_may_when_that_is_over(night: Night, colleague: Night) -> None:
    live = night.oid()
    with night.restoring() as engine:
        refused = colleague.end(colleague.begin(RESTORE))
        assert refused.code == BUSY, refused.said
        for said in (
            "held by another run",
            f"the run {night.program.last} of ",
            f"(pid {engine.pid})",
            "pg_terminate_backend",
        ):
            assert said in refused.said
        assert not colleague.program.runs, "a run that never began leaves nothing behind"
        night.untouched(live)
        night.open()
        assert night.end(engine).code == DONE
    night.restored(live)
    after = colleague.end(colleague.begin(RESTORE))
    assert after.code == DONE, after.said


def test_what_a_killed_engine_left_at_work_is_in_the_way_until_a_resume(night: Night, colleague: Night) -> None:
    live = night.oid()
    with night.restoring() as engine:
        engine.kill()
        engine.wait()
        refused = colleague.end(colleague.begin(RESTORE))
        assert refused.code == BUSY, refused.said
        assert f"The run {night.program.last} works there" in refused.said
        assert f"runbook resume {night.program.last}" in refused.said
    resumed = night.resume()
    assert resumed.code == DONE, resumed.said
    night.restored(live)
