"""A server's process is killed inside DROP DATABASE: part of the files are gone, and the database is marked as unusable."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.evidence.witness import until
from tests.faults.house import DATABASE, VERIFY
from tests.trouble.night import DONE, WAITS, WITHIN_S, Night

PLAN = (
    VERIFY.replace("name: verify", "name: copy")
    + """\
  - {id: recover, uses: postgres.restore_beside, on: db, with: {artifact: "{{ steps.prove.artifact }}"}, timeout: 5m}
  - {id: look, uses: shell.run, with: {argv: [sh, -c, "until [ -e FOLDER/go ]; do sleep 0.05; done"]}, timeout: 5m}
finally:
  - {id: drop_copy, uses: postgres.drop_beside, on: db, releases: recover, timeout: 5m}
"""
)
COPIES = "SELECT oid::int, datconnlimit FROM pg_database WHERE datname LIKE 'rb\\_%'"
DROPPING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DROP DATABASE%'"
HALF_DROPPED = -2
FILE = 100
"""A database has about three hundred."""


@pytest.mark.root
def test_a_backend_is_killed_as_it_removes_a_file(night: Night) -> None:
    live, server = night.oid(), night.server
    engine = night.begin(PLAN.replace("FOLDER", str(night.folder)))
    night.reached(engine, "look")
    ((copy, _),) = server.sql(COPIES)
    with server.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE pg_database IN SHARE MODE")  # whoever drops one waits
        (night.folder / "go").touch()
        until(lambda: bool(server.sql(DROPPING)) or engine.poll() is not None, WITHIN_S, "the copy is being dropped")
        ((backend,),) = server.sql(DROPPING)
        inject = f"inject=unlink:signal=KILL:when={FILE}"
        tracer = subprocess.Popen(["strace", "-qq", "-o", "/dev/null", "-e", inject, "-p", str(backend)])
        status = Path(f"/proc/{backend}/status")
        until(lambda: f"TracerPid:\t{tracer.pid}\n" in status.read_text(), WITHIN_S, "it is watched")
        holder.execute("ROLLBACK")
    tracer.wait(WITHIN_S)
    ended = night.end(engine)
    until(lambda: night.answers, WITHIN_S, "the server has come back by itself")
    assert server.sql(COPIES) == [(copy, HALF_DROPPED)]
    assert ended.code == WAITS, ended.said
    night.tells(ended, "the connection to the database was lost", "recover still holds", status="unknown")
    night.untouched(live)
    resumed = night.resume()
    assert resumed.code == DONE, resumed.said
    assert night.databases() == {DATABASE}
    assert not (server.data_dir / "base" / str(copy)).exists()
    night.untouched(live)
    night.nothing_left()
