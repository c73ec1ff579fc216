"""What breaks a connection: a proxy that cuts it at a message, and a server that ends the session."""

from __future__ import annotations

import socket
import threading
import time

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


def kill_backend_soon(server: PostgresServer, application: str) -> None:
    """End that application's session by the server, while its statement is under way."""

    def work() -> None:
        time.sleep(0.7)
        server.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{application}'")

    threading.Thread(target=work, daemon=True).start()
