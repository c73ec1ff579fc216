"""The lock of a cluster in the cluster itself, as runs of other machines meet it: their lock files are elsewhere."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from runbook.errors import Busy
from runbook.host import LOCAL
from runbook.journal.locks import LockOwner
from runbook.operation import Connection, Message, Sql, sql
from runbook.secret import FromFile, Redactor
from runbook.transports import cluster_locks
from runbook.transports.outcome import Failed, Succeeded
from runbook.transports.world import World
from tests.fixtures.patience import PATIENCE_S, eventually
from tests.fixtures.postgres import PostgresServer
from tests.transports.conftest import Uses, problem_of

Worlds = Callable[[str], World]


def owner(run: str) -> LockOwner:
    return LockOwner.me(run=run, holds="the target db", now=datetime.now(UTC))


@pytest.fixture
def worlds(tmp_path: Path) -> Iterator[Worlds]:
    """Runs, each with a world and a machine of its own."""
    with contextlib.ExitStack() as standing:

        def make(run: str) -> World:
            folder = tmp_path / run
            folder.mkdir(mode=0o700)
            made = World(folder, run=run, redactor=Redactor())
            standing.callback(made.close)
            return made

        yield make


@pytest.fixture
def at(postgres_cluster: Callable[..., PostgresServer]) -> tuple[PostgresServer, Connection]:
    server = postgres_cluster()
    return server, connection_to(server)


def connection_to(server: PostgresServer) -> Connection:
    """Over its socket, where everybody is let in."""
    folder = str(psycopg.conninfo.conninfo_to_dict(server.socket_dsn())["host"])
    return Connection(LOCAL, folder, server.port, server.user, "postgres", None)


def over_tcp(server: PostgresServer, connection: Connection, folder: Path) -> Connection:
    """The same cluster by another address, with the password in a 0600 file."""
    password = folder / "password"
    password.write_text(server.password)
    password.chmod(0o600)
    return replace(connection, address=server.host, password=FromFile(str(password)))


def held(server: PostgresServer) -> int:
    (row,) = server.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
    return int(str(row[0]))


def lose(server: PostgresServer) -> None:
    """Every session that holds a lock ends."""
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    eventually(lambda: held(server) == 0)


def test_who_comes_second_is_told_who_was_first_and_who_comes_third_need_not_wait(
    worlds: Worlds, at: tuple[PostgresServer, Connection]
) -> None:
    server, connection = at
    first = worlds("restore-1")
    first.lock_cluster(connection, exclusive=True, owner=owner("restore-1"))
    with pytest.raises(Busy) as busy:
        worlds("restore-2").lock_cluster(connection, exclusive=True, owner=owner("restore-2"))
    (problem,) = busy.value.problems
    assert problem.code == "E501"
    assert "the target db is held by the run restore-1 of " in problem.detail
    pid = server.sql("SELECT pid FROM pg_locks WHERE locktype = 'advisory'")[0][0]
    assert f"SELECT pg_terminate_backend({pid})" in problem.fix
    first.close()
    assert held(server) == 0, "given back when it is closed, not when the server notices"
    worlds("restore-3").lock_cluster(connection, exclusive=True, owner=owner("restore-3"))
    assert held(server) == 1


def test_many_may_read_and_none_of_them_while_one_changes(
    worlds: Worlds, at: tuple[PostgresServer, Connection]
) -> None:
    _, connection = at
    readers = [worlds(f"reader-{number}") for number in range(2)]
    for number, reader in enumerate(readers):
        reader.lock_cluster(connection, exclusive=False, owner=owner(f"reader-{number}"))
    writer = worlds("writer")
    with pytest.raises(Busy, match="held by another run"):
        writer.lock_cluster(connection, exclusive=True, owner=owner("writer"))
    for reader in readers:
        reader.close()
    writer.lock_cluster(connection, exclusive=True, owner=owner("writer"))
    with pytest.raises(Busy):
        worlds("late").lock_cluster(connection, exclusive=False, owner=owner("late"))


def test_a_server_that_is_down_is_held_before_the_first_change_after_it_is_back(
    worlds: Worlds, at: tuple[PostgresServer, Connection], uses: Uses
) -> None:
    server, connection = at
    server.stop()
    world = worlds("early")
    world.lock_cluster(connection, exclusive=True, owner=owner("early"))
    server.start()
    assert held(server) == 0
    read = Sql(name="q", connection=connection, statements=(sql("SELECT 1 AS one"),), reads=True)
    assert isinstance(world.perform(replace(read, reads=False), uses()), Succeeded)
    assert held(server) == 1
    lose(server)
    time.sleep(cluster_locks.LOOK_AGAIN_S)
    assert isinstance(world.perform(read, uses()), Succeeded)
    assert held(server) == 1, "a plan that waits for hours holds it too"
    server.restart()
    assert isinstance(world.perform(replace(read, reads=False), uses()), Succeeded)
    assert held(server) == 1, "lost with the restart, and taken again"


def test_a_run_that_lost_its_cluster_to_another_changes_nothing_more(
    worlds: Worlds, at: tuple[PostgresServer, Connection], uses: Uses
) -> None:
    server, connection = at
    first, second = worlds("first"), worlds("second")
    first.lock_cluster(connection, exclusive=True, owner=owner("first"))
    lose(server)
    second.lock_cluster(connection, exclusive=True, owner=owner("second"))
    change = Sql(name="q", connection=connection, statements=(sql("CREATE TABLE t (id int)"),))
    outcome = first.perform(change, uses())
    assert isinstance(outcome, Failed)
    assert outcome.problem.code == "E501"
    assert "by the run second of" in problem_of(outcome)
    assert server.sql("SELECT to_regclass('t')") == [(None,)]
    assert isinstance(first.perform(replace(change, statements=(sql("SELECT 1"),), reads=True), uses()), Succeeded)
    told = first.perform(Message(name="m", channel="no-such-channel://x", title="", body="lost"), uses())
    assert isinstance(told, Failed) and told.problem.code != "E501", "people are told in any case"


def test_a_lock_that_was_lost_is_taken_again(worlds: Worlds, at: tuple[PostgresServer, Connection], uses: Uses) -> None:
    server, connection = at
    world = worlds("only")
    world.lock_cluster(connection, exclusive=True, owner=owner("only"))
    lose(server)
    outcome = world.perform(Sql(name="q", connection=connection, statements=(sql("SELECT 1"),)), uses())
    assert isinstance(outcome, Succeeded)
    assert held(server) == 1


@pytest.mark.parametrize(
    ("application", "exclusive", "free"),
    [
        ("runbook/orphaned/load", True, False),
        ("runbook/orphaned/load", False, True),
        ("runbook/mine/load", True, True),
        ("runbook/plan/load", True, True),
        ("runbook/fence", True, True),
        ("runbook", True, True),
        ("psql", True, True),
    ],
)
def test_what_a_killed_run_left_behind_in_the_server_is_in_the_way_of_changes(
    worlds: Worlds, at: tuple[PostgresServer, Connection], application: str, exclusive: bool, free: bool
) -> None:
    server, connection = at
    with psycopg.connect(server.dsn(), application_name=application):
        world = worlds("mine")
        if free:
            world.lock_cluster(connection, exclusive=exclusive, owner=owner("mine"))
        else:
            with pytest.raises(Busy, match="held by another run") as busy:
                world.lock_cluster(connection, exclusive=exclusive, owner=owner("mine"))
            assert "The run orphaned works there, as " in busy.value.problems[0].detail
        assert held(server) == int(free)


def test_a_session_of_this_run_that_the_server_still_believes_in_is_ended(
    worlds: Worlds, at: tuple[PostgresServer, Connection]
) -> None:
    """As after a loss of power, or of the way to the server: it notices later than the engine does."""
    server, connection = at
    with psycopg.connect(server.dsn(), application_name="runbook/one/", autocommit=True) as stale:
        stale.execute(f"SELECT pg_advisory_lock({cluster_locks.KEY})")
        worlds("one").lock_cluster(connection, exclusive=True, owner=owner("one"))
        assert server.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted") == [(1,)]
        with pytest.raises(psycopg.OperationalError):
            stale.execute("SELECT 1")


def test_a_session_that_died_without_a_word_is_not_believed_for_long(
    worlds: Worlds, at: tuple[PostgresServer, Connection], uses: Uses, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, connection = at
    first = worlds("first")
    first.lock_cluster(connection, exclusive=True, owner=owner("first"))
    lose(server)
    worlds("second").lock_cluster(connection, exclusive=True, owner=owner("second"))
    monkeypatch.setattr(cluster_locks, "BELIEVED_S", -1.0)

    class Silent:
        def register(self, *_: object) -> None: ...
        def poll(self, _: int) -> list[tuple[int, int]]:
            return []

    monkeypatch.setattr(select, "poll", Silent)
    outcome = first.perform(Sql(name="q", connection=connection, statements=(sql("SELECT 1"),)), uses())
    assert isinstance(outcome, Failed)
    assert outcome.problem.code == "E501"


def test_what_a_pooler_answers_for_is_not_taken_for_a_lock(
    worlds: Worlds, at: tuple[PostgresServer, Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, connection = at
    monkeypatch.setattr(psycopg.ConnectionInfo, "backend_pid", 1)
    worlds("one").lock_cluster(connection, exclusive=True, owner=owner("one"))
    assert held(server) == 0


def test_what_is_just_ending_is_waited_for(
    worlds: Worlds, at: tuple[PostgresServer, Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where an engine was killed, and its server hasn't seen it yet."""
    server, connection = at
    first = worlds("first")
    first.lock_cluster(connection, exclusive=True, owner=owner("first"))
    looks = []

    def pause(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            lose(server)

    monkeypatch.setattr(time, "sleep", pause)
    worlds("second").lock_cluster(connection, exclusive=True, owner=owner("second"))
    assert len(looks) == 2


def test_a_server_that_stands_still_holds_nobody_up(
    worlds: Worlds, at: tuple[PostgresServer, Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, connection = at
    for name in ("runbook.transports.cluster_locks.ASKED_WITHIN_S", "runbook.transports.database.CANCEL_WITHIN_S"):
        monkeypatch.setattr(name, 0.2)
    world = worlds("one")
    world.lock_cluster(connection, exclusive=True, owner=owner("one"))
    backend = int(str(server.sql("SELECT pid FROM pg_locks WHERE locktype = 'advisory'")[0][0]))
    os.kill(backend, signal.SIGSTOP)
    try:
        closing = threading.Thread(target=world.close, daemon=True)
        closing.start()
        closing.join(PATIENCE_S)
        assert not closing.is_alive()
    finally:
        os.kill(backend, signal.SIGCONT)


def test_two_names_of_one_cluster_in_one_plan_are_one(
    worlds: Worlds, at: tuple[PostgresServer, Connection], uses: Uses, tmp_path: Path
) -> None:
    server, connection = at
    other = over_tcp(server, connection, tmp_path)
    world = worlds("one")
    world.lock_cluster(connection, exclusive=True, owner=owner("one"))
    world.lock_cluster(other, exclusive=True, owner=owner("one"))
    world.lock_cluster(connection, exclusive=False, owner=owner("one"))
    assert isinstance(
        world.perform(Sql(name="q", connection=connection, statements=(sql("SELECT 1"),)), uses()), Succeeded
    )
    with pytest.raises(Busy):
        worlds("two").lock_cluster(other, exclusive=True, owner=owner("two"))


def test_who_reads_first_and_changes_later_has_it_alone_from_then_on(
    worlds: Worlds, at: tuple[PostgresServer, Connection]
) -> None:
    _, connection = at
    world = worlds("one")
    world.lock_cluster(connection, exclusive=False, owner=owner("one"))
    world.lock_cluster(connection, exclusive=True, owner=owner("one"))
    with pytest.raises(Busy):
        worlds("two").lock_cluster(connection, exclusive=False, owner=owner("two"))


def test_a_name_that_is_only_read_does_not_weaken_one_that_is_changed(
    worlds: Worlds, at: tuple[PostgresServer, Connection], tmp_path: Path
) -> None:
    server, connection = at
    other = over_tcp(server, connection, tmp_path)
    world = worlds("one")
    world.lock_cluster(other, exclusive=False, owner=owner("one"))
    world.lock_cluster(connection, exclusive=True, owner=owner("one"))
    with pytest.raises(Busy):
        worlds("two").lock_cluster(connection, exclusive=False, owner=owner("two"))


def test_a_cluster_that_was_replaced_is_locked_anew_and_one_that_is_to_be_stopped_is_let_go(
    worlds: Worlds, at: tuple[PostgresServer, Connection]
) -> None:
    server, connection = at
    world = worlds("one")
    pids = "SELECT pid FROM pg_locks WHERE locktype = 'advisory'"
    world.lock_cluster(connection, exclusive=True, owner=owner("one"))
    before = server.sql(pids)
    world.lock_cluster(connection, exclusive=True, owner=owner("one"), anew=True)
    assert held(server) == 1
    assert server.sql(pids) != before
    world._clusters.rest(LOCAL)
    assert held(server) == 0


def test_a_role_that_may_not_see_the_words_is_told_what_it_may_see(
    worlds: Worlds, at: tuple[PostgresServer, Connection]
) -> None:
    server, connection = at
    worlds("first").lock_cluster(connection, exclusive=True, owner=owner("first"))
    server.sql("CREATE ROLE plain LOGIN")
    plain = replace(connection, user="plain")
    with pytest.raises(Busy) as busy:
        worlds("second").lock_cluster(plain, exclusive=True, owner=owner("second"))
    detail = busy.value.problems[0].detail
    assert detail.startswith("The run first works there, as postgres. In the cluster at ")


def test_a_holder_that_the_server_does_not_show_is_looked_for_and_nobody_is_ended(
    worlds: Worlds, at: tuple[PostgresServer, Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, connection = at
    worlds("first").lock_cluster(connection, exclusive=True, owner=owner("first"))
    monkeypatch.setattr(
        cluster_locks, "_HOLDERS", f"{cluster_locks._HOLDERS.replace('ORDER BY', 'AND false ORDER BY')}"
    )
    with pytest.raises(Busy) as busy:
        worlds("second").lock_cluster(connection, exclusive=True, owner=owner("second"))
    (problem,) = busy.value.problems
    assert "a session that the server does not show holds" in problem.detail
    assert problem.fix == "look as a superuser: SELECT * FROM pg_locks WHERE locktype = 'advisory'"
