"""Connections that break: at the COMMIT, which the server settles, and in the middle."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from runbook.operation import (
    Connection,
    Sql,
    Transaction,
)
from runbook.transports.outcome import Failed, Lost, Outcome
from runbook.transports.world import World
from tests.fixtures.postgres import FreshDatabases, PostgresServer
from tests.transports.conftest import Uses, fields_of, problem_of, statements

Connect = Callable[..., Connection]


class CuttingProxy:
    """A TCP proxy that cuts the connection when COMMIT passes: before the server sees it, or before its answer comes back.

    ``at`` are the bytes of the message at which it cuts.
    """

    def __init__(self, port: int, *, deliver: bool, at: bytes = b"COMMIT") -> None:
        self._at = at
        self._port = port
        self._deliver = deliver
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def pass_on(self) -> None:
        """From here on nothing is cut."""
        self._at = b"\0 never \0"

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._port))
        muted = threading.Event()
        back = threading.Thread(target=self._pipe, args=(server, client, muted), daemon=True)
        back.start()
        while data := client.recv(65536):
            if self._at in data:
                self.cuts += 1
                muted.set()
                if self._deliver:
                    server.sendall(data)
                    time.sleep(0.3)
                client.shutdown(socket.SHUT_RDWR)
                return  # else the server's side stays open: its backend waits, as behind a lost network
            server.sendall(data)
        server.close()

    def _pipe(self, source: socket.socket, target: socket.socket, muted: threading.Event) -> None:
        try:
            while data := source.recv(65536):
                if not muted.is_set():
                    target.sendall(data)
        except OSError:
            return


@pytest.fixture(params=["delivered", "not delivered"])
def proxy(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[tuple[CuttingProxy, bool]]:
    deliver = request.param == "delivered"
    made = CuttingProxy(postgres_server.port, deliver=deliver)
    yield made, deliver
    made.close()


def test_a_lost_answer_to_commit_is_settled_by_the_server_itself(
    proxy: tuple[CuttingProxy, bool],
    world: World,
    uses: Uses,
    connect_to: Connect,
    fresh_database: FreshDatabases,
    postgres_server: PostgresServer,
) -> None:
    cutting, delivered = proxy
    database = fresh_database("CREATE TABLE t (id int)")
    connection = connect_to(database, port=cutting.port)
    operation = Sql(name="q", connection=connection, statements=statements("INSERT INTO t VALUES (1) RETURNING id"))
    outcome = world.perform(operation, uses(application="runbook/r-1/cut"))
    assert cutting.cuts == 1
    count = postgres_server.sql("SELECT count(*) FROM t", database)
    if delivered:
        assert fields_of(outcome)["id"] == 1
        assert count == [(1,)]
    else:
        assert isinstance(outcome, Failed)
        assert "was rolled back" in problem_of(outcome)
        assert count == [(0,)]
    left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'runbook/r-1/cut'"
    assert postgres_server.sql(left) == [(0,)]


def kill_backend_soon(server: PostgresServer, application: str) -> None:
    def work() -> None:
        time.sleep(0.7)
        server.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{application}'")

    threading.Thread(target=work, daemon=True).start()


@pytest.mark.parametrize(
    ("transaction", "reads", "kind"),
    [
        (Transaction.ONE, False, Failed),
        (Transaction.AUTOCOMMIT, False, Lost),
        (Transaction.AUTOCOMMIT, True, Failed),
    ],
)
def test_a_connection_that_breaks_in_the_middle(
    transaction: Transaction,
    reads: bool,
    kind: type[Outcome],
    world: World,
    uses: Uses,
    connect_to: Connect,
    postgres_server: PostgresServer,
) -> None:
    kill_backend_soon(postgres_server, "runbook/r-1/broken")
    text = statements("SELECT pg_sleep(20)")
    operation = Sql(name="q", connection=connect_to(), statements=text, transaction=transaction, reads=reads)
    assert isinstance(world.perform(operation, uses(application="runbook/r-1/broken")), kind)
