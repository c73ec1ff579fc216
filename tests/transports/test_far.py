"""The far side: what a run that is over leaves in a container, whoever began it there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runbook.host import Docker
from runbook.operation import Process
from runbook.secret import Redactor
from runbook.transports import far
from runbook.transports.outcome import Succeeded
from runbook.transports.supervisor import worker
from runbook.transports.world import World
from tests.fixtures.containers import BASE, exec_in
from tests.fixtures.patience import PATIENCE_S
from tests.transports.conftest import Uses

if TYPE_CHECKING:
    from docker.models.containers import Container

RUN = "20260101-000000-far-0001"


@pytest.mark.docker
@pytest.mark.parametrize("own", ["root", "nobody"])
def test_what_an_earlier_engine_began_as_any_user_is_swept(
    own: str,
    tmp_path: Path,
    uses: Uses,
    run_container: Callable[..., Container],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reads, too, which no resume looks for: their records are nobody's once the run is over."""
    monkeypatch.setattr(far, "SWEPT_WITHIN_S", PATIENCE_S)  # a run that is over doesn't wait longer for a busy engine
    box = run_container(BASE, ["sleep", "1000"], user=own)
    host = Docker(str(box.name))

    def left() -> list[str]:
        code, found = exec_in(box, ("find", "/tmp", "-mindepth", "2", "-path", "*/.runbook-*"), user="root")
        assert code == 0
        return found.decode().split()

    for name in ("first", "second"):
        (tmp_path / name).mkdir(mode=0o700)
    killed = World(tmp_path / "first", run=RUN, redactor=Redactor())
    try:
        for number, user in enumerate(("postgres", "root", "")):
            seen = Process(name="see", argv=("true",), host=host, user=user, reads=True)
            assert isinstance(killed.perform(seen, uses(f"look/1/{number}/see")), Succeeded)
    finally:
        killed.close()
    assert len(left()) > 3
    later = World(tmp_path / "second", run=RUN, redactor=Redactor())
    try:
        later.was_on([host])
        later.sweep()
    finally:
        later.close()
    assert left() == []


def test_who_keeps_records_is_read_from_names_alone() -> None:
    told = ".runbook-101\n.runbook-0\n.runbook-*\n.runbook-x\n.runbook-\n.runbook-101\n"
    assert worker.parse_users(told) == (0, 101)
