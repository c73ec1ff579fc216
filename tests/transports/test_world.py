"""The world: one transport for each operation, failures as outcomes, locks that outlive a supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest

from runbook.errors import Bug, Busy
from runbook.operation import Ask, Connection, Operation, Process, Sql, sql
from runbook.secret import FromFile, Redactor
from runbook.transports.outcome import Failed, Succeeded
from runbook.transports.world import World, boot_clock
from tests.fixtures.patience import eventually
from tests.fixtures.process import lives
from tests.transports.conftest import Uses


@dataclass(frozen=True)
class Owner:
    run: str
    holds: str = "the cluster main"
    user: str = "ops"
    host: str = "here"
    pid: int = 1
    since: datetime = datetime(2026, 2, 14, tzinfo=UTC)


def test_every_kind_of_operation_has_a_transport() -> None:
    source = Path(sys.modules["runbook.transports.world"].__file__ or "").read_text()
    assert [kind.__name__ for kind in get_args(Operation) if f"{kind.__name__}()" not in source] == []


def test_a_question_is_not_for_transports(world: World, uses: Uses) -> None:
    with pytest.raises(Bug):
        world.perform(Ask(name="a", instructions="?"), uses())


def test_what_cannot_be_rendered_or_read_is_a_failure_before_anything_ran(
    world: World, uses: Uses, tmp_path: Path
) -> None:
    nowhere = Connection(
        host=Process(name="p", argv=("x",)).host, address="/nowhere", port=1, user="u", database="d", password=None
    )
    nul = world.perform(Sql(name="q", connection=nowhere, statements=(sql("SELECT {v}", v="a\0b"),)), uses())
    assert isinstance(nul, Failed)
    assert nul.problem.code == "E312"
    marker = tmp_path / "ran"
    secret = Process(name="p", argv=("touch", str(marker)), env=(("S", FromFile(str(tmp_path / "none"))),))
    assert isinstance(world.perform(secret, uses()), Failed)
    assert not marker.exists()


def test_a_lock_says_who_holds_it_and_is_given_back(world: World, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    world.lock(path, exclusive=True, owner=Owner("r-1"))
    other_directory = tmp_path / "other"
    other_directory.mkdir(mode=0o700)
    other = World(other_directory, run="r-2", redactor=Redactor())
    try:
        with pytest.raises(Busy) as caught:
            other.lock(path, exclusive=False, owner=Owner("r-2"))
        assert "held by the run r-1 of ops@here" in str(caught.value)
        assert "2026-02-14T00:00:00" in str(caught.value)
        world.close()
        other.lock(path, exclusive=True, owner=Owner("r-2"))
    finally:
        other.close()


def test_a_lost_supervisor_is_replaced_with_its_locks(world: World, uses: Uses, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    world.lock(path, exclusive=True, owner=Owner("r-1"))
    first = world.supervisor().pid
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not lives(first))  # and with it its end of the line
    outcome = world.perform(Process(name="p", argv=("echo", "on")), uses())
    assert isinstance(outcome, Succeeded)
    assert world.supervisor().pid != first
    taken = subprocess.run(["flock", "-n", str(path), "true"], check=False)
    assert taken.returncode == 1


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    heavy = ("docker", "psycopg", "boto3", "httpx", "apprise", "requests")
    code = f"import sys; import runbook.transports.world; print([m for m in {heavy!r} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_its_clock_goes_forward_and_is_the_boots() -> None:
    first = boot_clock()
    between = float(Path("/proc/uptime").read_text().split()[0])
    assert first - 0.02 <= between <= boot_clock(), "which says hundredths"
