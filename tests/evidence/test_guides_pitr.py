"""Both guides' stacks brought back to a moment by the plans that ship: exact, the former cluster kept, killed and resumed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial

import pytest
from docker.errors import APIError

from tests.evidence.kills import near, over
from tests.evidence.servers import InContainer
from tests.evidence.stacks import CIVICQ, CONTRACT_LUCIDITY, Guide, Stack
from tests.evidence.witness import Picture, picture, rows_of, until
from tests.fixtures.containers import address, wait_healthy

pytestmark = [pytest.mark.docker, pytest.mark.slow]

ARCHIVING = ("archive_mode=on", "archive_command=test ! -e /backups/wal/%f && cp %p /backups/wal/%f")
SETTINGS = tuple(word for setting in ARCHIVING for word in ("-c", setting))
BEGINS_WITHIN_S = 300.0


def damaged(made: Stack) -> tuple[str, Picture]:
    """A base backup; then work that has to stay, and at once an accident. The moment between them, and the database at it."""
    based = made.apply("base-backup")
    assert based.code == 0, based.said
    made.sql(f"CREATE TABLE late AS SELECT * FROM {made.guide.probe}")
    before = picture(made.server, made.database)
    moment = made.sql("SELECT clock_timestamp()")[0][0]
    assert isinstance(moment, datetime)
    time.sleep(0.05)
    made.sql("DROP TABLE late")
    made.sql(f"DROP TABLE {made.guide.probe} CASCADE")
    return moment.isoformat(), before


def fresh_address(made: Stack) -> None:
    """The container was stopped and started: its address may be another one."""
    server = made.server
    assert isinstance(server, InContainer)
    wait_healthy(server.container)
    server.host = address(server.container)


def rows_kept(made: Stack, kept: str) -> dict[str, tuple[int, str]]:
    """The rows of the cluster that is kept, by a server of its own in a container beside the live one."""
    live = made.project.containers[made.guide.service]
    other = made.project.client.containers.run(
        str(live.attrs["Image"]),
        ["postgres", "-c", "fsync=off"],
        environment={"PGDATA": kept},
        volumes_from=[str(live.id)],
        network=str(made.project.network.name),
        labels={"com.docker.compose.project": made.project.name},
        detach=True,
    )
    try:
        wait_healthy(other)
        server = made.server
        assert isinstance(server, InContainer)
        return rows_of(InContainer(other, address(other), server.user, server.bin_dir, server.folder), made.database)
    finally:
        other.remove(force=True)


def recovered(made: Stack, before: Picture, former: dict[str, tuple[int, str]]) -> None:
    fresh_address(made)
    assert picture(made.server, made.database) == before
    out = made.program.outputs("restore")
    assert out["timeline"] == 2
    assert rows_kept(made, out["kept_as"]) == former, "the former cluster is kept as it was"
    server = made.server
    assert isinstance(server, InContainer)
    found = server.run("find", "/var/lib/postgresql", "-name", "*rb_*", "-prune").decode().split()
    assert found == [out["kept_as"]], "nothing else of the run stays"


@pytest.mark.parametrize("guide", [CONTRACT_LUCIDITY, CIVICQ], ids=lambda guide: str(guide.key))
def test_back_to_the_moment_before_the_accident(guide: Guide, stand: Callable[..., Stack]) -> None:
    made = stand(guide, settings=SETTINGS)
    services, running = made.states(), made.running
    target, before = damaged(made)
    former = rows_of(made.server, made.database)
    restored = made.apply("restore-db-pitr", "--input", f"target={target}")
    assert restored.code == 0, restored.said
    recovered(made, before, former)
    after = made.states()
    assert made.running == running
    changed = {service for service in after if after[service] != services[service]}
    assert changed == {*guide.writers, guide.service}


def test_what_did_the_damage_is_found_and_undone_to_just_before_it(stand: Callable[..., Stack]) -> None:
    made = stand(CIVICQ, settings=SETTINGS)
    since, before = damaged(made)
    found = made.apply("find-change", "--input", f"since={since}", "--input", "until=2036-01-01T00:00:00Z")
    assert found.code == 0, found.said
    first, second = made.program.outputs("find")["transactions"]
    assert first["did"].startswith("dropped") and second["did"].startswith("dropped"), "two tables, one after the other"
    base = made.program.outputs("copy", made.program.runs[0])["artifact"]["name"]
    given = {"xid": first["xid"], "inclusive": "false", "backup": base}
    words = [word for name, value in given.items() for word in ("--input", f"{name}={value}")]
    both = made.apply("restore-db-pitr", *words, "--input", f"target={since}")
    assert both.code != 0 and "given: target and xid" in both.said
    early = made.apply("restore-db-pitr", "--input", "target=2001-01-01T00:00:00Z", "--input", f"backup={base}")
    assert early.code != 0, early.said
    for run in made.program.runs[-2:]:
        assert not made.program.changed_anything(run), "nothing was stopped for what can't be reached"
    restored = made.apply("restore-db-pitr", *words)
    assert restored.code == 0, restored.said
    fresh_address(made)
    assert picture(made.server, made.database) == before
    out = made.program.outputs("restore")
    assert out["target"] == f"before transaction {first['xid']}"
    assert out["recovery_point"] == out["last_transaction"] < first["at"]


def test_killed_while_the_data_moves(stand: Callable[..., Stack]) -> None:
    made = stand(CIVICQ, settings=SETTINGS)
    target, before = damaged(made)
    former = rows_of(made.server, made.database)
    program = made.program
    earlier = len(program.runs)
    engine = program.start("apply", *made.arguments("restore-db-pitr", "--input", f"target={target}"))

    def moves() -> bool:
        begun = program.events() if len(program.runs) > earlier else []
        return any(e["event"] == "operation.started" and e["operation"] == "move" for e in begun)

    until(lambda: moves() or engine.poll() is not None, BEGINS_WITHIN_S, "the move begins")
    engine.kill()
    engine.wait(60)
    for pid in near(program.directory()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for one in made.project.client.containers.list(
        ignore_removed=True, filters={"label": f"runbook.run={program.last}"}
    ):
        with suppress(APIError):  # it has ended meanwhile
            one.kill()
    if not over(program):
        resumed = made.resume()
        assert resumed.code == 0, resumed.said
    of_the_run: dict[str, str | list[str] | bool] = {"label": f"runbook.run={program.last}"}
    left = partial(made.project.client.containers.list, all=True, ignore_removed=True, filters=of_the_run)
    until(lambda: left() == [], BEGINS_WITHIN_S, "the engine has removed what ran beside the server")
    recovered(made, before, former)
