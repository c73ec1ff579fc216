"""The fence: what an earlier executor began no longer moves, and what came of it is told or owned to be unknown."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from runbook.host import Docker
from runbook.operation import Connection, Fields, Pipeline, Process, Session, Sql, Stage, Transaction, sql
from runbook.secret import Redactor
from runbook.transports.outcome import Begun, Failed, Lost, NeverStarted, Succeeded, Unsettled
from runbook.transports.supervisor.records import State, read_children
from runbook.transports.world import World
from tests.fixtures.patience import Gate, eventually, meanwhile
from tests.fixtures.postgres import FreshDatabases, PostgresServer
from tests.transports.conftest import Uses

Connect = Callable[..., Connection]
APPLICATION = "runbook/r-1/step"

ENGINE = """
import sys
from pathlib import Path
from runbook.operation import Process
from runbook.secret import Redactor
from runbook.transports.outcome import Use
from runbook.transports.world import World
world = World(Path(sys.argv[1]), run="r-1", redactor=Redactor())
use = Use(id="step/1/1/op", application="a", results={}, note=lambda f: None, progress=lambda p: None)
world.perform(Process(name="op", argv=("sh", "-c", sys.argv[2])), use)
"""


def kill_engine_while(run_directory: Path, script: str) -> None:
    """Perform a process in an engine of its own, and kill that engine once the process runs."""
    engine = subprocess.Popen([sys.executable, "-c", ENGINE, str(run_directory), script])

    def runs() -> bool:
        child = read_children(run_directory).get("step/1/1/op")
        return child is not None and bool(child.living or child.ended)

    eventually(runs)
    engine.kill()
    engine.wait()


def begun(script: str) -> Begun:
    return Begun("step/1/1/op", Process(name="op", argv=("sh", "-c", script)))


def test_what_was_never_started_is_never_started(world: World, uses: Uses) -> None:
    assert world.fence(begun("true"), uses()) == NeverStarted()


@pytest.fixture
def asked_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Whether the fence has asked what lives, and has asked again: it waits."""
    asked: list[bool] = []
    alive = world._fence._alive

    def ask() -> Collection[str]:
        asked.append(True)
        return alive()

    monkeypatch.setattr(world._fence, "_alive", ask)
    return lambda: len(asked) > 1


def test_a_living_child_is_waited_for_and_its_result_is_adopted(
    world: World, uses: Uses, run_directory: Path, gate: Gate, asked_twice: Callable[[], bool]
) -> None:
    script = f"{gate.wait}; echo once >> {run_directory}/ledger; echo done"
    kill_engine_while(run_directory, script)
    with meanwhile(asked_twice, gate.open):
        settled = world.fence(begun(script), uses())
    assert isinstance(settled, Succeeded)
    assert settled.fields["stdout"] == "done\n"
    assert (run_directory / "ledger").read_text() == "once\n"


def test_a_failure_is_adopted_too(world: World, uses: Uses, run_directory: Path, gate: Gate) -> None:
    kill_engine_while(run_directory, f"{gate.wait}; exit 9")
    gate.open()
    settled = world.fence(begun(f"{gate.wait}; exit 9"), uses())
    assert isinstance(settled, Failed)
    assert settled.fields["exit_code"] == 9


def test_a_child_that_outlives_the_deadline_is_not_fenced(
    world: World, uses: Uses, run_directory: Path, asked_twice: Callable[[], bool]
) -> None:
    kill_engine_while(run_directory, "exec sleep 600")
    assert isinstance(world.fence(begun("exec sleep 600"), uses(within_s=0.5)), Lost)
    with meanwhile(asked_twice, lambda: world.stop("step", 1.0)):
        settled = world.fence(begun("exec sleep 600"), uses())
    assert settled == Unsettled()  # it was killed while it changed something
    assert not read_children(run_directory)["step/1/1/op"].living


def test_without_a_supervisor_what_ended_unseen_is_unsettled(run_directory: Path, uses: Uses, gate: Gate) -> None:
    kill_engine_while(run_directory, gate.wait)
    lock = (run_directory / "supervisor.lock").resolve()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            if str(run_directory).encode() in command and any(part.endswith(b"boot.py") for part in command):
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue
    assert lock.exists()
    gate.open()
    world = World(run_directory, run="r-1", redactor=Redactor())
    try:
        assert world.fence(begun(gate.wait), uses()) == Unsettled()
        assert read_children(run_directory)["step/1/1/op"].state is State.UNKNOWABLE
    finally:
        world.close()


def abandoned(
    server: PostgresServer, database: str, *statements: str, application: str = APPLICATION
) -> psycopg.Connection:
    """A backend as a killed client leaves it, in the middle of a transaction."""
    connection = psycopg.connect(server.dsn(database), application_name=application)
    for statement in statements:
        connection.execute(statement)
    return connection


def backends(server: PostgresServer, application: str) -> int:
    ((count,),) = server.sql(f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{application}'")
    return int(str(count))


def insert(connection: Connection, transaction: Transaction = Transaction.ONE) -> Sql:
    return Sql(name="op", connection=connection, statements=(sql("INSERT INTO t VALUES (1)"),), transaction=transaction)


def test_backends_of_exactly_that_name_are_ended_and_nothing_else(
    world: World, uses: Uses, connect_to: Connect, fresh_database: FreshDatabases, postgres_server: PostgresServer
) -> None:
    database = fresh_database("CREATE TABLE t (id int)")
    orphan = abandoned(postgres_server, database, "INSERT INTO t VALUES (1)")
    other = abandoned(postgres_server, database, "SELECT 1", application=f"{APPLICATION}2")
    try:
        settled = world.fence(Begun("step/1/1/op", insert(connect_to(database))), uses())
        assert settled == NeverStarted()  # it had noted no transaction, so it had sent no COMMIT
        assert backends(postgres_server, APPLICATION) == 0
        assert backends(postgres_server, f"{APPLICATION}2") == 1
        assert postgres_server.sql("SELECT count(*) FROM t", database) == [(0,)]
    finally:
        orphan.close()
        other.close()


@pytest.mark.parametrize("committed", [True, False])
def test_a_noted_transaction_is_settled_by_the_server(
    committed: bool,
    world: World,
    uses: Uses,
    connect_to: Connect,
    fresh_database: FreshDatabases,
    postgres_server: PostgresServer,
) -> None:
    database = fresh_database("CREATE TABLE t (id int)")
    with psycopg.connect(postgres_server.dsn(database), application_name=APPLICATION) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        row = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
        assert row
        if committed:
            connection.commit()
        note: Fields = {
            "transaction": str(row[0]),
            "backend": connection.info.backend_pid,
            "result": '{"id": 1, "row_count": 1}',
        }
        settled = world.fence(Begun("step/1/1/op", insert(connect_to(database)), (note,)), uses())
        connection.close()
    if committed:
        assert settled == Succeeded({"id": 1, "row_count": 1})
    else:
        assert settled == NeverStarted()
    assert postgres_server.sql("SELECT count(*) FROM t", database) == [(int(committed),)]


def test_a_transaction_of_another_history_is_unsettled(world: World, uses: Uses, connect_to: Connect) -> None:
    note: Fields = {"transaction": "99999999999", "backend": 1, "result": "{}"}
    assert world.fence(Begun("step/1/1/op", insert(connect_to()), (note,)), uses()) == Unsettled()


def test_after_a_failover_a_transaction_of_that_number_is_another(
    world: World, uses: Uses, connect_to: Connect, fresh_database: FreshDatabases
) -> None:
    """A standby that had not got it counts on from before, on a timeline of its own: the number is another transaction's."""
    operation = insert(connect_to(fresh_database("CREATE TABLE t (id int)")))
    done = world.perform(operation, uses())
    (note,) = uses.notes
    assert world.fence(Begun("step/1/1/op", operation, (note,)), uses()) == done
    elsewhere = {**note, "timeline": "000000FF"}
    assert world.fence(Begun("step/1/1/op", operation, (elsewhere,)), uses()) == Unsettled()


def test_statements_on_their_own_leave_no_trace_to_tell_by(world: World, uses: Uses, connect_to: Connect) -> None:
    operation = insert(connect_to(), Transaction.AUTOCOMMIT)
    assert world.fence(Begun("step/1/1/op", operation), uses()) == Unsettled()


def test_a_database_that_cannot_be_asked_is_not_fenced(world: World, uses: Uses, connect_to: Connect) -> None:
    assert isinstance(world.fence(Begun("step/1/1/op", insert(connect_to(user="nobody_here"))), uses()), Lost)


def test_a_server_that_refuses_at_its_second_address_is_there(world: World, uses: Uses, connect_to: Connect) -> None:
    """As `localhost` where the server listens at one of its two addresses: at the first the connection is refused."""
    known = connect_to(user="nobody_here")
    found = world.fence(Begun("step/1/1/op", insert(replace(known, address=f"127.0.0.2,{known.address}"))), uses())
    assert isinstance(found, Lost)
    assert "127.0.0.2" in found.problem.detail


def test_where_nobody_listens_nothing_moves(world: World, uses: Uses, connect_to: Connect) -> None:
    nowhere = connect_to(port=1)
    for connection in (nowhere, replace(nowhere, address=f"127.0.0.2,{nowhere.address}")):
        assert world.fence(Begun("step/1/1/op", insert(connection)), uses()) == NeverStarted()
    noted: Fields = {"transaction": "1", "backend": 1, "result": "{}"}
    assert isinstance(world.fence(Begun("step/1/1/op", insert(nowhere), (noted,)), uses(within_s=1)), Lost)


def test_a_killed_client_program_leaves_no_backend(
    run_directory: Path,
    uses: Uses,
    connect_to: Connect,
    postgres_server: PostgresServer,
    fresh_database: FreshDatabases,
) -> None:
    database = fresh_database("CREATE TABLE t (id int)")
    world = World(run_directory, run="r-1", redactor=Redactor(), connections=(connect_to(database),))
    orphan = abandoned(postgres_server, database, "INSERT INTO t VALUES (1)")
    try:
        stranger = Pipeline(name="op", stages=(Stage(argv=("/usr/bin/pg_restore", "-d", database)),))
        assert world.fence(Begun("step/1/1/op", stranger), uses()) == NeverStarted()
        assert backends(postgres_server, APPLICATION) == 1  # its backends would have another name
        operation = Pipeline(name="op", stages=(pg_restore(connect_to(database)),))
        assert world.fence(Begun("step/1/1/op", operation), uses()) == NeverStarted()
        assert backends(postgres_server, APPLICATION) == 0
    finally:
        orphan.close()
        world.close()


def pg_restore(connection: Connection) -> Stage:
    """As the actions call it."""
    conninfo = f"host={connection.address} port={connection.port} user=u dbname=d"
    return Stage(argv=("pg_restore", f"--dbname={conninfo}"), env=(("PGAPPNAME", APPLICATION),))


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that accepts connections and says nothing, ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def test_a_silent_server_matters_only_to_what_may_have_connected_to_it(
    run_directory: Path,
    uses: Uses,
    connect_to: Connect,
    postgres_server: PostgresServer,
    fresh_database: FreshDatabases,
    silent: socket.socket,
) -> None:
    asked, mute = connect_to(fresh_database("SELECT 1")), connect_to(port=silent.getsockname()[1])
    elsewhere = replace(mute, host=Docker("no-such-container"))
    world = World(run_directory, run="r-1", redactor=Redactor(), connections=(mute, elsewhere, asked))
    orphan = abandoned(postgres_server, asked.database, "SELECT 1")
    try:
        touched_not = Pipeline(name="op", stages=(pg_restore(asked),))
        assert world.fence(Begun("step/1/1/op", touched_not), uses()) == NeverStarted()
        with pytest.raises(BlockingIOError):
            silent.accept()  # nobody has connected to it
        assert backends(postgres_server, APPLICATION) == 0
        by_hand = Process(name="op", argv=("psql", "-h", "silent"))
        assert world.fence(Begun("step/1/1/op", by_hand), uses()) == NeverStarted()
        touched = Process(name="op", argv=pg_restore(mute).argv, env=pg_restore(mute).env)
        assert isinstance(world.fence(Begun("step/1/1/op", touched), uses(within_s=2)), Lost)
        anywhere = Process(name="op", argv=("psql",), env=pg_restore(mute).env)
        assert isinstance(world.fence(Begun("step/1/1/op", anywhere), uses(within_s=2)), Lost)
    finally:
        orphan.close()
        world.close()


def test_a_session_is_fenced_with_its_body_and_redone(
    world: World, uses: Uses, connect_to: Connect, postgres_server: PostgresServer, run_directory: Path
) -> None:
    holding = abandoned(postgres_server, "postgres", "SELECT pg_advisory_lock(4712)")
    session = Session(
        name="op",
        connection=connect_to(),
        begin=(sql("SELECT pg_advisory_lock(4712)"),),
        body=(Process(name="inner", argv=("true",)),),
    )
    try:
        assert world.fence(Begun("step/1/1/op", session), uses()) == Unsettled()
        assert postgres_server.sql("SELECT pg_try_advisory_lock(4712)") == [(True,)]
    finally:
        holding.close()
