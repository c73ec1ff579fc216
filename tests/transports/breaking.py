"""What breaks a connection: a proxy that cuts it at a message, and a server that ends the session."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from tests.fixtures.patience import PATIENCE_S, meanwhile
from tests.fixtures.postgres import PostgresServer


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
        muted, answered = threading.Event(), threading.Event()
        back = threading.Thread(target=self._pipe, args=(server, client, muted, answered), daemon=True)
        back.start()
        while data := client.recv(65536):
            if self._at in data:
                self.cuts += 1
                muted.set()
                if self._deliver:
                    server.sendall(data)
                    answered.wait(PATIENCE_S)
                client.shutdown(socket.SHUT_RDWR)
                return  # else the server's side stays open: its backend waits, as behind a lost network
            server.sendall(data)
        server.close()

    def _pipe(
        self, source: socket.socket, target: socket.socket, muted: threading.Event, answered: threading.Event
    ) -> None:
        try:
            while data := source.recv(65536):
                if muted.is_set():
                    answered.set()
                else:
                    target.sendall(data)
        except OSError:
            return


def at_work(server: PostgresServer, application: str, *, backends: int = 1) -> Callable[[], bool]:
    """Whether that many backends of an application are in the middle of a statement that sleeps, or that copies."""
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' "
        f"AND application_name = '{application}' AND (query LIKE '%pg_sleep%' OR query LIKE 'COPY%')"
    )
    return lambda: server.sql(busy) == [(backends,)]


def killed_at_work(server: PostgresServer, application: str) -> AbstractContextManager[None]:
    """That application's session is ended by the server, while a statement is under way; afterwards it is gone.

    Its client hears of its end sooner: whoever comes next under that name must not be taken for one that is at work already.
    """
    within_ms = int(PATIENCE_S * 1000)
    ended = (
        f"SELECT pg_terminate_backend(pid, {within_ms}) FROM pg_stat_activity WHERE application_name = '{application}'"
    )

    def kill() -> None:
        assert server.sql(ended) == [(True,)], "one session, and it is gone"

    return meanwhile(at_work(server, application), kill)
